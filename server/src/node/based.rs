//! The machine over a tree on disk: its batches, and how it begins with what the tree has.
//!
//! A batch holds the changes of the store, the rest of the machine, and the index of the last entry in them:
//! the shell writes it at once or not at all, so that after a crash index and data agree. Applied
//! entries are committed, so a batch waits for no flush of the own log, and a tree may be ahead of it: entries
//! that it has come again, and are passed over.
//!
//! `handover` has the node's part.

use std::io::{self, Read};
use std::sync::Arc;

use seaworthy::raft::Index;
use seaworthy::time::Time;

use super::machine::{Machine, read_head};
use super::planted;
use super::record::Written;
use crate::kv::{self, Base, Part, Store};

const FORMAT: u8 = 1;
/// The key of all but the store, among the rest. A tree without it is unfinished.
const MACHINE: &[u8] = b"machine";

/// The changes of the machine that its tree does not have yet.
#[derive(Debug)]
pub struct Batch {
    /// Which tree they are for.
    pub tree: u64,
    /// The last entry in them.
    pub index: Index,
    rest: Vec<u8>,
    store: kv::Batch,
}

impl Batch {
    /// Visits the changes: part, key, and the new value, or `None` if the key goes.
    pub fn visit(&self, visit: &mut dyn FnMut(Part, Vec<u8>, Option<Vec<u8>>)) {
        self.store.visit(visit);
        visit(Part::Rest, MACHINE.to_vec(), Some(self.rest.clone()));
    }

    /// The bytes of all keys and values.
    pub fn size_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.visit(&mut |_, key, value| bytes += key.len() + value.map_or(0, |value| value.len()));
        bytes as u64
    }
}

impl Machine {
    /// The machine that a tree holds, and its last entry; `None` if the tree is empty or unfinished.
    ///
    /// # Errors
    /// If another version wrote it.
    pub fn over(base: &Arc<dyn Base>) -> Result<Option<(Index, Machine)>, String> {
        let Some(index) = index_of(&**base)? else { return Ok(None) };
        let other = || "another version of this program wrote the tree".to_owned();
        let rest = base.get(Part::Rest, MACHINE).ok_or_else(other)?;
        let head = rest.get(9..).ok_or_else(other)?;
        let store = Store::over(base.clone()).ok_or_else(other)?;
        let machine = read_head(head, store).ok_or_else(other)?;
        Ok(Some((index, machine)))
    }

    /// Reads bytes of [`Frozen::encode`](super::Frozen::encode), of everything up to the entry `index`, into an
    /// empty tree. `write` makes some changes there, and hands the tree back. The tree counts as finished with the last of them.
    ///
    /// # Errors
    /// Those of `input` and `write`.
    pub fn read_over(
        base: Arc<dyn Base>,
        index: Index,
        input: &mut impl Read,
        write: &mut dyn FnMut(&Changes<'_>) -> io::Result<Arc<dyn Base>>,
    ) -> io::Result<Option<Machine>> {
        let mut head = Vec::new();
        let mut len = [0; 8];
        input.read_exact(&mut len)?;
        input.take(u64::from_le_bytes(len)).read_to_end(&mut head)?;
        let mut part = |batch: kv::Batch| write(&|visit| batch.visit(visit));
        let Some(store) = Store::read_over(base, input, &mut part)? else { return Ok(None) };
        let Some(mut machine) = read_head(&head, store) else { return Ok(None) };
        let batch = machine.hand_over(index).expect("the last batch has arrived");
        let base = write(&|visit| batch.visit(visit))?;
        drop(machine.store.set_base(base));
        Ok(Some(machine))
    }

    /// The same machine in memory alone.
    pub fn to_memory(&self) -> Machine {
        let mut bytes = Vec::new();
        self.encode(&mut |piece| {
            bytes.extend_from_slice(piece);
            true
        });
        let read = Machine::read(&mut &bytes[..]);
        read.ok().flatten().expect("this program encoded it")
    }

    /// The changes since the last batch; none while one is on its way.
    pub(super) fn hand_over(&mut self, index: Index) -> Option<Batch> {
        let tree = self.store.base()?.number();
        let store = self.store.hand_over()?;
        let mut rest = vec![FORMAT];
        rest.extend_from_slice(&planted::claimed(index).0.to_le_bytes());
        rest.extend_from_slice(&self.head());
        Some(Batch { tree, index, rest, store })
    }
}

/// Some changes of a tree, to be visited.
pub type Changes<'a> = dyn Fn(&mut dyn FnMut(Part, Vec<u8>, Option<Vec<u8>>)) + 'a;

/// The last entry in a tree; `None` if it is empty or unfinished.
///
/// # Errors
/// If another version wrote it.
pub fn index_of(base: &dyn Base) -> Result<Option<Index>, String> {
    let Some(rest) = base.get(Part::Rest, MACHINE) else { return Ok(None) };
    match rest.split_first_chunk::<9>() {
        Some(([FORMAT, index @ ..], _)) => Ok(Some(Index(u64::from_le_bytes(*index)))),
        _ => Err("another version of this program wrote the tree".to_owned()),
    }
}

/// A tree has everything up to this entry, durably: only an entry up to there may be the first of a log that
/// has no state beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Durable(Index);

impl Durable {
    /// Asks a tree. The shell made it: a shell flushes each batch before it hands the tree to the node, and opens
    /// no other tree at a start.
    fn of(base: &dyn Base) -> Durable {
        Durable(index_of(base).ok().flatten().unwrap_or(Index::ZERO))
    }

    pub(super) fn index(self) -> Index {
        self.0
    }
}

/// How far the tree of a node is.
#[derive(Debug)]
pub(super) struct Tree {
    /// The last entry in the latest batch.
    pub(super) handed: Index,
    /// The last one that the tree has.
    pub(super) has: Durable,
    /// When the latest batch was handed out.
    pub(super) since: Time,
    /// A state beside the log whose checkpoint waits for the tree.
    pub(super) delayed: Option<Written>,
}

impl Tree {
    /// A tree with which the machine begins.
    pub(super) fn begin(base: &dyn Base, now: Time) -> Tree {
        let has = Durable::of(base);
        Tree { handed: has.index(), has, since: now, delayed: None }
    }

    /// The tree has the latest batch.
    pub(super) fn grown(&mut self, base: &dyn Base) {
        self.has = Durable::of(base);
    }
}
