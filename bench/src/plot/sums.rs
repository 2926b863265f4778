//! A counter: the band of sums that were possible, and the sums that were read.

use super::svg::Svg;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const MARGIN: f64 = 20.0;

/// Points of the band; more would not be seen.
const POINTS: usize = 1500;

/// The bounds of the sum from a moment on.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// Nanoseconds since the operations began.
    pub at: i64,
    /// The lowest.
    pub low: i64,
    /// The highest.
    pub high: i64,
}

/// A sum that was read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Nanoseconds since the operations began.
    pub at: i64,
    /// The sum.
    pub value: i64,
    /// Whether it cannot be.
    pub is_wrong: bool,
}

/// Draws the band and the reads.
pub fn draw(sums: &[Sum], reads: &[Read]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let ends = sums.iter().map(|sum| sum.at).chain(reads.iter().map(|read| read.at));
    let end = ends.max().unwrap_or(1).max(1) as f64;
    let values = || {
        let band = sums.iter().flat_map(|sum| [sum.low, sum.high]);
        band.chain(reads.iter().map(|read| read.value)).chain([0])
    };
    let (low, high) = (values().min().unwrap_or(0) as f64, values().max().unwrap_or(1) as f64);
    let span = (high - low).max(1.0);
    let x = |at: i64| LEFT + at as f64 / end * (WIDTH - LEFT - MARGIN);
    let y = |value: i64| HEIGHT - MARGIN - (value as f64 - low) / span * (HEIGHT - 2.0 * MARGIN);
    let step = sums.len().div_ceil(POINTS).max(1);
    let points = || sums.iter().step_by(step).chain(sums.last());
    let upper: String =
        points().map(|sum| format!("{:.1},{:.1} ", x(sum.at), y(sum.high))).collect();
    let mut lower: Vec<String> =
        points().map(|sum| format!("{:.1},{:.1} ", x(sum.at), y(sum.low))).collect();
    lower.reverse();
    svg.add(format_args!("<polygon class=\"band\" points=\"{upper}{}\"/>", lower.concat()));
    for read in reads.iter().filter(|read| !read.is_wrong).take(POINTS) {
        dot(&mut svg, x(read.at), y(read.value), "dot");
    }
    for read in reads.iter().filter(|read| read.is_wrong).take(POINTS) {
        dot(&mut svg, x(read.at), y(read.value), "dot-bad");
    }
    svg.add(format_args!(
        "<path class=\"axis\" d=\"M {LEFT} {MARGIN} V {0} H {1}\"/>",
        HEIGHT - MARGIN,
        WIDTH - MARGIN
    ));
    svg.text(LEFT - 6.0, y(low as i64) + 4.0, "soft end", &low.to_string());
    svg.text(LEFT - 6.0, y(high as i64) + 4.0, "soft end", &high.to_string());
    svg.text(WIDTH - MARGIN, HEIGHT - 4.0, "soft end", &format!("{:.1} s", end / 1e9));
    svg.finish("sums that were possible, and sums that were read")
}

fn dot(svg: &mut Svg, x: f64, y: f64, class: &str) {
    svg.add(format_args!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"));
}
