//! Whether two sets of figures differ, or only look as if they did.
//!
//! Figures are compared as ratios, so everything here happens on logarithms. The interval of a
//! change is the one that belongs to the test of Mann and Whitney: of all ratios between a figure
//! here and a figure there, sorted, so many are cut off at each end as chance alone would put there.
//! It asks nothing of the distribution of the noise, and one wild run among five does not move it.
//!
//! With too few runs for that, the figures of the seconds within the runs stand in. They cannot
//! show how much one run differs from the next, so [`ASSUMED_RUN_NOISE`] is added for it.

use serde::{Deserialize, Serialize};

/// The share of comparisons of equal builds whose interval holds "no change", or more.
pub const CONFIDENCE: f64 = 0.95;

/// The change from run to run, as a ratio, that is assumed where too few runs show it.
pub const ASSUMED_RUN_NOISE: f64 = 0.05;

/// Fewer runs on a side say nothing about the spread between runs, whatever the other side has.
const MIN_RUNS: usize = 3;

/// Fewer blocks of seconds on a side say nothing about the spread within a run.
const MIN_BLOCKS: usize = 5;

/// Neighbouring seconds resemble each other; they are drawn together into at most so many blocks,
/// so that a long run does not pass for many short ones. Also bounds the work of the exact test.
const MAX_BLOCKS: usize = 24;

/// More figures of runs on a side are not looked at: the exact test costs their fourth power.
const MAX_RUNS: usize = 50;

/// One metric of several runs of the same load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The figure of each run.
    pub runs: Vec<f64>,
    /// The figure of each interval within each run, in the order of time; may be empty.
    pub intervals: Vec<Vec<f64>>,
}

/// What an interval was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// One figure per run.
    Runs,
    /// The figures of the intervals within the runs, and an assumption on the noise between runs.
    Intervals,
}

/// By how much a metric changed. A change is a ratio less one: 0.1 is a tenth more than before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Of the medians.
    pub estimate: f64,
    /// The least change that the noise leaves plausible.
    pub low: f64,
    /// The greatest change that the noise leaves plausible.
    pub high: f64,
    pub basis: Basis,
}

