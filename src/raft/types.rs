//! The nouns: ids, terms, indices, entries, hard state, snapshots.
//!
//! Every number has a type of its own, because a term in the place of an index is
//! the kind of mistake no test looks for. The names are the paper's.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::config::Config;

/// A server of the cluster. A server that comes back without what it had made durable
/// keeps its id and abstains until the others have readmitted it: see
/// [`Options::abstain`](super::Options::abstain).
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
    /// What a message names beyond this is a mistake, and not a position in a log.
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

/// What names an entry for good: its position and the term it was created in. Two
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

/// A client's command: opaque bytes, shared instead of copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(pub Arc<[u8]>);

impl Command {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Command {
    fn from(bytes: Vec<u8>) -> Command {
        Command(bytes.into())
    }
}

impl From<&str> for Command {
    fn from(text: &str) -> Command {
        Command(text.as_bytes().into())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Command, D::Error> {
        struct Bytes;
        impl<'de> serde::de::Visitor<'de> for Bytes {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Command, E> {
                Ok(Command(bytes.into()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Command, E> {
                Ok(Command(bytes.into()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Command, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Command(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: what a new leader appends, so that it has an entry of its own term
    /// to commit (§8).
    Noop,
    /// A client's command.
    Command(Command),
    /// A configuration, in force from the moment it is appended (§6).
    Config(Arc<Config>),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Position and term.
    pub id: LogId,
    /// What to apply.
    pub payload: Payload,
}

impl Entry {
    /// What an entry costs besides its command, in bytes: an estimate for limits.
    const OVERHEAD_BYTES: usize = 24;

    /// The entry's size for limits on messages and memory, in bytes.
    pub fn size_bytes(&self) -> usize {
        Entry::OVERHEAD_BYTES
            + match &self.payload {
                Payload::Noop => 0,
                Payload::Command(command) => command.0.len(),
                Payload::Config(config) => 8 * config.len(),
            }
    }
}

/// What a server must never forget (Figure 2, "persistent state", without the log).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term it has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<RaftId>,
}

/// The state machine after applying everything up to and including `last` (§7).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last entry that the state includes.
    pub last: LogId,
    /// The configuration in force at `last`.
    pub config: Arc<Config>,
    /// The state, opaque; whoever applies entries wrote it.
    pub data: Command,
}

impl Snapshot {
    /// What identifies the snapshot while it is sent in pieces.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last: self.last,
            config: self.config.clone(),
            len_bytes: self.data.0.len() as u64,
            checksum: crc32fast::hash(&self.data.0),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} {} {} bytes)", self.last, self.config, self.data.0.len())
    }
}

/// A snapshot without its data. Two servers may encode the same state differently,
/// so a transfer is only ever resumed if length and checksum agree too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that the state includes.
    pub last: LogId,
    /// The configuration in force at `last`.
    pub config: Arc<Config>,
    /// The length of the data.
    pub len_bytes: u64,
    /// CRC-32 of the data.
    pub checksum: u32,
}
