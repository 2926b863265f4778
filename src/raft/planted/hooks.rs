//! Planted behaviour of a whole server. Each method does nothing unless its mutant is active.

use super::super::ids::{Index, RaftId, Term};
use super::super::message::{MessageKind, ReadContext};
use super::super::ready::Read;
use super::super::role::Role;
use super::super::server::Raft;
use crate::planted::{Mutant, is};

impl Raft {
    /// The term that a message counts as; `None` if it is not heard at all.
    pub(in crate::raft) fn plant_deafness(&self, term: Term, kind: &MessageKind) -> Option<Term> {
        let own = self.hard.term;
        if is(Mutant::LeaderIgnoresTerm) && self.leads() && term > own {
            return kind.is_answer().then_some(own);
        }
        let is_stale = is(Mutant::StaleAck) && matches!(kind, MessageKind::Appended { .. });
        Some(if is_stale && term < own { own } else { term })
    }

    /// Serves a read from this server's own state; whether it did.
    pub(in crate::raft) fn plant_local_read(&mut self, context: ReadContext) -> bool {
        if is(Mutant::LocalReadAnywhere) {
            self.out.reads.push(Read { context, index: self.log.applied() });
        }
        is(Mutant::LocalReadAnywhere)
    }

    /// Counts an entry that the leader has just appended.
    pub(in crate::raft) fn plant_own_copy(&mut self) {
        if is(Mutant::OwnCopyAtOnce) {
            self.advance_commit();
        }
    }

    /// Lets the newest promise leave before it is durable.
    pub(in crate::raft) fn plant_early_promise(&mut self) {
        if is(Mutant::VoteBeforeDurable) {
            self.out.messages.extend(self.out.messages_after.pop());
        }
    }

    /// The voter for which a vote of `from` counts.
    pub(in crate::raft) fn plant_second_vote(&self, from: RaftId, granted: bool) -> RaftId {
        let (Role::PreCandidate { answers: votes, .. } | Role::Candidate(votes)) = &self.role
        else {
            return from;
        };
        if !is(Mutant::CountVotesTwice) || !granted || !votes.contains_key(&from) {
            return from;
        }
        self.other_voters().into_iter().find(|id| !votes.contains_key(id)).unwrap_or(from)
    }

    /// Truncates the log after `prev`, conflict or not.
    pub(in crate::raft) fn plant_truncation(&mut self, prev: Index) {
        if is(Mutant::TruncateAlways) && prev >= self.log.base().index {
            self.log.truncate(prev.next());
        }
    }
}
