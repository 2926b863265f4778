//! Texts as a page shows them: invisible characters are shown, and nothing is endless.

use maud::{Markup, html};

use super::pack::head_of;
use crate::edn::printable;

/// A text whose control characters are shown, of so many bytes.
pub(super) fn cut(text: &str, most: usize) -> String {
    let (head, is_whole) = head_of(text, most);
    printable(head) + if is_whole { "" } else { "…" }
}

/// A text of several lines, as far as there is room; `rest` says where the whole is.
pub(super) fn lines(text: &str, most: usize, rest: &str) -> Markup {
    let (head, is_whole) = head_of(text, most);
    html! { pre { (printable_lines(head)) @if !is_whole { "\n… " (rest) } } }
}

/// A text of several lines, with every control character but tabs shown.
fn printable_lines(text: &str) -> String {
    let shown = |line: &str| line.split('\t').map(printable).collect::<Vec<_>>().join("\t");
    text.lines().map(shown).collect::<Vec<_>>().join("\n")
}
