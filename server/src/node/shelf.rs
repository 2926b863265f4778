//! States beside the log, in memory: for shells without a disk.
//!
//! A checkpoint is kept with the state before it, in one piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use seaworthy::raft::{Index, Piece, RaftId, Received, SnapshotMeta};
use seaworthy::storage::Log;

use super::machine::{Frozen, Machine};
use super::planted;
use super::record::{Before, Checkpoint, Written, split};
use super::{Class, Input, state_before};
use crate::kv::{Base, PlainTree};

/// How many states are kept: the latest, and those that other servers may be in the middle of.
const KEPT: usize = 3;

/// The states of one server.
#[derive(Debug, Default)]
pub struct Shelf {
    whole: BTreeMap<Index, (Written, Vec<u8>)>,
    /// One of which pieces have come.
    partial: Vec<u8>,
}

impl Shelf {
    /// Reads the state before a checkpoint.
    pub fn open(log: &Log) -> (Shelf, Option<(Index, Box<Machine>)>) {
        let mut shelf = Shelf::default();
        let Some((state, _)) = log.checkpoint.as_deref().and_then(split) else {
            return (shelf, None);
        };
        let Ok(Before::Beside(written)) = state_before(log) else { return (shelf, None) };
        let machine = Machine::read(&mut &state[..]).expect("memory can be read");
        shelf.whole.insert(written.index, (written, state.to_vec()));
        (shelf, machine.map(|machine| (written.index, Box::new(machine))))
    }

    /// Carries out an [`Effect::Freeze`](super::Effect::Freeze).
    pub fn write(&mut self, frozen: &Frozen) -> Input {
        let bytes = frozen.to_bytes();
        let (len_bytes, checksum) = (bytes.len() as u64, crc32fast::hash(&bytes));
        let written = Written { index: frozen.index(), len_bytes, checksum };
        self.keep(written, bytes);
        Input::Written(written)
    }

    fn keep(&mut self, written: Written, bytes: Vec<u8>) {
        self.whole.insert(written.index, (written, bytes));
        while self.whole.len() > KEPT {
            self.whole.pop_first();
        }
    }

    /// The last state that was kept, and its last entry.
    pub fn latest(&self) -> Option<(Index, &[u8])> {
        let (index, (_, bytes)) = self.whole.last_key_value()?;
        Some((*index, bytes))
    }

    /// Carries out an [`Effect::Store`](super::Effect::Store). The state is read into a tree, if there is one.
    pub fn store(&mut self, received: &Received, tree: Option<&mut PlainTree>) -> Vec<Input> {
        let Received { meta, offset, data } = received;
        if *offset == 0 {
            self.partial.clear();
        }
        self.partial.extend_from_slice(data.as_bytes());
        let mut inputs = vec![Input::Stored(meta.clone(), received.end())];
        if received.is_last() {
            let bytes = std::mem::take(&mut self.partial);
            let machine = match (meta.is_of(&bytes), tree) {
                (true, None) => Machine::read(&mut &bytes[..]).expect("memory can be read"),
                (true, Some(tree)) => read_over(&bytes, meta.last.index, tree),
                (false, _) => None,
            };
            self.keep(Written::of(meta), bytes);
            inputs.push(Input::Arrived(meta.clone(), machine.map(Box::new)));
        }
        inputs
    }

    /// Carries out an [`Effect::Piece`](super::Effect::Piece).
    ///
    /// # Errors
    /// An input, if the snapshot is not here any more.
    pub fn piece(&self, piece: Piece) -> Result<(RaftId, Class, Vec<u8>), Input> {
        let lost = |meta: &SnapshotMeta| Input::Lost(meta.clone());
        let found = self.whole.get(&piece.meta.last.index);
        let found = found.filter(|(written, _)| *written == Written::of(&piece.meta));
        let Some((_, bytes)) = found else { return Err(lost(&piece.meta)) };
        let (start, len) = (piece.offset as usize, piece.len_bytes as usize);
        let data = bytes[start..start + len].to_vec();
        Ok(super::piece(piece, data))
    }

    /// The bytes of an [`Effect::Checkpoint`](super::Effect::Checkpoint), after its state.
    pub fn checkpoint(&self, checkpoint: Checkpoint) -> Vec<u8> {
        let state = match checkpoint.before {
            Before::Nothing | Before::Tree(_) => &[][..],
            Before::Beside(written) => {
                let found = planted::state_up_to(&self.whole, written.index);
                &found.expect("it was written before").1
            }
        };
        [state, &checkpoint.encode()].concat()
    }
}

/// Reads a state of everything up to an entry into an empty tree.
pub fn read_over(mut bytes: &[u8], index: Index, tree: &mut PlainTree) -> Option<Machine> {
    let base: Arc<dyn Base> = Arc::new(tree.clone());
    let read = Machine::read_over(base, index, &mut bytes, &mut |changes| {
        changes(&mut |part, key, value| tree.change(part, key, value));
        Ok(Arc::new(tree.clone()))
    });
    read.expect("memory can be read")
}
