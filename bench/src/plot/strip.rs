//! A strip of time with ticks up and down: who saw something, and who did not.

use super::svg::Svg;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 70.0;
const MARGIN: f64 = 30.0;

/// Something that was, or was not, seen at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// Nanoseconds since the operations began.
    pub at: i64,
    /// Whether it was seen.
    pub is_up: bool,
}

/// Draws ticks from the beginning to `end`, with a line at `mark` (nanoseconds).
pub fn draw(ticks: &[Tick], mark: Option<i64>, end: i64) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let scale = (WIDTH - 2.0 * MARGIN) / (end.max(1) as f64);
    let x = |at: i64| MARGIN + at as f64 * scale;
    let middle = HEIGHT / 2.0 - 6.0;
    svg.add(format_args!(
        "<path class=\"axis\" d=\"M {MARGIN} {middle} H {:.1}\"/>",
        WIDTH - MARGIN
    ));
    for is_up in [true, false] {
        // One path for all ticks of a direction: a set may have 100,000 reads. Ticks that would
        // fall on one pixel are drawn once.
        let mut path = String::new();
        let mut last = f64::MIN;
        for tick in ticks.iter().filter(|tick| tick.is_up == is_up) {
            let at = x(tick.at);
            if at - last >= 0.5 {
                path += &format!("M {at:.1} {middle} v {} ", if is_up { -22 } else { 22 });
                last = at;
            }
        }
        let class = if is_up { "up" } else { "down" };
        svg.add(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }
    if let Some(at) = mark {
        svg.add(format_args!("<path class=\"mark\" d=\"M {:.1} 4 V {}\"/>", x(at), HEIGHT - 18.0));
    }
    svg.text(MARGIN, HEIGHT - 4.0, "soft", "0 s");
    svg.text(WIDTH - MARGIN, HEIGHT - 4.0, "soft end", &format!("{:.1} s", end as f64 / 1e9));
    svg.finish("reads that saw the element, and reads that did not")
}
