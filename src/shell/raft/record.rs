//! The content of a replica's disk: records of appended entries, and checkpoints.
//!
//! Both are JSON, so that a data directory can be read with any tool, except for the state
//! machine's own bytes, which follow the JSON of a checkpoint as they are. That storage returns the
//! bytes as written is storage's promise, with checksums; bytes that do not parse here were written
//! by another program, and stop the node.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::array::array_struct;
use super::body::{WireEntry, pack_entry, unpack_entries};
use super::standing::{ClusterId, Standing};
use crate::raft::{Command, Config, HardState, Index, LogId, Persist, Restored, SnapshotMeta};
use crate::storage::Log;

const DAMAGED: &str = "an entry does not parse";

/// One [`Persist`] without a snapshot, and the node's standing, if it changed.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    hard_state: Option<HardState>,
    /// The index of the first entry; it and all after it are replaced.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    first: Option<Index>,
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    entries: Vec<WireEntry>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterId>,
    /// Absent if it did not change.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    abstains: Option<bool>,
}

/// A whole state, but for the snapshot's data.
#[derive(Serialize, Deserialize)]
struct Header {
    hard_state: HardState,
    snapshot: Option<SnapshotHeader>,
    base: LogId,
    base_config: Option<Config>,
    entries: Vec<WireEntry>,
    cluster: Option<ClusterId>,
    abstains: bool,
}

array_struct! {
    /// A snapshot without its data.
    struct SnapshotHeader {
        last: LogId,
        config: Config,
    }
}

/// The record of the entries that a turn appended, and of the standing if it changed.
pub(super) fn encode_record(persist: &Persist, standing: Option<Standing>) -> Vec<u8> {
    let record = Record {
        cluster: standing.and_then(|s| s.cluster),
        abstains: standing.map(|s| s.abstains),
        hard_state: persist.hard_state,
        first: persist.entries.first().map(|e| e.id.index),
        entries: persist.entries.iter().map(pack_entry).collect(),
    };
    serde_json::to_vec(&record).expect("records are plain data")
}

/// The record of a standing that changed when nothing was appended.
pub(super) fn encode_standing(standing: Standing) -> Vec<u8> {
    let (cluster, abstains) = (standing.cluster, Some(standing.abstains));
    let record = Record { cluster, abstains, ..Record::default() };
    serde_json::to_vec(&record).expect("records are plain data")
}

/// The checkpoint of a whole state, with the bytes of its snapshot: the length of the JSON, the JSON,
/// the bytes.
pub(super) fn encode_checkpoint(state: &Restored, data: &[u8], standing: Standing) -> Vec<u8> {
    let header = Header {
        cluster: standing.cluster,
        abstains: standing.abstains,
        hard_state: state.hard_state,
        snapshot: state
            .snapshot
            .as_ref()
            .map(|s| SnapshotHeader { last: s.last, config: (*s.config).clone() }),
        base: state.base,
        base_config: state.base_config.as_deref().cloned(),
        entries: state.entries.iter().map(pack_entry).collect(),
    };
    join(&serde_json::to_vec(&header).expect("checkpoints are plain data"), data)
}

/// The content of storage.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The core's state.
    pub(super) state: Restored,
    /// The bytes of its snapshot, if it has one.
    pub(super) data: Command,
    pub(super) standing: Standing,
}

/// Reads the content of storage.
///
/// # Errors
/// The reason, if it was not written by a replica.
pub(super) fn decode(log: &Log) -> Result<Stored, String> {
    let Stored { mut state, data, mut standing } = match &log.checkpoint {
        Some(bytes) => decode_checkpoint(bytes)?,
        None => Default::default(),
    };
    for bytes in &log.records {
        let record: Record = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if let Some(hard_state) = record.hard_state {
            state.hard_state = hard_state;
        }
        standing.cluster = record.cluster.or(standing.cluster);
        standing.abstains = record.abstains.unwrap_or(standing.abstains);
        if let Some(first) = record.first {
            // Entries are in order, so only those that are replaced are looked at.
            let kept = state.entries.partition_point(|e| e.id.index < first);
            state.entries.truncate(kept);
            state.entries.extend(unpack_entries(first, record.entries).ok_or(DAMAGED)?);
        }
    }
    Ok(Stored { state, data, standing })
}

fn decode_checkpoint(bytes: &[u8]) -> Result<Stored, String> {
    let (header, data) = split(bytes).ok_or("a checkpoint is too short")?;
    let header: Header = serde_json::from_slice(header).map_err(|e| e.to_string())?;
    let snapshot = header
        .snapshot
        .map(|SnapshotHeader { last, config }| SnapshotMeta::new(last, Arc::new(config), data));
    let standing = Standing { cluster: header.cluster, abstains: header.abstains };
    let state = Restored {
        hard_state: header.hard_state,
        snapshot,
        base: header.base,
        base_config: header.base_config.map(Arc::new),
        entries: unpack_entries(header.base.index.next(), header.entries).ok_or(DAMAGED)?,
    };
    Ok(Stored { state, data: Command::from(data.to_vec()), standing })
}

/// Puts `head` and `tail` into one, so that [`split`] finds where they meet.
pub(super) fn join(head: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut bytes = (head.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(tail);
    bytes
}

/// Undoes [`join`]; `None` if it was not joined.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Entry, Payload, PersistId, RaftId, Term};

    #[test]
    fn records_and_checkpoints_come_back() {
        let entry =
            |term, index, payload| Entry { id: LogId::new(Term(term), Index(index)), payload };
        let config = Arc::new(Config::of_voters([RaftId(1), RaftId(2)]));
        let command = |text: &str| Payload::Command(Command::from(text));
        let hard_state = HardState { term: Term(3), vote: Some(RaftId(2)) };
        let data = [0, 255, 10, 13];
        let last = LogId::new(Term(1), Index(5));
        let state = Restored {
            hard_state,
            snapshot: Some(SnapshotMeta::new(last, config.clone(), &data)),
            base: LogId::new(Term(1), Index(4)),
            base_config: Some(config.clone()),
            entries: vec![entry(1, 5, Payload::Noop), entry(2, 6, command("[1,2,1,{\"a\":1.50}]"))],
        };
        let persist = |hard_state, entries| {
            let persist = Persist { id: PersistId(1), hard_state, snapshot: None, entries };
            encode_record(&persist, None)
        };
        let cluster = Some(ClusterId::of_first_session(1 << 40 | 7));
        let standing = Standing { cluster, abstains: true };
        let later = HardState { term: Term(4), vote: None };
        let log = Log {
            checkpoint: Some(encode_checkpoint(&state, &data, standing)),
            records: vec![
                persist(None, vec![entry(2, 7, command("[9]")), entry(2, 8, Payload::Noop)]),
                persist(Some(later), vec![entry(3, 7, Payload::Config(config))]),
            ],
            lost: None,
        };
        let Stored { state: restored, data: found, standing: told } = decode(&log).unwrap();
        assert_eq!((found.as_bytes(), told), (&data[..], standing));
        assert_eq!(restored.hard_state, later);
        assert_eq!(restored.snapshot, state.snapshot);
        assert_eq!(restored.base, state.base);
        let ids: Vec<String> = restored.entries.iter().map(|e| e.id.to_string()).collect();
        assert_eq!(ids, ["5@1", "6@2", "7@3"]);
        assert_eq!(restored.entries[1], state.entries[1]);
    }
}
