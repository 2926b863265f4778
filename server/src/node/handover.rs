//! Batches for the tree below the machine, and the checkpoints that wait for them.
//!
//! A checkpoint goes on from the tree itself, and copies nothing: it names an entry up to which the tree has
//! everything durably. Only for another server, which asks for the state in pieces, it is encoded beside the
//! log; the checkpoint that goes on from that file waits until the tree has the same entries. So a server
//! that restarts finds its tree there, and reads no state from beginning to end.

use std::sync::Arc;

use seaworthy::coverage::{self, Mark};
use seaworthy::raft::{Index, Piece, ProgressState, SnapshotMeta};

use super::based::Tree;
use super::machine::Machine;
use super::record::{Before, Written};
use super::{Effect, Node};
use crate::kv::Base;

/// How much the log grows at most before the next checkpoint while another server is sent a state. The other server
/// needs the log behind that state, and the next checkpoint has the state's file removed.
const SENDING_LOG_BYTES: u64 = 256 << 20;
/// On a full disk a log of this size is worth a checkpoint.
const WORTH_BYTES: u64 = 1 << 20;

impl Node {
    /// Whether the machine began with the effects of an entry.
    pub(super) fn began_with(&self, index: Index) -> bool {
        index <= self.begun
    }

    /// Hands a batch out, if there are changes of some size or age.
    pub(super) fn hand_over(&mut self) {
        let Some(tree) = &mut self.tree else { return };
        let index = self.raft.status().applied;
        let age_ms = (self.now - tree.since).as_millis();
        let is_due = self.machine.store.fresh_bytes() >= self.options.batch_bytes
            || age_ms >= u128::from(self.options.batch_ms)
            || tree.delayed.is_some();
        if !is_due || index <= tree.handed {
            return;
        }
        if let Some(batch) = self.machine.hand_over(index) {
            (tree.handed, tree.since) = (index, self.now);
            self.effects.push(Effect::Batch(Box::new(batch)));
        }
    }

    /// The tree has the latest batch.
    pub(super) fn based(&mut self, base: Arc<dyn Base>) {
        let is_current = |own: &Arc<dyn Base>| own.number() == base.number();
        // Guard: a state of another server may have come meanwhile, with a tree of its own.
        if !self.machine.store.base().is_some_and(is_current) {
            return;
        }
        let Some(tree) = &mut self.tree else { return };
        tree.grown(&*base);
        let written = tree.delayed.take_if(|written| written.index <= tree.has.index());
        let done = self.machine.store.set_base(base);
        self.effects.push(Effect::Discard(done));
        if let Some(written) = written {
            self.written(written);
        }
    }

    /// Whether a checkpoint can go on from a state; if not, it is delayed.
    pub(super) fn is_in_tree(&mut self, written: Written) -> bool {
        let Some(tree) = &mut self.tree else { return true };
        let is_there = written.index <= tree.has.index();
        if !is_there {
            tree.delayed = Some(written);
        }
        is_there
    }

    /// Has the log go on from the tree, if it has grown enough. Nothing is copied.
    pub(super) fn go_on_from_tree(&mut self) {
        let Some(tree) = &self.tree else { return };
        // Guard: the log has to keep every entry that the tree does not have durably.
        let index = tree.has.index();
        let most = match self.sends_state() {
            true => self.options.snapshot_bytes.max(SENDING_LOG_BYTES),
            false => self.options.snapshot_bytes,
        };
        let makes_space = self.space.is_full() && self.space.log_bytes >= WORTH_BYTES;
        let is_due = self.applied_bytes >= most || makes_space;
        // Guard: the tree that the machine began with may be ahead of the log.
        let is_ahead = index > self.raft.status().applied;
        if !is_due || is_ahead || index <= self.newest_snapshot().index() {
            return;
        }
        coverage::hit(Mark::TreeCheckpoint);
        self.applied_bytes = 0;
        self.begin_log(index, (0, 0));
    }

    /// Whether another server is sent a state.
    fn sends_state(&self) -> bool {
        self.raft.progress().any(|(_, p)| matches!(p.state, ProgressState::Snapshot { .. }))
    }

    /// Where the state of the latest snapshot is.
    pub(super) fn newest_snapshot(&self) -> Before {
        Before::of(self.raft.snapshot())
    }

    /// Has a piece of a state sent. If that state is in the tree alone, the node has the state of now encoded, which takes
    /// the place of that snapshot; the piece counts as lost on the way.
    pub(super) fn send_piece(&mut self, piece: Piece) {
        match Before::of(Some(&piece.meta)) {
            Before::Tree(_) if self.raft.snapshot() == Some(&piece.meta) => self.want_encoded(),
            Before::Tree(_) => self.raft.snapshot_lost(&piece.meta),
            _ => {
                let is_last = piece.offset + piece.len_bytes == piece.meta.len_bytes;
                if is_last && self.tree.is_some() {
                    coverage::hit(Mark::TreeStateSent);
                }
                self.effects.push(Effect::Piece(piece));
            }
        }
    }

    /// Has other servers that wait for a state in the tree sent the one that has been encoded, in this turn: the
    /// log may have grown so much meanwhile that the next checkpoint has the file removed. One that
    /// is being read stays.
    pub(super) fn send_encoded(&mut self) {
        let newest = self.raft.snapshot();
        let is_wanted = |meta: &&SnapshotMeta| {
            Some(*meta) != newest && matches!(Before::of(Some(meta)), Before::Tree(_))
        };
        let wanted: Vec<_> = self.raft.snapshots().filter(is_wanted).cloned().collect();
        wanted.iter().for_each(|meta| self.raft.snapshot_lost(meta));
    }

    /// Has the state encoded for another server, in the next turn.
    pub(super) fn want_encoded(&mut self) {
        // Guard: pieces are asked for again while a state is encoded. A second state would take the place of the
        // first, and the log between both would be dropped: the other server would need the second as well.
        self.wants_encoded |= !self.freezing;
    }

    /// Takes the state of a snapshot; the answer is the one to let go of.
    pub(super) fn replace_machine(&mut self, index: Index, state: Machine) -> Machine {
        // Guard: the tree may be ahead of the snapshot as well.
        if self.began_with(index) {
            return state;
        }
        if let Some(tree) = &mut self.tree {
            let base = state.store.base().expect("a snapshot is read into a tree");
            // The checkpoint that was delayed is not needed any more.
            if tree.delayed.is_some() {
                self.freezing = false;
            }
            *tree = Tree::begin(&**base, self.now);
        }
        self.begun = index;
        std::mem::replace(&mut self.machine, state)
    }
}
