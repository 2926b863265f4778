//! Batches for the tree below the machine, and the checkpoints that wait for them.
//!
//! A checkpoint that goes on from a state waits until the tree has that state too. So a server that
//! restarts finds its tree there, and reads no state from beginning to end.

use std::sync::Arc;

use seaworthy::raft::Index;

use super::based::Tree;
use super::machine::Machine;
use super::record::Written;
use super::{Effect, Node};
use crate::kv::Base;

impl Node {
    /// Whether the machine began with the effects of an entry.
    pub(super) fn began_with(&self, index: Index) -> bool {
        self.tree.as_ref().is_some_and(|tree| index <= tree.begun)
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
        tree.has = tree.handed;
        let written = tree.delayed.take_if(|written| written.index <= tree.has);
        let done = self.machine.store.set_base(base);
        self.effects.push(Effect::Discard(done));
        if let Some(written) = written {
            self.written(written);
        }
    }

    /// Whether a checkpoint can go on from a state; if not, it is delayed.
    pub(super) fn is_in_tree(&mut self, written: Written) -> bool {
        let Some(tree) = &mut self.tree else { return true };
        if written.index > tree.has {
            tree.delayed = Some(written);
        }
        written.index <= tree.has
    }

    /// Takes the state of a snapshot; the answer is the one to let go of.
    pub(super) fn replace_machine(&mut self, index: Index, state: Machine) -> Machine {
        // Guard: the tree may be ahead of the snapshot as well.
        if self.began_with(index) {
            return state;
        }
        if let Some(tree) = &mut self.tree {
            assert!(state.store.base().is_some(), "a snapshot is read into a tree");
            // Its checkpoint is not needed any more.
            if tree.delayed.is_some() {
                self.freezing = false;
            }
            *tree = Tree::at(index, self.now);
        }
        std::mem::replace(&mut self.machine, state)
    }
}
