//! The bugs that can be planted in the engine (see [`crate::planted`]). Each function
//! returns its first argument, and each method does nothing, unless a mutant is active.

use super::engine::Engine;
use super::lattice::Lattice;
use super::peer::Peer;
use crate::planted::{Mutant, is};

/// A total after a merge of `own` and `other`.
pub(super) fn merged_total(highest: u64, own: u64, other: u64) -> u64 {
    if is(Mutant::MergeByAdding) { own.saturating_add(other) } else { highest }
}

impl Peer {
    /// Keeps knowledge of the dead incarnation for the new one.
    pub(super) fn plant_old_knowledge(&mut self, dead: Peer) {
        if is(Mutant::IgnoreIncarnation) {
            let boot = self.boot;
            *self = dead;
            self.boot = boot;
        } else if is(Mutant::FloorOutlivesPeer) {
            self.floor = dead.floor;
        }
    }
}

impl<L: Lattice> Engine<L> {
    /// Takes everything for known by every peer.
    pub(super) fn plant_forgetting(&mut self) {
        if !is(Mutant::ForgetUnacknowledged) {
            return;
        }
        for rank in self.others() {
            let versions = self.store.versions().clone();
            self.peer_mut(rank).known.merge(&versions);
        }
    }
}
