//! A cycle of transactions: boxes on a ring, and between them the dependencies by name.

use std::f64::consts::{PI, TAU};

use super::svg::{Svg, cut, escaped};

/// Transactions on a ring; a longer cycle is drawn without its values.
const WITH_VALUES: usize = 8;

/// Transactions that are drawn at all.
const DRAWN: usize = 40;

/// A dependency of a transaction on the one before.
#[derive(Clone, Debug)]
pub struct Edge {
    /// `ww`, `wr`, `rw`, `realtime`, `process`.
    pub kind: String,
    /// The key that the edge is about.
    pub about: String,
}

/// Draws transactions, each a name and its operations, in the order of the cycle. Edge *i*
/// leads from transaction *i* to the next.
pub fn draw(nodes: &[(String, String)], edges: &[Edge]) -> String {
    let count = nodes.len().min(DRAWN);
    let has_values = count <= WITH_VALUES;
    let radius = (count as f64 * 26.0).max(110.0);
    let (width, height) =
        (if has_values { 2.0 * radius + 420.0 } else { 2.0 * radius + 160.0 }, 2.0 * radius + 90.0);
    let mut svg = Svg::new(width, height);
    let center = (width / 2.0, height / 2.0);
    let at = |index: usize, radius: f64| {
        let angle = TAU * index as f64 / count as f64 - PI / 2.0;
        (center.0 + radius * angle.cos(), center.1 + radius * angle.sin())
    };
    for index in 0..count {
        let (from, to) = (at(index, radius), at((index + 1) % count, radius));
        let edge = edges.get(index);
        arrow(&mut svg, from, to, center, edge);
    }
    for (index, (name, value)) in nodes.iter().take(count).enumerate() {
        let (x, y) = at(index, radius);
        let half = if has_values { 13.0 } else { 11.0 };
        let wide = 9.0 * name.chars().count() as f64 / 2.0 + 10.0;
        svg.add(format_args!(
            "<g><title>{} {}</title><rect class=\"box\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"6\"/></g>",
            escaped(name), escaped(&cut(value, 400)), x - wide, y - half, 2.0 * wide, 2.0 * half,
        ));
        svg.text(x, y + 4.0, "mid strong", name);
        if has_values {
            let side = if x < center.0 - 1.0 { "soft end" } else { "soft" };
            let (tx, ty) = match (x - center.0).abs() < 1.0 {
                // At the top and at the bottom there is room beside the box.
                true => (x + wide + 6.0, y + 4.0),
                false if x < center.0 => (x - wide - 6.0, y + 4.0),
                false => (x + wide + 6.0, y + 4.0),
            };
            svg.text(tx, ty, side, &cut(value, 28));
        }
    }
    if nodes.len() > count {
        svg.text(8.0, 18.0, "soft", &format!("the first {count} of {} transactions", nodes.len()));
    }
    svg.finish(&format!("a cycle of {} transactions", nodes.len()))
}

/// An arrow between two boxes, bent outwards, with its name.
fn arrow(svg: &mut Svg, from: (f64, f64), to: (f64, f64), center: (f64, f64), edge: Option<&Edge>) {
    let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    // To the left of the way, as seen from above: outwards on a ring that runs clockwise, and
    // apart for the two arrows of a cycle of two.
    let bend = 0.18 * length + 8.0;
    let normal = (dy / length, -dx / length);
    let pull = (middle.0 + bend * normal.0, middle.1 + bend * normal.1);
    let tip = along(pull, to, 24.0);
    let (kind, about) = edge.map_or(("?", ""), |edge| (&*edge.kind, &*edge.about));
    svg.add(format_args!(
        "<path class=\"edge edge-{}\" d=\"M {:.1} {:.1} Q {:.1} {:.1} {:.1} {:.1}\"/>",
        escaped(kind),
        from.0,
        from.1,
        pull.0,
        pull.1,
        tip.0,
        tip.1
    ));
    let angle = (tip.1 - pull.1).atan2(tip.0 - pull.0).to_degrees();
    svg.add(format_args!(
        "<path class=\"tip\" d=\"M 0 0 L -9 -4 L -9 4 Z\" transform=\"translate({:.1} {:.1}) rotate({angle:.1})\"/>",
        tip.0, tip.1
    ));
    let label = (middle.0 + 0.75 * bend * normal.0, middle.1 + 0.75 * bend * normal.1);
    let inward = center.0 - label.0;
    let class = match inward {
        inward if inward.abs() < 20.0 => "mid",
        inward if inward > 0.0 => "end",
        _ => "",
    };
    svg.text(label.0, label.1 + 4.0, class, format!("{kind} {about}").trim());
}

/// The point so many pixels before `to`, coming from `from`.
fn along(from: (f64, f64), to: (f64, f64), short: f64) -> (f64, f64) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let part = ((length - short) / length).max(0.0);
    (from.0 + part * dx, from.1 + part * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_has_a_box_for_each_transaction_and_an_arrow_for_each_edge() {
        let node = |name: &str| (name.to_owned(), "[[:r 1 <nil>]]".to_owned());
        let edge = |kind: &str| Edge { kind: kind.to_owned(), about: "key 1".to_owned() };
        let svg = draw(&[node("T1"), node("T2")], &[edge("rw"), edge("wr")]);
        assert_eq!(svg.matches("class=\"box\"").count(), 2);
        assert_eq!(svg.matches("class=\"tip\"").count(), 2);
        assert!(svg.contains("rw key 1") && svg.contains("edge-wr"));
        assert!(!svg.contains("<nil>"));
    }
}
