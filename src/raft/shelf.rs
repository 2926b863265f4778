//! The bytes of snapshots in memory, for callers whose states are small.

use super::ids::Index;
use super::incoming::Received;
use super::message::Message;
use super::ready::Piece;
use super::server::Raft;
use super::types::{Command, SnapshotMeta};

/// Snapshots of one server.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    whole: Vec<(SnapshotMeta, Command)>,
    /// One of which pieces have come.
    partial: Vec<u8>,
}

impl Shelf {
    /// With one snapshot, that a server starts from.
    ///
    /// # Panics
    /// If it has another length or checksum.
    pub fn with(meta: SnapshotMeta, data: Command) -> Shelf {
        assert!(meta.is_of(data.as_bytes()), "these are not the bytes of {meta:?}");
        Shelf { whole: vec![(meta, data)], partial: Vec::new() }
    }

    /// Adds a snapshot, and forgets those that `raft` needs no more.
    fn put(&mut self, raft: &Raft, meta: &SnapshotMeta, data: Command) {
        self.whole.retain(|(known, _)| known != meta && raft.snapshots().any(|m| m == known));
        self.whole.push((meta.clone(), data));
    }

    /// Makes `data` the snapshot of everything that was applied up to `index`: see
    /// [`Raft::compact`].
    pub fn compact(&mut self, raft: &mut Raft, index: Index, data: Command) {
        let bytes = data.as_bytes();
        raft.compact(index, bytes.len() as u64, crc32fast::hash(bytes));
        let meta = raft.snapshot().cloned().expect("it was made a line ago");
        self.put(raft, &meta, data);
    }

    /// The bytes of a snapshot.
    pub fn get(&self, meta: &SnapshotMeta) -> Option<&Command> {
        self.whole.iter().find(|(known, _)| known == meta).map(|(_, data)| data)
    }

    /// Stores the pieces that have come to `raft`, and tells it. To be called after
    /// [`Raft::step`].
    pub fn receive(&mut self, raft: &mut Raft) {
        for Received { meta, offset, data } in raft.take_received() {
            if offset == 0 {
                self.partial.clear();
            }
            self.partial.extend_from_slice(data.as_bytes());
            let upto = self.partial.len() as u64;
            raft.stored(&meta, upto);
            if upto >= meta.len_bytes {
                let whole = Command::from(std::mem::take(&mut self.partial));
                let is_intact = meta.is_of(whole.as_bytes());
                if is_intact {
                    self.put(raft, &meta, whole);
                }
                raft.arrived(&meta, is_intact);
            }
        }
    }

    /// The message with a piece; `None` if its snapshot is not here.
    pub fn message(&self, piece: Piece) -> Option<Message> {
        let data = self.get(&piece.meta)?.as_bytes();
        let start = usize::try_from(piece.offset).ok()?;
        let len = usize::try_from(piece.len_bytes).ok()?;
        let data = data.get(start..start + len)?.to_vec();
        Some(piece.message(data.into()))
    }
}
