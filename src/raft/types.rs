//! The nouns: commands, entries, hard state, snapshots. The names are the paper's.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::config::Config;
use super::ids::{LogId, RaftId, Term};

/// A client's command: opaque bytes, shared instead of copied.
#[derive(Clone, Default, PartialEq, Eq)]
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

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: a new leader appends it, so that it has an entry of its own term
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
    /// The content.
    pub payload: Payload,
}

impl Entry {
    /// The size of an entry besides its command, in bytes: an estimate for limits.
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

/// The values that a server must never forget (Figure 2, "persistent state", without the log).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term it has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<RaftId>,
}

/// The state machine after applying everything up to and including `last` (§7), by name. Its bytes
/// are the caller's, who keeps them where they fit: see [`Piece`](super::Piece) and
/// [`Received`](super::Received).
///
/// Two servers may encode the same state differently, so a transfer is only ever resumed if length
/// and checksum agree too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that the state includes.
    pub last: LogId,
    /// The configuration in force at `last`.
    pub config: Arc<Config>,
    /// The length of the encoded state.
    pub len_bytes: u64,
    /// CRC-32 of the encoded state.
    pub checksum: u32,
}

impl SnapshotMeta {
    /// The snapshot with these bytes.
    pub fn new(last: LogId, config: Arc<Config>, data: &[u8]) -> SnapshotMeta {
        let (len_bytes, checksum) = (data.len() as u64, crc32fast::hash(data));
        SnapshotMeta { last, config, len_bytes, checksum }
    }

    /// Whether these are the bytes of the snapshot.
    pub fn is_of(&self, data: &[u8]) -> bool {
        data.len() as u64 == self.len_bytes && crc32fast::hash(data) == self.checksum
    }
}

impl fmt::Debug for SnapshotMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SnapshotMeta { last, config, len_bytes, checksum } = self;
        write!(f, "Snapshot({last} {config} {len_bytes} bytes, CRC {checksum:08x})")
    }
}
