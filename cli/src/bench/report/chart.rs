//! Line charts as inline SVG.

use super::escaped;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 30.0;

/// More points than pixels show nothing more.
const MAX_POINTS: usize = 600;

/// The least that a logarithmic axis shows: a thousandth of a microsecond.
const LEAST: f64 = 1e-3;

/// A chart of lines over one axis.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) lines: Vec<Line<'a>>,
    /// Where the horizontal axis has a mark, and its text.
    pub(super) marks: Vec<(f64, String)>,
    pub(super) vertical: Axis,
    /// A figure of the vertical axis for people.
    pub(super) show: fn(f64) -> String,
}

pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// In the order of the horizontal axis.
    pub(super) points: Vec<(f64, f64)>,
}

/// How figures become heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// From zero.
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// Where figures are on the paper.
struct Scale {
    axis: Axis,
    left: f64,
    right: f64,
    low: f64,
    high: f64,
}

impl Chart<'_> {
    /// The chart; nothing when no line has a point.
    pub(super) fn svg(&self) -> String {
        let Some(scale) = self.scale() else { return String::new() };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{0}</title>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{0}</text>\n",
            escaped(self.title)
        );
        self.grid(&scale, &mut svg);
        for (index, line) in self.lines.iter().enumerate() {
            svg.push_str(&self.line(&scale, index, line));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn scale(&self) -> Option<Scale> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let bounds = |read: fn(&(f64, f64)) -> f64| {
            let values = || points().map(read).filter(|value| value.is_finite());
            let low = values().fold(f64::INFINITY, f64::min);
            let high = values().fold(f64::NEG_INFINITY, f64::max);
            (low <= high).then_some((low, high))
        };
        let (left, right) = bounds(|point| point.0)?;
        let (low, high) = bounds(|point| point.1)?;
        let (low, high) = match self.vertical {
            Axis::Linear => (0.0, round_up(high.max(1.0))),
            Axis::Logarithmic => {
                let low = 10f64.powf(low.max(LEAST).log10().floor());
                (low, 10f64.powf(high.max(LEAST).log10().ceil()).max(low * 10.0))
            }
        };
        Some(Scale { axis: self.vertical, left, right: right.max(left + 1e-9), low, high })
    }

    fn grid(&self, scale: &Scale, svg: &mut String) {
        for figure in scale.ticks() {
            let y = scale.y(figure);
            svg.push_str(&format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"mark end\" x=\"{:.0}\" y=\"{:.1}\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                escaped(&(self.show)(figure))
            ));
        }
        for (position, text) in &self.marks {
            let x = scale.x(*position);
            svg.push_str(&format!(
                "<text class=\"mark middle\" x=\"{x:.1}\" y=\"{:.0}\">{}</text>\n",
                HEIGHT - 10.0,
                escaped(text)
            ));
        }
    }

    fn line(&self, scale: &Scale, index: usize, line: &Line<'_>) -> String {
        let step = line.points.len().div_ceil(MAX_POINTS).max(1);
        let points: Vec<(f64, f64)> = line
            .points
            .chunks(step)
            // Of the points that share a place the highest is shown: a peak is what one looks for.
            .filter_map(|chunk| chunk.iter().copied().max_by(|left, right| left.1.total_cmp(&right.1)))
            .collect();
        let path: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y))).collect();
        let class = index % 6;
        let mut svg = format!("<polyline class=\"line c{class}\" points=\"{}\"/>\n", path.join(" "));
        for (x, y) in points.iter().filter(|_| points.len() <= 60) {
            svg.push_str(&format!(
                "<circle class=\"dot c{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{} {}</title></circle>\n",
                scale.x(*x),
                scale.y(*y),
                escaped(line.name),
                escaped(&(self.show)(*y))
            ));
        }
        let x = WIDTH - RIGHT - 80.0 * (self.lines.len() - index) as f64;
        svg.push_str(&format!(
            "<line class=\"line c{class}\" x1=\"{x:.0}\" x2=\"{:.0}\" y1=\"12\" y2=\"12\"/>\
             <text class=\"mark\" x=\"{:.0}\" y=\"16\">{}</text>\n",
            x + 14.0,
            x + 18.0,
            escaped(line.name)
        ));
        svg
    }
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let part = match self.axis {
            Axis::Linear => (value - self.low) / (self.high - self.low),
            Axis::Logarithmic => {
                (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
            }
        };
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.axis {
            Axis::Linear => (0..=4).map(|step| self.high * f64::from(step) / 4.0).collect(),
            Axis::Logarithmic => {
                let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
                (low..=high).map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

/// The next 1, 2 or 4 times a power of ten: its quarters are short numbers.
fn round_up(number: f64) -> f64 {
    let power = 10f64.powf(number.log10().floor());
    [1.0, 2.0, 4.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|top| *top >= number)
        .unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, vertical: Axis) -> String {
        let lines = vec![Line { name: "a<b", points }];
        Chart { title: "t", lines, marks: Vec::new(), vertical, show: |figure| figure.to_string() }.svg()
    }

    #[test]
    fn a_chart_without_points_is_nothing() {
        assert_eq!(chart(Vec::new(), Axis::Linear), "");
        assert_eq!(chart(vec![(f64::NAN, f64::NAN)], Axis::Linear), "");
    }

    #[test]
    fn the_highest_point_of_many_is_never_left_out() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|second| (f64::from(second), 1.0)).collect();
        points[77_777].1 = 4_000.0;
        let svg = chart(points, Axis::Linear);
        assert!(svg.len() < 20_000, "{}", svg.len());
        assert!(svg.contains(&format!(",{TOP:.1}")), "the peak touches the top");
    }

    #[test]
    fn one_point_and_zeros_are_drawn_within_the_paper() {
        for axis in [Axis::Linear, Axis::Logarithmic] {
            let svg = chart(vec![(0.0, 0.0)], axis);
            assert!(svg.contains("<polyline") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(!svg.contains("a<b"));
        }
    }
}
