//! Coverage marks: rare events, named once, where they happen.
//!
//! A test that passes shows little if the hard cases never came up in it. So the code
//! marks them: [`hit`] at the one line where the event happens. A caller that runs nodes in
//! one thread, as the simulation does, calls [`take`] after a run and learns which were hit.
//! A node cannot read a mark back, so its behaviour cannot depend on marks; and a mark
//! costs one bit of a thread's own memory.

use std::cell::Cell;

thread_local! {
    static HITS: Cell<u64> = const { Cell::new(0) };
}

/// A rare event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A term began, by this server or another, while this one had received a snapshot in part.
    ElectionDuringInstall,
    /// A snapshot replaced a follower's log.
    SnapshotInstalled,
    /// Entries of a follower's log were replaced by the leader's.
    LogOverwritten,
    /// An append that had overtaken another was appended after it.
    EarlyAppend,
    /// A vote was refused because of the candidate's shorter log.
    ShortLogRefused,
    /// A candidate lost.
    ElectionLost,
    /// A leader that heard no quorum stepped down.
    QuorumLost,
    /// A leader handed over to a follower.
    LeaderTransfer,
    /// A change of members began.
    MembersChanged,
    /// Commands that an old leader may have got were sent to a new one.
    CommandRetried,
    /// A command came to the state machine twice, and was applied once.
    CommandRepeated,
    /// A command that changes nothing was answered without a place in the log.
    IdleCommand,
    /// A replica that could not reach the leader was served by way of another.
    Detour,
    /// A follower came back without entries that it had acknowledged.
    MemoryLost,
    /// A hub was given up before it acknowledged everything.
    HubGivenUp,
    /// Two nodes took themselves for the hub, and met.
    TwoHubs,
    /// Deltas came of which earlier ones are missing.
    DeltaGap,
    /// A whole state was sent instead of deltas.
    WholeState,
    /// A crash tore a record, and the next start cut it off.
    TornRecordRepaired,
    /// A crash lost writes that no fsync had covered.
    UnsyncedLost,
    /// A checkpoint took the place of the log before a mark, and the log behind it stayed.
    LogKept,
    /// A leader learnt from the state that it began with that entries of its log are committed.
    CommitKnownByState,
    /// A log went on from the tree below its machine.
    TreeCheckpoint,
    /// A state in a tree was encoded for another server, and took the place of the tree as the beginning of the log.
    TreeEncoded,
    /// The last piece of a state was sent by a server with a tree.
    TreeStateSent,
}

/// Which part of a node a mark belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The Raft engine and the replica around it.
    Raft,
    /// The gossip engine.
    Gossip,
    /// The record log.
    Storage,
    /// The tree with the state of a served store.
    Tree,
}

impl Mark {
    /// All of them.
    pub const ALL: [Mark; 25] = [
        Mark::ElectionDuringInstall,
        Mark::SnapshotInstalled,
        Mark::LogOverwritten,
        Mark::EarlyAppend,
        Mark::ShortLogRefused,
        Mark::ElectionLost,
        Mark::QuorumLost,
        Mark::LeaderTransfer,
        Mark::MembersChanged,
        Mark::CommandRetried,
        Mark::CommandRepeated,
        Mark::IdleCommand,
        Mark::Detour,
        Mark::MemoryLost,
        Mark::HubGivenUp,
        Mark::TwoHubs,
        Mark::DeltaGap,
        Mark::WholeState,
        Mark::TornRecordRepaired,
        Mark::UnsyncedLost,
        Mark::LogKept,
        Mark::CommitKnownByState,
        Mark::TreeCheckpoint,
        Mark::TreeEncoded,
        Mark::TreeStateSent,
    ];

    /// The event in words, for a report.
    pub fn text(self) -> &'static str {
        match self {
            Mark::ElectionDuringInstall => "an election during a snapshot install",
            Mark::SnapshotInstalled => "a snapshot installed",
            Mark::LogOverwritten => "a follower's log overwritten",
            Mark::EarlyAppend => "an append that overtook another",
            Mark::ShortLogRefused => "a vote refused for a shorter log",
            Mark::ElectionLost => "an election lost",
            Mark::QuorumLost => "a leader without a quorum stepping down",
            Mark::LeaderTransfer => "a leader transfer",
            Mark::MembersChanged => "a change of members",
            Mark::CommandRetried => "a forwarded command retried on a new leader",
            Mark::CommandRepeated => "a repeated command applied once",
            Mark::IdleCommand => "a command that changes nothing",
            Mark::Detour => "requests passed on around a cut",
            Mark::MemoryLost => "a follower back without its log",
            Mark::HubGivenUp => "a hub given up with unacknowledged deltas",
            Mark::TwoHubs => "two hubs at once",
            Mark::DeltaGap => "deltas with a gap before them",
            Mark::WholeState => "a whole state instead of deltas",
            Mark::TornRecordRepaired => "a torn record repaired",
            Mark::UnsyncedLost => "unsynced writes lost",
            Mark::LogKept => "a checkpoint that kept the log behind a mark",
            Mark::CommitKnownByState => "a leader's commit index behind its state",
            Mark::TreeCheckpoint => "a checkpoint over a tree",
            Mark::TreeEncoded => "a state in a tree encoded for another server",
            Mark::TreeStateSent => "a whole state sent by a server with a tree",
        }
    }

    /// Where it belongs.
    pub fn part(self) -> Part {
        match self {
            Mark::TornRecordRepaired | Mark::UnsyncedLost => Part::Storage,
            Mark::CommitKnownByState
            | Mark::TreeCheckpoint
            | Mark::TreeEncoded
            | Mark::TreeStateSent => Part::Tree,
            Mark::HubGivenUp | Mark::TwoHubs | Mark::DeltaGap | Mark::WholeState => Part::Gossip,
            _ => Part::Raft,
        }
    }
}

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u64);

impl Marks {
    /// Whether `mark` was hit.
    pub fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u32) != 0
    }
}

/// Notes that `mark` happened on this thread.
pub fn hit(mark: Mark) {
    HITS.set(HITS.get() | 1 << mark as u32);
}

/// Takes the marks that were hit on this thread since the last call.
pub fn take() -> Marks {
    Marks(HITS.replace(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_its_own() {
        take();
        for mark in Mark::ALL {
            hit(mark);
            let marks = take();
            let hits: Vec<Mark> = Mark::ALL.into_iter().filter(|m| marks.has(*m)).collect();
            assert_eq!(hits, [mark]);
        }
        assert_eq!(take(), Marks::default());
    }
}
