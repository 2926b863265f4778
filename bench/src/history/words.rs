//! Parts of a text for complaints.

use crate::edn::{Edn, printable};

/// The beginning of a value, for messages.
pub(super) fn shortened(value: &Edn) -> String {
    shortened_text(&value.to_string())
}

pub(super) fn shortened_text(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(text),
    }
}
