//! Charts of whole runs: every operation's latency, its quantiles, and the rate.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::svg::{Svg, cut};
use crate::history::quantile;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;

/// Pixels of a letter of a fault's name, and from one row of names to the next.
const LETTER: f64 = 7.0;
const NAME_ROW: f64 = 14.0;

/// Rows of names of faults; a fault for which all are taken has only its shade.
const NAME_ROWS: usize = 8;

/// Pieces of time over which quantiles and rates are taken.
const BUCKETS: usize = 60;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It happened.
    Ok,
    /// It certainly did not.
    Fail,
    /// Unknown.
    Info,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was invoked, in nanoseconds since the operations began.
    pub at: i64,
    /// Nanoseconds until it completed; none if it never did.
    pub took: Option<i64>,
    /// How it ended.
    pub end: End,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the picture.
    pub name: String,
    /// Its operations.
    pub samples: Vec<Sample>,
}

/// A fault: from, to (nanoseconds since the operations began), and its name.
pub type Shade = (i64, i64, String);

/// Every operation as a dot, by how it ended; time against latency on a logarithmic scale.
pub fn latency(series: &Series, shades: &[Shade]) -> String {
    let frame = Frame::of(std::slice::from_ref(series));
    let mut svg = frame.begin(shades);
    frame.latency_axis(&mut svg);
    for (end, class) in [(End::Ok, "ok"), (End::Fail, "fail"), (End::Info, "info")] {
        // Dots that fall on one place are drawn once, so a file stays small.
        let mut places = BTreeSet::new();
        for sample in series.samples.iter().filter(|sample| sample.end == end) {
            let y = frame.y(sample.took.map_or(frame.slowest, |took| took as f64));
            places.insert(((frame.x(sample.at) * 2.0) as i64, (y * 2.0) as i64));
        }
        let mut path = String::new();
        for (x, y) in places {
            write!(path, "M{} {}h0", x as f64 / 2.0, y as f64 / 2.0)
                .expect("writing into a String cannot fail");
        }
        svg.add(format_args!("<path class=\"dots dots-{class}\" d=\"{path}\"/>"));
    }
    frame.title(&mut svg, &format!("{}: latency", series.name));
    svg.finish("latency of each operation")
}

/// The median (solid) and the 99th percentile (dashed) of the operations that succeeded, a
/// colour a run.
pub fn quantiles(all: &[Series], shades: &[Shade]) -> String {
    let frame = Frame::of(all);
    let mut svg = frame.begin(shades);
    frame.latency_axis(&mut svg);
    for (nth, series) in all.iter().enumerate() {
        let mut buckets: Vec<Vec<i64>> = vec![Vec::new(); BUCKETS];
        for sample in series.samples.iter().filter(|sample| sample.end == End::Ok) {
            buckets[frame.bucket(sample.at)].extend(sample.took);
        }
        buckets.iter_mut().for_each(|bucket| bucket.sort_unstable());
        for (q, dash) in [(0.5, ""), (0.99, " dashed")] {
            let value = |bucket: &Vec<i64>| Some(frame.y(quantile(bucket, q)? as f64));
            frame.curve(&mut svg, buckets.iter().map(value), nth, dash);
        }
        frame.legend(&mut svg, nth, &series.name);
    }
    svg.finish("quantiles of the latency")
}

/// Operations that succeeded, a second, a colour a run.
pub fn rate(all: &[Series], shades: &[Shade]) -> String {
    let frame = Frame::of(all);
    let mut svg = frame.begin(shades);
    let seconds = frame.last / BUCKETS as f64 / 1e9;
    let rates: Vec<Vec<f64>> = all
        .iter()
        .map(|series| {
            let mut rates = vec![0.0; BUCKETS];
            for sample in series.samples.iter().filter(|sample| sample.end == End::Ok) {
                rates[frame.bucket(sample.at)] += 1.0 / seconds;
            }
            rates
        })
        .collect();
    let top = rates.iter().flatten().copied().fold(1.0, f64::max);
    let y = |rate: &f64| HEIGHT - BOTTOM - rate / top * (HEIGHT - TOP - BOTTOM);
    for (nth, (series, rates)) in all.iter().zip(&rates).enumerate() {
        frame.curve(&mut svg, rates.iter().map(|rate| Some(y(rate))), nth, "");
        frame.legend(&mut svg, nth, &series.name);
    }
    svg.text(LEFT - 8.0, TOP + 4.0, "soft end", &format!("{top:.0}/s"));
    svg.text(LEFT - 8.0, HEIGHT - BOTTOM + 4.0, "soft end", "0/s");
    svg.finish("operations a second")
}

/// Where things are in a picture.
struct Frame {
    /// Nanoseconds of the whole.
    last: f64,
    fastest: f64,
    slowest: f64,
}

impl Frame {
    fn of(all: &[Series]) -> Frame {
        let samples = || all.iter().flat_map(|series| &series.samples);
        let last = samples().map(|sample| sample.at).max().unwrap_or(0).max(1) as f64;
        let took = || samples().filter_map(|sample| sample.took).map(|took| took.max(1000) as f64);
        let slowest = took().fold(1e6, f64::max) * 1.2;
        Frame { last, fastest: took().fold(slowest / 100.0, f64::min), slowest }
    }

    fn x(&self, at: i64) -> f64 {
        LEFT + at.max(0) as f64 / self.last * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, took: f64) -> f64 {
        let part =
            (took.max(self.fastest) / self.fastest).ln() / (self.slowest / self.fastest).ln();
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }

    fn bucket(&self, at: i64) -> usize {
        ((at.max(0) as f64 / self.last * BUCKETS as f64) as usize).min(BUCKETS - 1)
    }

