//! The common parts of all pictures: escaping, numbers, frames, colours.

use std::fmt::{self, Write};

/// The colours of the classes, for a file of its own.
pub const STYLE: &str = include_str!("style.css");

/// A number of pixels with one decimal. The formatter of floats is exact to the last digit, and takes
/// most of the time of a picture.
#[derive(Clone, Copy)]
pub(super) struct Px(pub(super) f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        let sign = if tenths < 0 { "-" } else { "" };
        let tenths = tenths.unsigned_abs();
        write!(f, "{sign}{}.{}", tenths / 10, tenths % 10)
    }
}

/// A picture as it is built: its elements, in a frame of this size.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty picture of this size in pixels.
    pub(super) fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// Adds an element. Texts in it were escaped with [`escaped`].
    pub(super) fn add(&mut self, element: fmt::Arguments<'_>) {
        self.body.write_fmt(element).expect("writing into a String cannot fail");
        self.body.push('\n');
    }

    /// Adds a text at a place; `class` may be several.
    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escaped(text);
        let (x, y) = (Px(x), Px(y));
        self.add(format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>"));
    }

    /// The whole, with its contents in words for those who do not see it.
    pub(super) fn finish(self, label: &str) -> String {
        let Svg { width, height, body } = self;
        let label = escaped(label);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" \
             aria-label=\"{label}\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\">\n{body}</svg>"
        )
    }
}

/// A text inside of XML: no tag, no entity and no control character is left of it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML cannot hold them in any form.
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// A picture that stands in a file of its own.
pub fn standalone(svg: &str) -> String {
    let style = format!("><style>{STYLE}</style>");
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", svg.replacen('>', &style, 1))
}

/// The part of a text that fits into so many characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(limit).collect();
    if chars.next().is_some() { head + "…" } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_have_one_decimal() {
        let shown = [0.0, -0.04, -0.06, 7.25, -12.34, 1e9].map(|x| Px(x).to_string());
        assert_eq!(shown, ["0.0", "0.0", "-0.1", "7.3", "-12.3", "1000000000.0"]);
    }

    #[test]
    fn a_text_stays_a_text() {
        assert_eq!(escaped("<script>&\"'\u{1}"), "&lt;script&gt;&amp;&quot;&#39;\u{FFFD}");
        assert_eq!(cut("abc", 2), "ab…");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn a_file_of_its_own_has_the_colours() {
        let mut svg = Svg::new(10.0, 5.0);
        svg.text(1.0, 2.0, "t", "<x>");
        let file = standalone(&svg.finish("a picture"));
        assert!(file.starts_with("<?xml"));
        assert_eq!(file.matches("<style>").count(), 1);
        assert!(file.contains("&lt;x&gt;"));
    }
}
