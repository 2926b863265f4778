//! Stable storage: a log of records and the latest checkpoint.
//!
//! That is all an engine needs and all a driver must provide. A stream is one
//! engine's log: a checkpoint replaces everything that was written to the same
//! stream before it.
//!
//! The promises of a [`Storage`], on which an engine may build:
//!
//! * The writes of a successful [`Storage::commit`] survive any crash.
//! * Of a commit that a crash interrupted, each stream keeps some prefix: possibly
//!   nothing, possibly everything, never a later write without the earlier ones.
//!   Streams do not wait for each other, so data that must be kept or lost together
//!   belongs into one record.
//! * A checkpoint is there completely or not at all, and until it is, everything
//!   that it replaces still is.
//! * A checkpoint may replace only the part before a mark ([`WriteData::Mark`]): a large state can be
//!   written elsewhere while the log goes on, and no record is written twice.
//! * Damage that a crash does not explain is an error. No record is ever skipped: a
//!   log with a hole would be a different history, told with confidence.
//! * A tail that was durable and is gone is told to the engine ([`Log::lost`]).
//!
//! There are three: [`FileStorage`] on a real disk; [`MemoryStorage`], the disk of
//! the simulation, which loses and tears writes that were not flushed (both write the same
//! bytes and read them back by the same code); and with the cargo feature `postgres`
//! `postgres::PostgresStorage` in a database. One suite of tests holds all to the promises above.
//!
//! Deliberately missing: reading other than at the start (an engine keeps its state in
//! memory), repair from other nodes (an engine that is told of a loss may do that: see
//! `docs/storage.md`), and more than one writer.

mod file;
mod format;
mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
mod scan;
#[cfg(test)]
mod suite;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

pub use file::{FileOptions, FileStorage, Owner};
pub use format::{MAX_CHECKPOINT_BYTES, MAX_RECORD_BYTES};
pub use memory::{CrashModel, Lost, MemoryStorage, Position, Unsynced};

/// The content of one stream when the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The latest checkpoint, if one was ever written.
    pub checkpoint: Option<Vec<u8>>,
    /// The records written after that checkpoint, oldest first.
    pub records: Vec<Vec<u8>>,
    /// The reason why durable data is missing from this, if it is. An engine that goes on
    /// all the same breaks its promises. Storage tells of the loss at each start, until
    /// the stream is written to.
    pub lost: Option<String>,
}

impl Log {
    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.checkpoint.is_none() && self.records.is_empty() && self.lost.is_none()
    }
}

/// Everything a node's storage held when it started, by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    streams: BTreeMap<String, Log>,
}

impl Recovered {
    /// Takes one stream's log out; empty if the stream was never written.
    pub fn take(&mut self, stream: &str) -> Log {
        self.streams.remove(stream).unwrap_or_default()
    }

    /// Adds a stream's log; for storage implementations.
    pub fn insert(&mut self, stream: impl Into<String>, log: Log) {
        self.streams.insert(stream.into(), log);
    }

    /// Drops empty streams.
    fn forget_empty(&mut self) {
        self.streams.retain(|_, log| !log.is_empty());
    }

    /// The names of the streams that hold something, in order.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }
}

/// One thing to be made durable, in the order in which the node decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which stream it belongs to: a short name that is also a file name.
    pub stream: &'static str,
    /// The record or checkpoint.
    pub data: WriteData,
}

/// The kinds of [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteData {
    /// Append this record to the stream's log.
    Record(Vec<u8>),
    /// Replace everything the stream held by this state.
    Checkpoint(Vec<u8>),
    /// Remember this place of the stream, until another mark, any checkpoint, or the end of the process.
    Mark,
    /// Replace everything before the mark by this state; the records behind it stay. There must be a mark.
    CheckpointAtMark(Vec<u8>),
}

impl WriteData {
    /// The bytes that it carries.
    pub fn len_bytes(&self) -> usize {
        match self {
            WriteData::Record(data)
            | WriteData::Checkpoint(data)
            | WriteData::CheckpointAtMark(data) => data.len(),
            WriteData::Mark => 0,
        }
    }
}

/// Setting the mark first is the engine's duty.
const NO_MARK: &str = "a checkpoint at a mark that was not set";

/// Stable storage as a driver uses it.
#[async_trait]
pub trait Storage: Send {
    /// Makes `writes` durable, in order, with one flush for all of them. After an
    /// `Ok` they survive any crash; after an error nothing about them is known, and
    /// the node must stop.
    ///
    /// # Errors
    /// [`StorageError`] names the file and the reason.
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError>;
}

/// The space on a disk, for commits that find it full.
///
/// Such a commit is no failure yet: nothing of it was kept, and everything before it is as it
/// was. It may be tried again when there is space.
pub trait Room: fmt::Debug + Send + Sync {
    /// Frees space that was held in reserve, or waits a moment. The write that found none is tried
    /// again if the answer is true, and fails otherwise. Called on a thread that may block.
    fn make(&self) -> bool;
}

/// Stable storage failed, or holds something that cannot be trusted.
#[derive(Debug)]
pub struct StorageError {
    /// The file or directory, for people.
    pub place: String,
    /// The reason, with the offset in bytes where there is one.
    pub reason: String,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for StorageError {}

/// Whether `name` may name a stream: a file name on every system, and no path.
fn is_stream_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// Names of streams are constants of the program, so a bad one is a bug.
fn assert_stream_name(name: &str) {
    assert!(is_stream_name(name), "{name:?} cannot name a stream");
}
