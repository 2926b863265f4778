//! Checkers: a history in, a verdict and its reasons out.
//!
//! A checker is a pure function. Its verdict has three values, because a history
//! may simply not tell; `unknown` never counts as a pass. Result maps have Jepsen's
//! keys. Where a checker is stricter than Jepsen's on purpose, its module says so, and
//! the result says so under a key that Jepsen does not have. A finding that would turn a verdict
//! of the reference is a part of its own, `:stricter`, beside the workload's.
//!
//! Each challenge names its checker ([`crate::challenge`]); [`compose()`] judges a whole test.

pub mod availability;
pub mod bank;
mod compose;
pub mod counter;
pub mod echo;
pub mod exceptions;
pub mod kafka;
pub mod linear;
pub mod long_fork;
mod names;
pub mod net;
mod reason;
pub mod set_full;
pub mod stats;
mod table;
#[cfg(test)]
mod tests;
pub mod txn;
pub mod unique_ids;

use crate::edn::Edn;
use crate::history::{Op, Pair, pairs};

pub use availability::Availability;
pub use compose::{compose, results};
pub use net::NetStats;
pub use reason::{findings, reasons};
pub use table::{Checker, RECORDED};

/// What a test demands beyond its workload, and what only the bench knows about it.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// How many operations must succeed; none demands nothing.
    pub availability: Option<Availability>,
    /// The messages that were counted, if the history comes with its network.
    pub net: Option<NetStats>,
    /// What transactions are held to.
    pub txn: txn::Options,
    /// Whether the verdict is the reference's: what only we find is reported, and no more.
    pub reference: bool,
    /// Whether all nodes share one view of kafka's committed offsets, so that an older one is an
    /// anomaly. Maelstrom's protocol does not promise it, our own nodes do.
    pub commits_are_shared: bool,
    /// What accounts of a bank hold.
    pub bank: bank::Options,
    /// What a read of `long-fork` has.
    pub long_fork: long_fork::Options,
}

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
    /// What a part of a result map concluded.
    pub fn of_part(part: &Edn) -> Verdict {
        match part.get("valid?") {
            Some(Edn::Bool(false)) => Verdict::Invalid,
            Some(Edn::Keyword(_)) => Verdict::Unknown,
            _ => Verdict::Valid,
        }
    }

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
    /// What is wrong in plain text, on one screen, where a checker can tell it.
    pub story: Option<String>,
    /// What the reference does not look for, with a verdict of its own.
    pub stricter: Option<Box<Outcome>>,
}

impl Outcome {
    /// The outcome of a composition without the part called `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Outcome {
        self.details.retain(|(key, _)| *key != Edn::keyword(name));
        let parts = self.details.iter().map(|(_, part)| Verdict::of_part(part));
        self.verdict = parts.max().unwrap_or(Verdict::Valid);
        self
    }

    /// An outcome with details under keyword names.
    pub fn new<const N: usize>(verdict: Verdict, details: [(&str, Edn); N]) -> Outcome {
        let details = details.into_iter().map(|(k, v)| (Edn::keyword(k), v)).collect();
        Outcome { verdict, details, story: None, stricter: None }
    }

    /// The history cannot be judged, for a reason.
    pub fn unknown(why: impl std::fmt::Display) -> Outcome {
        Outcome::new(Verdict::Unknown, [("error", Edn::str(why.to_string()))])
    }

    /// Adds a detail under a keyword name.
    pub fn push(&mut self, name: &str, value: impl Into<Edn>) {
        self.details.push((Edn::keyword(name), value.into()));
    }

    /// The detail under a keyword name.
    pub fn get(&self, name: &str) -> Option<&Edn> {
        let is_it = |key: &Edn| matches!(key, Edn::Keyword(k) if k == name);
        self.details.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }

    /// The result map as Jepsen writes it, `:valid?` first.
    pub fn to_edn(&self) -> Edn {
        let mut entries = vec![(Edn::keyword("valid?"), self.verdict.to_edn())];
        entries.extend(self.details.iter().cloned());
        Edn::Map(entries)
    }
}

/// The client operations of a history, if every one of them is one of those of
/// the workload: a history of another workload must not pass by being ignored.
///
/// # Errors
/// The outcome `unknown`, with what is wrong with the history.
pub(crate) fn operations<'a>(history: &'a [Op], fs: &[&str]) -> Result<Vec<Pair<'a>>, Outcome> {
    let pairs = pairs(history).map_err(Outcome::unknown)?;
    match pairs.iter().find(|pair| !fs.contains(&&*pair.invoke.f)) {
        None => Ok(pairs),
        Some(pair) => {
            let (index, f) = (pair.invoke.index, &pair.invoke.f);
            Err(Outcome::unknown(format!(
                "operation {index} is :{f}, which this workload does not have"
            )))
        }
    }
}
