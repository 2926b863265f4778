//! The costs of runs and their latencies: messages an operation against milliseconds, a point a run.

use std::fmt::Write;

use super::svg::{Px, Svg, cut};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// A run, or a published result.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name in the picture.
    pub name: String,
    /// Messages between servers for each operation.
    pub per_op: f64,
    /// The median latency, in milliseconds.
    pub median_ms: f64,
    /// The longest one.
    pub most_ms: f64,
}

/// One of the latencies of a point.
type Latency = fn(&Point) -> f64;

/// Draws runs as a curve in the order of their costs, the medians solid and the longest dashed, and
/// `others` as single points.
pub fn draw(runs: &[Point], others: &[Point]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let all = || runs.iter().chain(others);
    let right = all().map(|point| point.per_op).fold(0.1, f64::max) * 1.05;
    let top = all().map(|point| point.most_ms).fold(1.0, f64::max) * 1.05;
    let x = |per_op: f64| LEFT + per_op / right * (WIDTH - LEFT - RIGHT);
    let y = |ms: f64| HEIGHT - BOTTOM - ms / top * (HEIGHT - TOP - BOTTOM);
    axes(&mut svg, (right, &x), (top, &y));
    let mut sorted: Vec<&Point> = runs.iter().collect();
    sorted.sort_by(|a, b| a.per_op.total_cmp(&b.per_op));
    let columns: [(Latency, &str); 2] =
        [(|point: &Point| point.median_ms, ""), (|point: &Point| point.most_ms, " dashed")];
    for (value, dash) in columns {
        let mut path = String::new();
        for (nth, point) in sorted.iter().enumerate() {
            let step = if nth == 0 { 'M' } else { 'L' };
            write!(path, "{step}{} {}", Px(x(point.per_op)), Px(y(value(point))))
                .expect("writing into a String cannot fail");
        }
        svg.add(format_args!("<path class=\"curve{dash}\" d=\"{path}\"/>"));
        for point in &sorted {
            dot(&mut svg, "dot-run", x(point.per_op), y(value(point)));
        }
        for point in others {
            dot(&mut svg, "dot-bad", x(point.per_op), y(value(point)));
        }
    }
    // Names stand above the longest latency of their run, a line higher where another name is in
    // the way; a crowd beyond that has no names.
    let mut free_from = [f64::MIN; 4];
    for point in &sorted {
        let at = x(point.per_op);
        let Some(level) = free_from.iter().position(|free| at >= *free) else { continue };
        let above = 7.0 + 14.0 * level as f64;
        svg.text(at + 5.0, y(point.most_ms) - above, "soft", &cut(&point.name, 24));
        free_from[level] = at + 7.0 * point.name.chars().count().min(24) as f64 + 10.0;
    }
    for point in others {
        svg.text(x(point.per_op), y(point.most_ms) - 9.0, "mid", &cut(&point.name, 24));
    }
    svg.text(LEFT, 20.0, "", "latency, ms: median solid, longest dashed");
    svg.finish("latency against messages for each operation")
}

fn axes(
    svg: &mut Svg,
    (right, x): (f64, &dyn Fn(f64) -> f64),
    (top, y): (f64, &dyn Fn(f64) -> f64),
) {
    let bottom = HEIGHT - BOTTOM;
    for (ms, label) in marks(top) {
        let at = Px(y(ms));
        svg.add(format_args!("<path class=\"axis\" d=\"M {LEFT} {at} H {}\"/>", WIDTH - RIGHT));
        svg.text(LEFT - 8.0, y(ms) + 4.0, "soft end", &label);
    }
    for (per_op, label) in marks(right) {
        svg.text(x(per_op), bottom + 18.0, "soft mid", &label);
    }
    svg.add(format_args!("<path class=\"axis\" d=\"M {LEFT} {TOP} V {bottom}\"/>"));
    svg.text(
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0,
        "soft mid",
        "messages between servers for each operation",
    );
}

/// Round numbers from 0 to `most`, about six of them.
fn marks(most: f64) -> Vec<(f64, String)> {
    let power = 10_f64.powf((most / 6.0).log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let step = factors.map(|factor| factor * power).into_iter().find(|step| step * 6.0 >= most);
    let step = step.unwrap_or(most);
    let digits = usize::from(step < 1.0) * (-step.log10().floor()).max(0.0) as usize;
    let count = (most / step).floor() as u32;
    (0..=count).map(|nth| f64::from(nth) * step).map(|at| (at, format!("{at:.digits$}"))).collect()
}

fn dot(svg: &mut Svg, class: &str, x: f64, y: f64) {
    let (x, y) = (Px(x), Px(y));
    svg.add(format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_two_points_and_a_name() {
        let point = |name: &str, per_op| Point {
            name: name.into(),
            per_op,
            median_ms: 230.0,
            most_ms: 400.0,
        };
        let svg = draw(&[point("<a>", 0.5), point("b", 3.0)], &[point("elsewhere", 8.3)]);
        assert_eq!(svg.matches("dot-run").count(), 4);
        assert_eq!(svg.matches("dot-bad").count(), 2);
        assert!(svg.contains("&lt;a&gt;") && svg.contains("elsewhere"));
        assert!(!draw(&[], &[]).contains("NaN"));
    }

    #[test]
    fn marks_are_round() {
        let labels = |most| marks(most).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(9.0), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(0.5), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(2400.0), ["0", "500", "1000", "1500", "2000"]);
    }
}
