//! The node's data on disk: records of appended entries, and checkpoints.
//!
//! ```text
//! record       format u8 | postcard of [`Record`]
//! checkpoint   format u8 | postcard of [`Tail`] | length of that u64
//! ```
//!
//! The state that a checkpoint goes on from stands elsewhere, where another thread has written it;
//! shells that keep it in memory put it before the checkpoint. `FORMAT` grows with every change of these structures, so that an older program
//! refuses a newer log and a newer one can convert an older.

use std::sync::Arc;

use seaworthy::raft::{
    Config, Entry, HardState, Index, LogId, Persist, Raft, Restored, SnapshotMeta,
};
use seaworthy::storage::Log;
use serde::{Deserialize, Serialize};

use super::lineage::Lineage;

const FORMAT: u8 = 5;
/// The most bytes of entries in a checkpoint that its state covers. They are for followers that are behind: only the
/// latest go to disk, for the log stands still until they are written.
const COVERED_BYTES: usize = 1 << 20;

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

/// A state of the machine that was encoded, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The last entry in it.
    pub index: Index,
    /// Its length.
    pub len_bytes: u64,
    /// CRC-32 of its bytes.
    pub checksum: u32,
}

/// Where the state is that a log goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nowhere: it is the one before the first entry.
    Nothing,
    /// Beside the log, in encoded form.
    Beside(Written),
    /// In the tree below the machine, which has everything up to this entry, and maybe more.
    Tree(Index),
}

impl Before {
    /// The last entry that the log need not have.
    pub fn index(self) -> Index {
        match self {
            Before::Nothing => Index::ZERO,
            Before::Beside(written) => written.index,
            Before::Tree(index) => index,
        }
    }

    /// The state that a snapshot of the core stands for. No encoded state is without bytes: so a snapshot of length
    /// zero names a state that was never encoded.
    pub(super) fn of(snapshot: Option<&SnapshotMeta>) -> Before {
        match snapshot {
            None => Before::Nothing,
            Some(snapshot) if snapshot.len_bytes == 0 => Before::Tree(snapshot.last.index),
            Some(snapshot) => Before::Beside(Written::of(snapshot)),
        }
    }
}

/// The beginning of a log on disk, in the place of everything before.
#[derive(Debug)]
pub struct Checkpoint {
    /// The state that the log goes on from. The disk has it already: [`Effect::Freeze`](super::Effect::Freeze),
    /// [`Effect::Store`](super::Effect::Store) or [`Effect::Batch`](super::Effect::Batch) brought it.
    pub before: Before,
    /// The part of the log on disk that it replaces.
    pub replaces: Replaces,
    /// The rest of the core's state.
    restored: Restored,
    standing: Standing,
}

/// The part of the log on disk that a [`Checkpoint`] replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// All of it.
    Everything,
    /// The records before the last [`Effect::Mark`](super::Effect::Mark); those behind it go on from the checkpoint.
    UpToMark,
}

/// A [`Checkpoint`] as of a mark in the log, whose state is still being encoded.
#[derive(Debug)]
pub(super) struct Draft {
    /// The last entry in the state.
    pub(super) index: Index,
    restored: Restored,
    standing: Standing,
}

impl Draft {
    /// The draft for a state of everything up to `index`, at this moment. Every record so far stands before
    /// the mark.
    pub(super) fn new(raft: &Raft, index: Index, standing: &Standing) -> Draft {
        let restored = raft.to_restore_after(index, COVERED_BYTES);
        Draft { index, restored, standing: standing.clone() }
    }

    /// The checkpoint, once the state is durable.
    pub(super) fn finish(self, snapshot: SnapshotMeta) -> Checkpoint {
        let Draft { index, restored, standing } = self;
        assert_eq!(snapshot.last.index, index, "a draft of another state");
        let before = Before::of(Some(&snapshot));
        let restored = Restored { snapshot: Some(snapshot), ..restored };
        Checkpoint { before, replaces: Replaces::UpToMark, restored, standing }
    }
}

/// The state that the [`Checkpoint`] of a stored log goes on from.
///
/// # Errors
/// If another version wrote it.
pub fn state_before(log: &Log) -> Result<Before, String> {
    let Some(bytes) = &log.checkpoint else { return Ok(Before::Nothing) };
    let (restored, _) = decode_checkpoint(bytes).ok_or_else(|| bad_checkpoint(bytes))?;
    Ok(Before::of(restored.snapshot.as_ref()))
}

