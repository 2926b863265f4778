//! The invariants of every moment, in the paper's words (Figure 3) and some more.

use std::collections::BTreeMap;

use seaworthy::raft::{
    Entry, Index, LogId, Message, MessageKind, Payload, Raft, RaftId, RoleName, Term, quorum,
};

use super::disk::Disk;

/// The facts seen so far, on any server.
#[derive(Default)]
pub(crate) struct Invariants {
    leaders: BTreeMap<Term, RaftId>,
    votes: BTreeMap<(RaftId, Term), RaftId>,
    /// Every entry that ever was in a log, with the term of the one before it.
    entries: BTreeMap<LogId, (Payload, Term)>,
    /// Every committed entry, and the term of the leader that committed it.
    committed: BTreeMap<Index, (LogId, Term)>,
    lives: BTreeMap<RaftId, (Term, Index, Index)>,
}

impl Invariants {
    /// The highest index that any server knows to be committed.
    pub(crate) fn max_committed(&self) -> Index {
        self.committed.last_key_value().map_or(Index::ZERO, |(index, _)| *index)
    }

    /// A server was restarted: data that was not durable may go back, that is, none that it has
    /// told any other (see `check_message`).
    pub(crate) fn restarted(&mut self, id: RaftId, term: Term) {
        self.lives.insert(id, (term, Index::ZERO, Index::ZERO));
    }

    /// Checks a message that is about to leave its sender.
    pub(crate) fn check_message(&mut self, message: &Message, disk: &Disk) {
        let Message { from, to, term, kind } = message;
        match kind {
            MessageKind::Vote { pre: false, granted: true } => self.vote(*from, *term, *to),
            MessageKind::RequestVote { pre: false, .. } => self.vote(*from, *term, *from),
            MessageKind::Appended { matched, .. } => {
                assert!(disk.last().index >= *matched, "{from} acknowledged what it may lose");
            }
            _ => {}
        }
    }

    fn vote(&mut self, voter: RaftId, term: Term, candidate: RaftId) {
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        assert_eq!(first, candidate, "{voter} voted twice in term {term}");
    }

    /// Checks a server after a step. `disks` are everyone's.
    pub(crate) fn check(&mut self, raft: &Raft, disks: &BTreeMap<RaftId, Disk>) {
        let status = raft.status();
        let (term, commit) = (status.hard_state.term, status.commit);
        let before = self.lives.insert(status.id, (term, commit, status.applied));
        if let Some((old_term, old_commit, old_applied)) = before {
            assert!(term >= old_term, "the term of {} went back", status.id);
            assert!(commit >= old_commit, "the commit index of {} went back", status.id);
            assert!(status.applied >= old_applied, "{} un-applied", status.id);
        }
        assert!(status.applied <= commit && commit <= status.last.index);
        self.check_log_matching(raft);
        self.check_commit(raft, disks);
        if status.role == RoleName::Leader {
            let leader = *self.leaders.entry(term).or_insert(status.id);
            assert_eq!(leader, status.id, "election safety: two leaders in term {term}");
            self.check_completeness(raft);
        }
    }

    fn check_log_matching(&mut self, raft: &Raft) {
        let mut prev = raft.status().base;
        for Entry { id, payload } in raft.entries() {
            let known = self.entries.entry(*id).or_insert_with(|| (payload.clone(), prev.term));
            assert_eq!(known.1, prev.term, "log matching: different entries before {id}");
            assert_eq!(known.0, *payload, "log matching: different entries at {id}");
            prev = *id;
        }
    }

    fn check_commit(&mut self, raft: &Raft, disks: &BTreeMap<RaftId, Disk>) {
        let commit = raft.status().commit;
        for entry in raft.entries().filter(|e| e.id.index <= commit) {
            let id = entry.id;
            if let Some((known, _)) = self.committed.get(&id.index) {
                assert_eq!(*known, id, "state machine safety: two entries committed");
                continue;
            }
            // Only a leader is the first to know; of its own-term entries and those
            // before them, counted in its configuration of that moment.
            if id.index == commit && raft.is_leader() {
                let holds = |voter| disks.get(&voter).is_some_and(|d: &Disk| d.holds(id));
                let quorums = self.configs_around(raft);
                assert!(
                    quorums.iter().any(|config| quorum::has_quorum(config, holds)),
                    "{id} committed without a quorum"
                );
            }
            self.committed.insert(id.index, (id, raft.term()));
        }
    }

    /// The configuration in force, and the one before it: the step that commits may
    /// also append the configuration that follows.
    fn configs_around(&self, raft: &Raft) -> Vec<seaworthy::raft::Config> {
        let mut configs: Vec<_> = raft
            .entries()
            .filter_map(|e| match &e.payload {
                Payload::Config(config) => Some((**config).clone()),
                _ => None,
            })
            .collect();
        configs.reverse();
        configs.truncate(2);
        configs.push((**raft.configuration().1).clone());
        configs
    }

    /// The entries committed in earlier terms are in this leader's log.
    fn check_completeness(&self, raft: &Raft) {
        let status = raft.status();
        let term = status.hard_state.term;
        let earlier = |(_, (_, committed_in)): &(&Index, &(LogId, Term))| *committed_in < term;
        if let Some((index, (id, _))) = self.committed.iter().rev().find(earlier) {
            assert!(status.last.index >= *index, "leader completeness: {id} is missing");
        }
        for entry in raft.entries() {
            if let Some((id, committed_in)) = self.committed.get(&entry.id.index) {
                let same = entry.id == *id || *committed_in >= term;
                assert!(same, "leader completeness: {} in the place of {id}", entry.id);
            }
        }
    }
}