impl Change {
    /// How far the figures may be off, as a ratio: half the width of the interval.
    pub fn noise(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// The middle of the figures, between the two middle ones when their number is even; `None` without
/// figures. Figures that are not numbers are left out.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = figures.iter().copied().filter(|figure| figure.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if !sorted.len().is_multiple_of(2) {
        return Some(*upper);
    }
    let lower = sorted.get((sorted.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The change from `before` to `after`; `None` when the figures are too few, or not all above zero.
pub fn change(before: &Sample, after: &Sample) -> Option<Change> {
    let estimate = median(&after.runs)? / median(&before.runs)? - 1.0;
    if !estimate.is_finite() {
        return None;
    }
    let of_runs = || {
        let (before, after) = (logarithms(&before.runs)?, logarithms(&after.runs)?);
        let few = before.len() < MIN_RUNS || after.len() < MIN_RUNS;
        if few { None } else { interval(&before, &after) }
    };
    let of_intervals = || {
        let (before, after) = (blocks(before)?, blocks(after)?);
        let (low, high) = interval(&before, &after)?;
        let slack = ASSUMED_RUN_NOISE.ln_1p();
        Some((low - slack, high + slack))
    };
    let ((low, high), basis) = of_runs()
        .map(|bounds| (bounds, Basis::Runs))
        .or_else(|| of_intervals().map(|bounds| (bounds, Basis::Intervals)))?;
    Some(Change { estimate, low: low.exp_m1(), high: high.exp_m1(), basis })
}

fn logarithms(figures: &[f64]) -> Option<Vec<f64>> {
    let positive = |figure: &f64| (figure.is_finite() && *figure > 0.0).then(|| figure.ln());
    figures.iter().take(MAX_RUNS).map(positive).collect()
}

/// The logarithms of the intervals of all runs, drawn together into blocks. Intervals without a
/// figure are left out: a stall shows in the figure of the run, and in its neighbours.
fn blocks(sample: &Sample) -> Option<Vec<f64>> {
    let figures: Vec<f64> =
        sample.intervals.iter().flatten().copied().filter(|figure| *figure > 0.0).collect();
    let size = figures.len().div_ceil(MAX_BLOCKS).max(1);
    let blocks: Vec<f64> = figures.chunks_exact(size).filter_map(median).map(f64::ln).collect();
    (blocks.len() >= MIN_BLOCKS).then_some(blocks)
}

/// The interval of the differences between `after` and `before` at [`CONFIDENCE`]; `None` when so few
/// figures cannot reach it.
fn interval(before: &[f64], after: &[f64]) -> Option<(f64, f64)> {
    let cut = cut_off(before.len(), after.len())?;
    let mut differences: Vec<f64> =
        after.iter().flat_map(|after| before.iter().map(move |before| after - before)).collect();
    differences.sort_by(f64::total_cmp);
    let high = differences.len().checked_sub(cut + 1)?;
    Some((*differences.get(cut)?, *differences.get(high)?))
}

/// How many of the sorted differences between two samples of these sizes chance puts beyond each end
/// of the interval: the greatest c for which P(U <= c) is at most half of what [`CONFIDENCE`] leaves.
fn cut_off(before: usize, after: usize) -> Option<usize> {
    let ways = arrangements(before, after);
    let total: f64 = ways.iter().sum();
    let budget = total * (1.0 - CONFIDENCE) / 2.0;
    let mut sum = 0.0;
    let within = ways.iter().take_while(|count| {
        sum += **count;
        sum <= budget
    });
    within.count().checked_sub(1)
}

/// In how many orders of two samples exactly u pairs are the wrong way round, for each u. With
/// f(i, j, u) for samples of i and j: the last in order is of the one, which all j of the other
/// precede, or of the other: f(i, j, u) = f(i - 1, j, u - j) + f(i, j - 1, u).
fn arrangements(left: usize, right: usize) -> Vec<f64> {
    let most = left * right;
    // One row of i: for each j, the counts by u.
    let mut row: Vec<Vec<f64>> = vec![unit(most); right + 1];
    for _ in 0..left {
        let mut next: Vec<Vec<f64>> = Vec::with_capacity(right + 1);
        for (j, above) in row.iter().enumerate() {
            let mut counts = next.last().cloned().unwrap_or_else(|| vec![0.0; most + 1]);
            for (count, shifted) in counts.iter_mut().skip(j).zip(above) {
                *count += shifted;
            }
            next.push(counts);
        }
        row = next;
    }
    row.pop().unwrap_or_default()
}

/// An empty sample can be ordered in one way, with no pair.
fn unit(most: usize) -> Vec<f64> {
    let mut counts = vec![0.0; most + 1];
    if let Some(none) = counts.first_mut() {
        *none = 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(figures: &[f64]) -> Sample {
        Sample { runs: figures.to_vec(), intervals: Vec::new() }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[f64::NAN, 7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_distribution_of_mann_and_whitney_is_that_of_the_tables() {
        assert_eq!(arrangements(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(arrangements(5, 5).iter().sum::<f64>(), 252.0);
        // Two-sided critical values at 5 %.
        for (left, right, critical) in
            [(4, 4, Some(0)), (5, 5, Some(2)), (6, 8, Some(8)), (10, 10, Some(23)), (20, 20, Some(127))]
        {
            assert_eq!(cut_off(left, right), critical, "{left} and {right}");
        }
        assert_eq!(cut_off(3, 3), None, "20 orders are too few for 95 %");
        assert_eq!(cut_off(0, 5), None);
    }

    #[test]
    fn the_interval_holds_the_change_and_one_wild_run_does_not_move_it() {
        let before = runs(&[100.0, 101.0, 99.0, 100.5, 99.5]);
        let after = runs(&[120.0, 121.0, 119.0, 120.5, 900.0]);
        let change = change(&before, &after).expect("five runs each");
        assert_eq!(change.basis, Basis::Runs);
        assert!((change.estimate - 0.205).abs() < 1e-9, "{change:?}");
        assert!(change.low > 0.17 && change.low < 0.2, "{change:?}");
    }

    #[test]
    fn without_enough_runs_the_intervals_speak_with_the_assumed_noise_between_runs() {
        let before = Sample { runs: vec![100.0], intervals: vec![vec![100.0; 10]] };
        let after = Sample { runs: vec![110.0], intervals: vec![vec![110.0; 10]] };
        let change = change(&before, &after).expect("ten intervals each");
        assert_eq!(change.basis, Basis::Intervals);
        assert!((change.low - (1.1 / 1.05 - 1.0)).abs() < 1e-9, "{change:?}");
        assert!((change.high - (1.1 * 1.05 - 1.0)).abs() < 1e-9, "{change:?}");
    }

    #[test]
    fn too_few_figures_and_figures_of_zero_give_no_change() {
        assert_eq!(change(&runs(&[1.0]), &runs(&[2.0])), None);
        assert_eq!(change(&runs(&[0.0; 5]), &runs(&[1.0; 5])), None);
        assert_eq!(change(&runs(&[]), &runs(&[1.0; 5])), None);
        let short = Sample { runs: vec![1.0], intervals: vec![vec![1.0; 4]] };
        assert_eq!(change(&short, &short), None);
    }

    #[test]
    fn long_runs_are_drawn_together_so_that_seconds_do_not_pass_for_runs() {
        let sample = Sample { runs: vec![1.0], intervals: vec![(1..=3_600).map(f64::from).collect()] };
        assert_eq!(blocks(&sample).expect("an hour").len(), MAX_BLOCKS);
    }
}
