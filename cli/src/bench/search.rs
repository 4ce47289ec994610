//! The search for the highest rate that keeps the objectives: doubling until one fails, then halving the
//! distance.

/// The state of a search. It asks for a rate, is told whether it held, and asks again until it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The highest rate that held.
    held: Option<u64>,
    /// The lowest rate that did not.
    failed: Option<u64>,
    from: u64,
    to: u64,
    /// Percent of the rate.
    precision: u64,
}

impl Search {
    /// Searches between `from` and `to`, until the answer is exact to `precision` percent.
    pub fn new(from: u64, to: u64, precision: u8) -> Self {
        let from = from.max(1);
        Self { held: None, failed: None, from, to: to.max(from), precision: u64::from(precision.max(1)) }
    }

    /// The rate to try next; `None` when the answer is known.
    pub fn next(&self) -> Option<u64> {
        match (self.held, self.failed) {
            (None, None) => Some(self.from),
            // Below where it began: a tenth each time, down to one message per second.
            (None, Some(failed)) => (failed > 1).then_some((failed / 10).max(1)),
            (Some(held), None) => (held < self.to).then_some(held.saturating_mul(2).min(self.to)),
            (Some(held), Some(failed)) => {
                let distance = failed.saturating_sub(held);
                let is_exact = u128::from(distance) * 100 <= u128::from(held) * u128::from(self.precision);
                (!is_exact && distance > 1).then_some(held + distance / 2)
            }
        }
    }

    /// Says how the run at a rate ended.
    pub fn tell(&mut self, rate: u64, has_held: bool) {
        if has_held {
            self.held = Some(self.held.map_or(rate, |held| held.max(rate)));
        } else {
            self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate)));
        }
    }

    /// The highest rate that held.
    pub fn answer(&self) -> Option<u64> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: u64, search: Search) -> (Option<u64>, usize) {
        let mut search = search;
        let mut runs = 0;
        while let Some(rate) = search.next() {
            search.tell(rate, rate <= limit);
            runs += 1;
            assert!(runs < 100, "the search does not end");
        }
        (search.answer(), runs)
    }

    #[test]
    fn the_answer_holds_and_is_as_exact_as_asked() {
        for limit in [1_000, 1_500, 43_210, 999_999] {
            let (answer, runs) = found(limit, Search::new(1_000, 10_000_000, 5));
            let answer = answer.unwrap();
            assert!(answer <= limit && answer * 105 >= limit * 100, "{limit}: {answer}");
            assert!(runs < 20);
        }
    }

    #[test]
    fn a_limit_below_the_beginning_is_found_and_none_is_said() {
        let (answer, _) = found(37, Search::new(1_000, 10_000, 5));
        assert!((35..=37).contains(&answer.unwrap()));
        assert_eq!(found(0, Search::new(1_000, 10_000, 5)).0, None);
    }

    #[test]
    fn the_search_ends_at_the_highest_rate_to_try() {
        assert_eq!(found(u64::MAX, Search::new(1_000, 50_000, 5)).0, Some(50_000));
    }
}
