//! Messages as arrows between lanes, time downwards, as Maelstrom's `messages.svg`.

use super::svg::{Px, Svg, cut, escaped};

/// Pixels between two lanes, and between two messages.
const LANE: f64 = 110.0;
const STEP: f64 = 22.0;
const TOP: f64 = 40.0;

/// Messages of a picture; those beyond are counted only. With two events each, a picture is
/// 8,000 pixels high at most, and its PNG 16,000, which viewers open.
pub(crate) const MESSAGES_MAX: usize = 180;

/// A message.
#[derive(Clone, Debug)]
pub struct Arrow {
    /// Its sender's lane.
    pub from: usize,
    /// Its receiver's lane.
    pub to: usize,
    /// When it was sent, in nanoseconds.
    pub at: i64,
    /// When it arrived; none if it did not, or only after the picture.
    pub arrival: Option<i64>,
    /// Whether the network lost it.
    pub is_lost: bool,
    /// Its type.
    pub label: String,
}

/// Draws messages in the order of their events, which have the same distance whatever the time
/// between them. `left_out` messages come after those.
pub fn draw(
    lanes: &[String],
    shown: &[Arrow],
    shades: &[(i64, String)],
    left_out: usize,
) -> String {
    let mut events: Vec<(i64, usize, bool)> = Vec::new();
    for (nth, arrow) in shown.iter().enumerate() {
        events.push((arrow.at, nth, false));
        events.extend(arrow.arrival.map(|at| (at, nth, true)));
    }
    events.sort_by_key(|(at, nth, is_end)| (*at, *nth, *is_end));
    let height = TOP + STEP * (events.len() + 2) as f64;
    let mut svg = Svg::new(80.0 + LANE * lanes.len().max(1) as f64, height);
    let x = |lane: usize| 80.0 + LANE * (lane as f64 + 0.4);
    for (lane, name) in lanes.iter().enumerate() {
        svg.text(x(lane), 20.0, "mid strong", &cut(name, 14));
        svg.add(format_args!("<path class=\"axis\" d=\"M {} 28 V {}\"/>", Px(x(lane)), Px(height)));
    }
    let row = |at: usize| TOP + STEP * (at as f64 + 0.5);
    let mut rows = vec![(0.0, None); shown.len()];
    for (at, (_, nth, is_end)) in events.iter().enumerate() {
        if *is_end { rows[*nth].1 = Some(row(at)) } else { rows[*nth].0 = row(at) }
    }
    for (at, name) in shades {
        let y = TOP + STEP * events.partition_point(|(time, ..)| time < at) as f64;
        svg.add(format_args!(
            "<path class=\"down\" d=\"M 70 {} H {}\"/>",
            Px(y),
            Px(80.0 + LANE * lanes.len() as f64)
        ));
        svg.text(4.0, y - 2.0, "soft", &cut(name, 40));
    }
    for (arrow, (start, end)) in shown.iter().zip(rows) {
        line(&mut svg, (x(arrow.from), start), x(arrow.to), end, arrow);
    }
    if left_out > 0 {
        let all = shown.len() + left_out;
        svg.text(4.0, 10.0, "soft", &format!("the first {} of {all} messages", shown.len()));
        svg.text(4.0, height - 6.0, "soft", &format!("and {left_out} more messages"));
    }
    svg.finish("messages between nodes")
}

fn line(svg: &mut Svg, (x, y): (f64, f64), to: f64, end: Option<f64>, arrow: &Arrow) {
    let title = escaped(&arrow.label);
    // A message that does not arrive ends half-way.
    let (bx, by, class) = match end {
        Some(end) => (to, end, "arrow"),
        None if arrow.is_lost => ((x + to) / 2.0, y + STEP, "lost"),
        None => ((x + to) / 2.0, y + STEP / 2.0, "arrow dashed"),
    };
    svg.add(format_args!(
        "<path class=\"{class}\" d=\"M {} {} L {} {}\"><title>{title}</title></path>",
        Px(x),
        Px(y),
        Px(bx),
        Px(by)
    ));
    if end.is_some() {
        let angle = (by - y).atan2(bx - x).to_degrees();
        svg.add(format_args!(
            "<path class=\"tip\" d=\"M 0 0 L -8 -3 L -8 3 Z\" transform=\"translate({} {}) rotate({})\"/>",
            Px(bx),
            Px(by),
            Px(angle)
        ));
    } else if arrow.is_lost {
        svg.add(format_args!(
            "<path class=\"lost\" d=\"M {} {} l 8 8 m 0 -8 l -8 8\"/>",
            Px(bx - 4.0),
            Px(by - 4.0)
        ));
    }
    svg.text((x + bx) / 2.0, (y + by) / 2.0 - 3.0, "mid", &cut(&arrow.label, 22));
    svg.text(4.0, y + 4.0, "soft", &format!("{:.3}", arrow.at as f64 / 1e9));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_bound_and_says_what_it_leaves_out() {
        let arrow = |nth: i64| Arrow {
            from: 0,
            to: 1,
            at: 2 * nth,
            arrival: Some(2 * nth + 1),
            is_lost: false,
            label: "ping".into(),
        };
        let shown: Vec<Arrow> = (0..MESSAGES_MAX as i64).map(arrow).collect();
        let svg = draw(&["n0".into(), "n1".into()], &shown, &[], 1000 - MESSAGES_MAX);
        let height = svg.split("height=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(height.parse::<f64>().unwrap() <= 8010.0, "{height}");
        assert!(svg.contains("the first 180 of 1000 messages"));
        assert!(svg.contains("and 820 more messages"));
    }

    #[test]
    fn a_lost_message_ends_in_a_cross() {
        let arrow = |arrival, is_lost| Arrow {
            from: 0,
            to: 1,
            at: 5,
            arrival,
            is_lost,
            label: "<vote>".into(),
        };
        let lanes = ["n0".to_owned(), "n1".to_owned()];
        let svg = draw(
            &lanes,
            &[arrow(Some(9), false), arrow(None, true), arrow(None, false)],
            &[(7, "kill n0".into())],
            3,
        );
        assert_eq!(svg.matches("class=\"tip\"").count(), 1);
        assert_eq!(svg.matches("class=\"lost\"").count(), 2);
        assert_eq!(svg.matches("class=\"arrow dashed\"").count(), 1);
        assert!(svg.contains("&lt;vote&gt;") && svg.contains("kill n0") && svg.contains("3 more"));
    }
}
