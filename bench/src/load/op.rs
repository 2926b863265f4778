//! An operation before it is invoked.

use compact_str::CompactString;

use crate::edn::Edn;

/// An operation that is about to be invoked.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// Its name.
    pub f: CompactString,
    /// Its argument.
    pub value: Edn,
    /// Whether it is one of the last reads.
    pub is_final: bool,
    /// Further keys of the record.
    pub extra: Vec<(CompactString, Edn)>,
}

impl Invocation {
    /// An operation with nothing special about it.
    pub fn new(f: &str, value: Edn) -> Invocation {
        let f = CompactString::new(f);
        Invocation { f, value, is_final: false, extra: Vec::new() }
    }

    /// The same, marked `:final? true`.
    #[must_use]
    pub fn last(mut self) -> Invocation {
        self.is_final = true;
        self
    }
}
