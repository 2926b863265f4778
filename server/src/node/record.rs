//! The node's data on disk: records of appended entries, and checkpoints.
//!
//! ```text
//! record       format u8 | postcard of [`Record`]
//! checkpoint   state of the machine | format u8 | postcard of [`Tail`] | length of that u64
//! ```
//!
//! The state comes first, and stands in a file of its own on a real disk, because another thread
//! has written it already; the rest is small. `FORMAT` grows with every change of these structures, so that an older program
//! refuses a newer log and a newer one can convert an older.

use std::sync::Arc;

use seaworthy::raft::{
    Command, Config, Entry, HardState, Index, LogId, Persist, Restored, Snapshot,
};
use seaworthy::storage::Log;
use serde::{Deserialize, Serialize};

use super::lineage::Lineage;

const FORMAT: u8 = 4;

/// The facts that a node must remember of itself besides the core's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The identity of the cluster, once it is known.
    pub(super) cluster: Option<u64>,
    /// The starts of the directory.
    pub(super) lineage: Lineage,
    /// This node has lost something, and is not counted.
    pub(super) abstains: bool,
}

#[derive(Serialize, Deserialize)]
struct Record<E, S> {
    hard_state: Option<HardState>,
    /// The first one, and everything after it, is replaced.
    entries: E,
    standing: Option<S>,
}

/// A state of the machine as bytes, up to the entry at `index`.
#[derive(Debug)]
pub struct Written {
    /// The last entry in it.
    pub index: Index,
    /// The bytes.
    pub state: Command,
}

/// The state and its tail, in the place of the log on disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// A state of the machine; without bytes, the one before the first entry. The disk may have
    /// it already: an [`Effect::Freeze`](super::Effect::Freeze) brought it.
    pub written: Written,
    /// The rest of the core's state, and the standing.
    pub tail: Vec<u8>,
}

impl Checkpoint {
    /// State and tail in one piece, as [`Start::log`](super::Start::log) has them.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.written.state.as_bytes(), &self.tail].concat()
    }
}

/// The last entry in the state that a [`Checkpoint::tail`] goes on from; zero if there is no
/// state. `None` if another version wrote it.
pub fn state_before(tail: &[u8]) -> Option<Index> {
    let (restored, _) = decode_checkpoint(tail)?;
    Some(restored.snapshot.map_or(Index::ZERO, |snapshot| snapshot.last.index))
}

#[derive(Serialize, Deserialize)]
struct Tail {
    hard_state: HardState,
    snapshot: Option<(LogId, Config)>,
    base: LogId,
    base_config: Option<Config>,
    entries: Vec<Entry>,
    standing: Standing,
}

/// The record of a turn.
pub(super) fn encode_record(persist: Option<&Persist>, standing: Option<&Standing>) -> Vec<u8> {
    let record = Record {
        hard_state: persist.and_then(|p| p.hard_state),
        entries: persist.map_or(&[][..], |p| &p.entries),
        standing,
    };
    postcard::to_extend(&record, vec![FORMAT]).expect("plain data")
}

/// The checkpoint of a server.
pub(super) fn encode_checkpoint(state: Restored, standing: &Standing) -> Checkpoint {
    let written = match &state.snapshot {
        Some(snapshot) => Written { index: snapshot.last.index, state: snapshot.data.clone() },
        None => Written { index: Index::ZERO, state: Vec::new().into() },
    };
    let tail = Tail {
        hard_state: state.hard_state,
        snapshot: state.snapshot.map(|s| (s.last, (*s.config).clone())),
        base: state.base,
        base_config: state.base_config.map(|config| (*config).clone()),
        entries: state.entries,
        standing: standing.clone(),
    };
    let mut tail = postcard::to_extend(&tail, vec![FORMAT]).expect("plain data");
    let len = tail.len() as u64;
    tail.extend_from_slice(&len.to_le_bytes());
    Checkpoint { written, tail }
}

/// Decodes a stored log.
///
/// # Errors
/// If it was written by another version.
pub(super) fn decode(log: &Log) -> Result<(Restored, Standing), String> {
    let other = || "the log was written by another version of this program".to_owned();
    let (mut state, mut standing) = match &log.checkpoint {
        Some(bytes) => decode_checkpoint(bytes).ok_or_else(other)?,
        None => Default::default(),
    };
    for bytes in &log.records {
        let record: Record<Vec<Entry>, Standing> = decode_body(bytes).ok_or_else(other)?;
        state.hard_state = record.hard_state.unwrap_or(state.hard_state);
        standing = record.standing.unwrap_or(standing);
        if let Some(first) = record.entries.first().map(|entry| entry.id.index) {
            let kept = state.entries.partition_point(|entry| entry.id.index < first);
            state.entries.truncate(kept);
            state.entries.extend(record.entries);
        }
    }
    Ok((state, standing))
}

/// The term, vote and entries of a record, or of the checkpoint that follows a state; `None` if
/// another version wrote it.
pub(super) fn decode_any(bytes: &[u8]) -> Option<(Option<HardState>, Vec<Entry>)> {
    let (body, len) = bytes.split_last_chunk::<8>()?;
    let is_checkpoint = u64::from_le_bytes(*len) == body.len() as u64;
    if is_checkpoint && let Some((state, _)) = decode_checkpoint(bytes) {
        return Some((Some(state.hard_state), state.entries));
    }
    let record: Record<Vec<Entry>, Standing> = decode_body(bytes)?;
    Some((record.hard_state, record.entries))
}

fn decode_checkpoint(bytes: &[u8]) -> Option<(Restored, Standing)> {
    let (rest, len) = bytes.split_last_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let (data, tail) = rest.split_at_checked(rest.len().checked_sub(len)?)?;
    let tail: Tail = decode_body(tail)?;
    let snapshot = tail.snapshot.map(|(last, config)| {
        Arc::new(Snapshot { last, config: Arc::new(config), data: Command(data.into()) })
    });
    let state = Restored {
        hard_state: tail.hard_state,
        snapshot,
        base: tail.base,
        base_config: tail.base_config.map(Arc::new),
        entries: tail.entries,
    };
    Some((state, tail.standing))
}

fn decode_body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (format, body) = bytes.split_first()?;
    (*format == FORMAT).then(|| postcard::from_bytes(body).ok())?
}