    /// A picture with its axis of time and its faults.
    fn begin(&self, shades: &[Shade]) -> Svg {
        let mut svg = Svg::new(WIDTH, HEIGHT);
        let bottom = HEIGHT - BOTTOM;
        // Where each row of names is free again.
        let mut free = [f64::NEG_INFINITY; NAME_ROWS];
        for (from, to, name) in shades {
            let (from, to) = (self.x(*from), self.x(*to).min(WIDTH - RIGHT));
            let width = (to - from).max(1.0);
            svg.add(format_args!(
                "<rect class=\"shade\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{}\"/>",
                bottom - TOP
            ));
            if width > 50.0
                && let Some(row) = free.iter().position(|end| *end <= from)
            {
                let name = cut(name, 16);
                free[row] = from + 4.0 + LETTER * name.chars().count() as f64;
                svg.text(from + 4.0, TOP + 12.0 + NAME_ROW * row as f64, "soft", &name);
            }
        }
        svg.add(format_args!(
            "<path class=\"axis\" d=\"M {LEFT} {TOP} V {bottom} H {}\"/>",
            WIDTH - RIGHT
        ));
        for nth in 0..=6 {
            let at = self.last * f64::from(nth) / 6.0;
            let class = if nth == 6 { "soft end" } else { "soft mid" };
            svg.text(self.x(at as i64), bottom + 18.0, class, &format!("{:.1} s", at / 1e9));
        }
        svg
    }

    fn latency_axis(&self, svg: &mut Svg) {
        let powers = (3..12).map(|power| 10_f64.powi(power));
        for took in powers.filter(|took| (self.fastest..=self.slowest).contains(took)) {
            let y = self.y(took);
            svg.add(format_args!(
                "<path class=\"axis\" d=\"M {LEFT} {y:.1} H {}\"/>",
                WIDTH - RIGHT
            ));
            let text = match took {
                took if took < 1e6 => format!("{:.0} µs", took / 1e3),
                took if took < 1e9 => format!("{:.0} ms", took / 1e6),
                took => format!("{:.0} s", took / 1e9),
            };
            svg.text(LEFT - 8.0, y + 4.0, "soft end", &text);
        }
    }

    /// A line through the middles of the buckets that have a value.
    fn curve(&self, svg: &mut Svg, ys: impl Iterator<Item = Option<f64>>, nth: usize, dash: &str) {
        let (mut path, mut is_down) = (String::new(), false);
        for (bucket, y) in ys.enumerate() {
            let at = (bucket as f64 + 0.5) / BUCKETS as f64 * self.last;
            if let Some(y) = y {
                let step = if is_down { 'L' } else { 'M' };
                write!(path, "{step}{:.1} {y:.1}", self.x(at as i64))
                    .expect("writing into a String cannot fail");
            }
            is_down = y.is_some();
        }
        svg.add(format_args!("<path class=\"curve curve-{}{dash}\" d=\"{path}\"/>", nth % 4));
    }

    fn legend(&self, svg: &mut Svg, nth: usize, name: &str) {
        let x = LEFT + 200.0 * nth as f64;
        svg.add(format_args!("<path class=\"curve curve-{}\" d=\"M {x} 16 h 18\"/>", nth % 4));
        svg.text(x + 24.0, 20.0, "", &cut(name, 24));
    }

    fn title(&self, svg: &mut Svg, title: &str) {
        svg.text(LEFT, 20.0, "strong", &cut(title, 100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str) -> Series {
        let sample =
            |at: i64| Sample { at: at * 1_000_000, took: Some(1_000_000 + at), end: End::Ok };
        Series { name: name.to_owned(), samples: (0..100).map(sample).collect() }
    }

    #[test]
    fn a_chart_has_a_curve_for_each_run() {
        let all = [series("a"), series("<b>")];
        let shades = [(0, 50_000_000, "kill".to_owned())];
        let svg = quantiles(&all, &shades);
        assert_eq!(svg.matches("dashed").count(), 2);
        assert!(svg.contains("&lt;b&gt;") && svg.contains("kill"));
        assert!(!svg.contains("NaN") && !rate(&all, &shades).contains("NaN"));
    }

    #[test]
    fn names_of_faults_at_one_moment_do_not_overlap() {
        let ms = 1_000_000;
        let shades: Vec<Shade> = [(0, 40, "kill n1"), (0, 50, "pause n2"), (5, 60, "partition")]
            .into_iter()
            .chain([(50, 99, "kill n3")])
            .map(|(from, to, name)| (from * ms, to * ms, name.to_owned()))
            .collect();
        let svg = latency(&series("a"), &shades);
        let place = |name: &str| {
            let before = svg.split(&format!(">{name}<")).next().unwrap();
            let number = |key: &str| -> f64 {
                let value = before.rsplit(&format!(" {key}=\"")).next().unwrap();
                value.split('"').next().unwrap().parse().unwrap()
            };
            (number("x"), number("y"))
        };
        let places: Vec<(&str, (f64, f64))> =
            shades.iter().map(|(_, _, name)| (&**name, place(name))).collect();
        for (nth, (name, (x, y))) in places.iter().enumerate() {
            for (other, (other_x, other_y)) in &places[..nth] {
                let end = other_x + LETTER * other.len() as f64;
                assert!(end <= *x || (y - other_y).abs() >= 12.0, "{name} over {other}");
            }
        }
        // A name takes the highest row that is free.
        assert_eq!(place("kill n3").1, place("kill n1").1);
    }

    #[test]
    fn nothing_is_drawn_of_no_operation() {
        let none = Series { name: "none".into(), samples: Vec::new() };
        assert!(!latency(&none, &[]).contains("NaN"));
        assert!(latency(&series("a"), &[]).contains("h0"));
    }
}
