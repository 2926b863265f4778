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
    Config, Entry, HardState, Index, LogId, Payload, Persist, Restored, SnapshotMeta,
};
use seaworthy::storage::Log;
use serde::{Deserialize, Serialize};

use super::lineage::Lineage;

const FORMAT: u8 = 5;
/// The most bytes of entries in a checkpoint that its state covers.
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
    /// The rest of the core's state.
    restored: Restored,
    standing: Standing,
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
    /// The checkpoint of a server. The entries that its state covers are for followers that are behind:
    /// only the latest go to disk, for the log stands still until they are written.
    pub(super) fn new(mut state: Restored, standing: &Standing) -> Checkpoint {
        drop_covered(&mut state, COVERED_BYTES);
        let before = Before::of(state.snapshot.as_ref());
        Checkpoint { before, restored: state, standing: standing.clone() }
    }

    /// The bytes for the disk. Takes as long as the entries in it are large.
    pub fn encode(self) -> Vec<u8> {
        let Checkpoint { before: _, restored, standing } = self;
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

/// Drops entries that the snapshot covers, but for the latest, which have `most` bytes at most.
fn drop_covered(state: &mut Restored, most: usize) {
    let Some(snapshot) = &state.snapshot else { return };
    let covered = state.entries.partition_point(|entry| entry.id.index <= snapshot.last.index);
    let mut bytes = 0;
    let latest = state.entries[..covered].iter().rev().take_while(|entry| {
        bytes += entry.size_bytes();
        bytes <= most
    });
    let dropped = covered - latest.count();
    for entry in state.entries.drain(..dropped) {
        state.base = entry.id;
        if let Payload::Config(config) = entry.payload {
            state.base_config = Some(config);
        }
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
    use seaworthy::raft::{RaftId, Term};

    use super::*;

    fn entry(index: u64, payload: Payload) -> Entry {
        Entry { id: LogId::new(Term(1), Index(index)), payload }
    }

    #[test]
    fn a_checkpoint_has_the_latest_entries_that_its_state_covers_and_all_others() {
        let [first, second] = [1, 2].map(|n| Arc::new(Config::of_voters((1..=n).map(RaftId))));
        let command = || Payload::Command("0123456789".into());
        let entries = vec![
            entry(4, Payload::Config(second.clone())),
            entry(5, command()),
            entry(6, command()),
            entry(7, command()),
        ];
        let size = entries[1].size_bytes();
        let last = LogId::new(Term(1), Index(6));
        for (most, base, config) in [
            (usize::MAX, 3, &first),
            (2 * size, 4, &second),
            (2 * size - 1, 5, &second),
            (0, 6, &second),
        ] {
            let mut state = Restored {
                snapshot: Some(SnapshotMeta::new(last, second.clone(), b"state")),
                base: LogId::new(Term(1), Index(3)),
                base_config: Some(first.clone()),
                entries: entries.clone(),
                ..Restored::default()
            };
            drop_covered(&mut state, most);
            assert_eq!((state.base.index, state.base_config.as_ref()), (Index(base), Some(config)));
            let left: Vec<u64> = state.entries.iter().map(|entry| entry.id.index.0).collect();
            assert_eq!(left, (base + 1..=7).collect::<Vec<_>>());
        }
    }

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
