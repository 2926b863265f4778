//! An anomaly as the page tells it.

use maud::Markup;

use crate::edn::Edn;
use crate::history::{Op, Pair};

/// Anomalies of one kind that are shown.
pub(crate) const SHOWN: usize = 3;

/// Operations that one anomaly names.
const OPERATIONS_MAX: usize = 40;

/// Something that a checker found.
pub(crate) struct Anomaly {
    /// Its kind: `lost`, `G1c`.
    pub(crate) kind: String,
    /// Its subject, in a few words.
    pub(crate) title: String,
    /// Sentences.
    pub(crate) lines: Vec<String>,
    /// Indices of the events that it is about, the one that decides first.
    pub(crate) ops: Vec<usize>,
    /// A drawing or a table.
    pub(crate) picture: Option<Markup>,
}

impl Anomaly {
    pub(crate) fn new(kind: impl Into<String>, title: impl Into<String>) -> Anomaly {
        let (kind, title) = (kind.into(), title.into());
        Anomaly { kind, title, lines: Vec::new(), ops: Vec::new(), picture: None }
    }
}

/// A history as the explanations look at it.
pub(crate) struct Evidence<'h> {
    pub(crate) history: &'h [Op],
    pub(crate) pairs: Vec<Pair<'h>>,
    /// The model of an object, and its initial value.
    pub(crate) model: (&'h str, &'h Edn),
}

/// The indices of all operations that a result quotes.
pub(crate) fn indices(value: &Edn) -> Vec<usize> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Edn, found: &mut Vec<usize>) {
    if found.len() >= OPERATIONS_MAX {
        return;
    }
    if let Some(index) = value.get("index").and_then(Edn::as_int)
        && value.get("process").is_some()
    {
        found.extend(usize::try_from(index).ok());
        return;
    }
    let each = value.as_seq().unwrap_or_default().iter();
    let entries = value.entries().unwrap_or_default().iter().map(|(_, value)| value);
    each.chain(entries).for_each(|value| collect(value, found));
}
