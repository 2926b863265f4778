//! The numbers: servers, terms, positions in the log.
//!
//! Every number has a type of its own, because a term in the place of an index is
//! the kind of mistake no test looks for.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A server of the cluster. A server that comes back without its durable data keeps its id and
/// abstains until the others have readmitted it: see [`Options::abstain`](super::Options::abstain).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RaftId(pub u64);

/// A term: the logical clock of the cluster (Raft paper, §5.1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Term(pub u64);

/// A position in the log. The first entry is at 1; 0 is the empty log's last index.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Index(pub u64);

impl Term {
    /// The term before the first election.
    pub const ZERO: Term = Term(0);
    /// How far the term of a message may be ahead of that of its receiver. A hundred
    /// elections a second take more than a year to get there.
    pub const MAX_JUMP: u64 = 1 << 32;

    /// The term after this one.
    pub const fn next(self) -> Term {
        Term(self.0 + 1)
    }
}

impl Index {
    /// The position before the first entry.
    pub const ZERO: Index = Index(0);
    /// Beyond every log.
    pub const MAX: Index = Index(u64::MAX);
    /// An index beyond this in a message is a mistake, and not a position in a log.
    pub const LAST_PLAUSIBLE: Index = Index(1 << 62);

    /// The position after this one.
    pub const fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The position before this one; zero stays zero.
    pub const fn prev(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl Add<u64> for Index {
    type Output = Index;

    fn add(self, entries: u64) -> Index {
        Index(self.0 + entries)
    }
}

impl Sub for Index {
    type Output = u64;

    /// How many entries lie between; zero if `rhs` is the later one.
    fn sub(self, rhs: Index) -> u64 {
        self.0.saturating_sub(rhs.0)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an entry for good: its position and the term it was created in. Two
/// logs that share a `LogId` share everything before it (the Log Matching Property,
/// §5.3).
///
/// The order is that of §5.4.1, "at least as up-to-date": later term first, then
/// longer log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogId {
    /// The term in which a leader created the entry.
    pub term: Term,
    /// Its position.
    pub index: Index,
}

impl LogId {
    /// The name of the entry created in `term` at `index`.
    pub const fn new(term: Term, index: Index) -> LogId {
        LogId { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