/// The parts of a checkpoint before which a state stands: state and tail.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, len) = bytes.split_last_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    Some(bytes.split_at(rest.len().checked_sub(len)?))
}

impl Written {
    /// The name of the state of a snapshot.
    pub fn of(snapshot: &SnapshotMeta) -> Written {
        let SnapshotMeta { last, len_bytes, checksum, .. } = *snapshot;
        Written { index: last.index, len_bytes, checksum }
    }
}

/// The refusal of a record, or of the tail of a checkpoint.
fn other_version(bytes: Option<&[u8]>) -> String {
    match bytes.and_then(|bytes| bytes.first()) {
        Some(&FORMAT) | None => "the log holds something that is no record of this program: it is \
             damaged, or another program's; give this server an empty directory, and add it anew"
            .to_owned(),
        Some(format) => format!(
            "the log has records of format {format}, and this program reads {FORMAT}: use the \
             version of the program that wrote them"
        ),
    }
}

fn bad_checkpoint(bytes: &[u8]) -> String {
    other_version(split(bytes).map(|(_, tail)| tail))
}

#[derive(Serialize, Deserialize)]
struct Tail {
    hard_state: HardState,
    snapshot: Option<SnapshotMeta>,
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

impl Checkpoint {
    /// A checkpoint with all of a log.
    pub(super) fn new(restored: Restored, standing: &Standing) -> Checkpoint {
        let before = Before::of(restored.snapshot.as_ref());
        let replaces = Replaces::Everything;
        Checkpoint { before, replaces, restored, standing: standing.clone() }
    }

    /// The checkpoint of a server at this moment.
    pub(super) fn now(raft: &Raft, standing: &Standing) -> Checkpoint {
        let before = Before::of(raft.snapshot());
        Checkpoint::new(raft.to_restore_after(before.index(), COVERED_BYTES), standing)
    }

    /// The bytes for the disk. Takes as long as the entries in it are large.
    pub fn encode(self) -> Vec<u8> {
        let Checkpoint { before: _, replaces: _, restored, standing } = self;
        let tail = Tail {
            hard_state: restored.hard_state,
            snapshot: restored.snapshot,
            base: restored.base,
            base_config: restored.base_config.map(|config| (*config).clone()),
            entries: restored.entries,
            standing,
        };
        let mut tail = postcard::to_extend(&tail, vec![FORMAT]).expect("plain data");
        let len = tail.len() as u64;
        tail.extend_from_slice(&len.to_le_bytes());
        tail
    }
}

/// Decodes a stored log.
///
/// # Errors
/// If it was written by another version.
pub(super) fn decode(log: &Log) -> Result<(Restored, Standing), String> {
    let (mut state, mut standing) = match &log.checkpoint {
        Some(bytes) => decode_checkpoint(bytes).ok_or_else(|| bad_checkpoint(bytes))?,
        None => Default::default(),
    };
    for bytes in &log.records {
        let record: Record<Vec<Entry>, Standing> =
            decode_body(bytes).ok_or_else(|| other_version(Some(bytes)))?;
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

/// The term, vote and entries of a record, or of a checkpoint; `None` if
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
    let (tail, _) = split(bytes)?.1.split_last_chunk::<8>()?;
    let tail: Tail = decode_body(tail)?;
    let state = Restored {
        hard_state: tail.hard_state,
        snapshot: tail.snapshot,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_another_format_is_refused_with_both_numbers() {
        let record = encode_record(None, Some(&Standing::default()));
        let checkpoint = Checkpoint::new(Restored::default(), &Standing::default()).encode();
        let in_records = |bytes| Log { records: vec![bytes], ..Log::default() };
        let in_checkpoint = |bytes| Log { checkpoint: Some(bytes), ..Log::default() };
        let logs = [(record, &in_records as &dyn Fn(Vec<u8>) -> Log), (checkpoint, &in_checkpoint)];
        for (bytes, log) in logs {
            assert!(decode(&log(bytes.clone())).is_ok());
            let mut older = bytes.clone();
            older[0] = FORMAT - 1;
            let why = decode(&log(older)).unwrap_err();
            assert!(why.contains("format 4") && why.contains("reads 5"), "{why}");
            let mut damaged = bytes;
            damaged[1..3].fill(0xff);
            let why = decode(&log(damaged)).unwrap_err();
            assert!(why.contains("no record of this program"), "{why}");
        }
    }
}
