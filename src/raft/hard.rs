//! How much of term and vote is on stable storage.

use std::collections::VecDeque;

use super::ready::PersistId;
use super::types::HardState;

/// Term and vote as storage was told them, and as it has confirmed them.
#[derive(Debug)]
pub(super) struct HardWrites {
    told: HardState,
    durable: HardState,
    /// Writes that storage has not confirmed, oldest first.
    writes: VecDeque<(PersistId, HardState)>,
}

impl HardWrites {
    /// Begins with the stored term and vote.
    pub(super) fn new(restored: HardState) -> HardWrites {
        HardWrites { told: restored, durable: restored, writes: VecDeque::new() }
    }

    /// Whether storage was told of `hard`.
    pub(super) fn knows(&self, hard: HardState) -> bool {
        self.told == hard
    }

    /// Notes that the write `id` carries `hard`.
    pub(super) fn tell(&mut self, id: PersistId, hard: HardState) {
        if !self.knows(hard) {
            self.told = hard;
            self.writes.push_back((id, hard));
        }
    }

    /// Notes that everything up to and including the write `id` is durable.
    pub(super) fn persisted(&mut self, id: PersistId) {
        while let Some((_, hard)) = self.writes.pop_front_if(|(write, _)| *write <= id) {
            self.durable = hard;
        }
    }

    /// Term and vote as they are on stable storage.
    pub(super) fn durable(&self) -> HardState {
        self.durable
    }
}
