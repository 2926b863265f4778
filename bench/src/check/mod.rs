//! Checkers: a history in, a verdict and its reasons out.
//!
//! A checker is a pure function. Its verdict has three values, because a history
//! may simply not tell; `unknown` never counts as a pass.

pub mod txn;

use crate::edn::Edn;

/// What a checker concluded. Ordered by priority: the worst of several wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nothing wrong was found.
    Valid,
    /// The history does not tell.
    Unknown,
    /// A guarantee was broken.
    Invalid,
}

impl Verdict {
    /// How Jepsen writes it: `true`, `:unknown`, `false`.
    pub fn to_edn(self) -> Edn {
        match self {
            Verdict::Valid => Edn::Bool(true),
            Verdict::Unknown => Edn::keyword("unknown"),
            Verdict::Invalid => Edn::Bool(false),
        }
    }
}

/// A verdict and the result map that explains it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The conclusion.
    pub verdict: Verdict,
    /// The result map without its `:valid?`, as entries in Jepsen's key names.
    pub details: Vec<(Edn, Edn)>,
}

impl Outcome {
    /// An outcome with details under keyword names.
    pub fn new<const N: usize>(verdict: Verdict, details: [(&str, Edn); N]) -> Outcome {
        let details = details.into_iter().map(|(k, v)| (Edn::keyword(k), v)).collect();
        Outcome { verdict, details }
    }

    /// The result map as Jepsen writes it, `:valid?` first.
    pub fn to_edn(&self) -> Edn {
        let mut entries = vec![(Edn::keyword("valid?"), self.verdict.to_edn())];
        entries.extend(self.details.iter().cloned());
        Edn::Map(entries)
    }
}
