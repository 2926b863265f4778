//! The node's data on disk: records of appended entries, and checkpoints.
//!
//! ```text
//! record       format u8 | postcard of [`Record`]
//! checkpoint   state of the machine | format u8 | postcard of [`Tail`] | length of that u64
//! ```
//!
//! The state comes first, because another thread has written it already; the rest is
//! small. `FORMAT` grows with every change of these structures, so that an older program
//! refuses a newer log and a newer one can convert an older.

use std::sync::Arc;

use seaworthy::raft::{
    Command, Config, Entry, HardState, Index, LogId, Persist, Restored, Snapshot,
};
use seaworthy::storage::Log;
use serde::{Deserialize, Serialize};

use super::lineage::Lineage;

const FORMAT: u8 = 2;

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

/// A state of the machine as bytes, and as the beginning of a checkpoint.
#[derive(Debug)]
pub struct Written {
    pub(super) index: Index,
    pub(super) data: Command,
    pub(super) checkpoint: Vec<u8>,
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

/// Makes room for the rest of a checkpoint, so that appending it copies nothing.
pub(super) fn reserve_trailer(bytes: &mut Vec<u8>) {
    bytes.reserve(1 << 20);
}

/// Completes a checkpoint, whose beginning is the snapshot's data.
pub(super) fn encode_checkpoint(
    mut data: Vec<u8>,
    state: Restored,
    standing: &Standing,
) -> Vec<u8> {
    let tail = Tail {
        hard_state: state.hard_state,
        snapshot: state.snapshot.map(|s| (s.last, (*s.config).clone())),
        base: state.base,
        base_config: state.base_config.map(|config| (*config).clone()),
        entries: state.entries,
        standing: standing.clone(),
    };
    let before = data.len();
    data.push(FORMAT);
    let mut data = postcard::to_extend(&tail, data).expect("plain data");
    let len = (data.len() - before) as u64;
    data.extend_from_slice(&len.to_le_bytes());
    data
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
