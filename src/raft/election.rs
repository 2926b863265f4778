//! Elections (§5.2, §5.4.1; pre-vote: thesis §9.6).
//!
//! A server that hears no leader first asks, without starting a term, whether it could
//! win (*pre-vote*). Only a quorum of yeses starts a term; so a server that was cut
//! off comes back without forcing an election on a cluster that did well without it.
//! And of two that ask at the same time one stands back, before the vote can be split.
//!
//! A vote is a promise, so it leaves only when it is durable. That includes the vote
//! for oneself: a candidate's requests wait for its disk too, or it could win a term
//! that it does not remember after a crash, and win it once more with another log.

use super::message::MessageKind;
use super::quorum::{self, VoteResult};
use super::server::{Raft, Role, Votes};
use super::types::{HardState, LogId, RaftId, Term};
use crate::mark::{self, Mark};
use crate::mutant::{self, Mutant};

impl Raft {
    /// Stands for election now, if this server may.
    pub fn campaign(&mut self) {
        self.reset_election_timer();
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        // Also one that may not stand: the leader it knew may be none any more, and if it is
        // no member for the new one, nobody will tell it so.
        self.forget_leader();
        if !self.is_promotable() {
            return;
        }
        self.leader_heard = None;
        if self.incoming.is_some() {
            mark::hit(Mark::ElectionDuringInstall);
        }
        if self.options.pre_vote {
            self.become_pre_candidate();
        } else {
            self.become_candidate(false);
        }
    }

    /// Whether this server may stand for election. One that is on its way out may,
    /// until it knows that it is out: it could be the only one whose log is long enough
    /// for the old voters (thesis §4.2.2).
    fn is_promotable(&self) -> bool {
        let may_vote = self.log.possible_configs().any(|config| config.is_voter(self.id));
        may_vote && !self.options.abstain
    }

    fn forget_leader(&mut self) {
        if self.leader.take().is_some() {
            self.out.dropped_reads.extend(std::mem::take(&mut self.asked_reads));
        }
    }

    fn become_pre_candidate(&mut self) {
        self.role = Role::PreCandidate(Votes::from([(self.id, true)]));
        // Nothing is promised, so nothing has to be durable.
        let last = self.log.last();
        let request = MessageKind::RequestVote { pre: true, transfer: false, last };
        for voter in self.other_voters() {
            self.send(voter, request.clone());
            let asked = self.out.messages.last_mut().expect("sent a line ago");
            asked.term = self.hard.term.next();
        }
        self.count_votes();
    }

    /// Starts a term of its own and asks for votes in it.
    pub(super) fn become_candidate(&mut self, transfer: bool) {
        self.become_follower(self.hard.term.next(), None);
        self.reset_election_timer();
        self.set_hard_state(HardState { vote: Some(self.id), ..self.hard });
        self.role = Role::Candidate(Votes::new());
        let last = self.log.last();
        for voter in self.other_voters() {
            self.send_after(voter, MessageKind::RequestVote { pre: false, transfer, last });
        }
    }

    /// Counts a candidate's vote for itself, once it is durable.
    pub(super) fn count_own_vote(&mut self) {
        // Guard: a vote that could be forgotten is none.
        if !self.is_hard_state_durable() {
            return;
        }
        if let Role::Candidate(votes) = &mut self.role {
            votes.insert(self.id, true);
            self.count_votes();
        }
    }

    pub(super) fn handle_request_vote(
        &mut self,
        from: RaftId,
        term: Term,
        pre: bool,
        transfer: bool,
        last: LogId,
    ) {
        if self.options.abstain || (!transfer && self.protects_leader_from(from)) {
            return;
        }
        // Guard: one vote a term; a pre-vote for a later term gives none away.
        let free = match self.hard.vote {
            Some(vote) => vote == from,
            None => self.leader.is_none(),
        };
        let may_vote = free || (pre && term > self.hard.term);
        // Guard: only a log that holds everything committed may lead: compare the
        // term of the last entry first, then the length (§5.4.1).
        let up_to_date = last >= self.log.last()
            || (mutant::is(Mutant::VoteByLengthOnly) && last.index >= self.log.last().index);
        if may_vote && !up_to_date {
            mark::hit(Mark::ShortLogRefused);
        }
        let granted = may_vote && up_to_date;
        if pre {
            self.send(from, MessageKind::Vote { pre, granted });
            if granted {
                let reply = self.out.messages.last_mut().expect("sent a line ago");
                reply.term = term;
                self.stand_back_for(from, last);
            }
            return;
        }
        assert!(term == self.hard.term, "a vote is given in the current term");
        if granted {
            self.set_hard_state(HardState { vote: Some(from), ..self.hard });
            self.reset_election_timer();
            self.send_after(from, MessageKind::Vote { pre, granted });
        } else {
            self.send(from, MessageKind::Vote { pre, granted });
        }
    }

    /// Somebody else asks whether it could win while this server asks the same. If both
    /// went on they would start the same term, and each would vote for itself; so the one
    /// with the shorter log, or the lower number, stands back until its next timeout.
    fn stand_back_for(&mut self, rival: RaftId, last: LogId) {
        if matches!(self.role, Role::PreCandidate(_)) && (last, rival) > (self.log.last(), self.id)
        {
            self.role = Role::Follower;
        }
    }

    pub(super) fn handle_vote(&mut self, from: RaftId, term: Term, pre: bool, granted: bool) {
        let next = self.hard.term.next();
        let from = self.voter_to_count(from, granted);
        match &mut self.role {
            // Guard: votes are kept by voter, so that a repeated one counts once.
            Role::PreCandidate(votes) if pre && (term == next || !granted) => {
                votes.entry(from).or_insert(granted);
            }
            Role::Candidate(votes) if !pre && term == self.hard.term => {
                let first_refusal = !granted && votes.values().all(|granted| *granted);
                votes.entry(from).or_insert(granted);
                if first_refusal {
                    self.hurry_election();
                }
            }
            _ => return,
        }
        self.count_votes();
    }

    /// Who is to be counted for a vote of `from`.
    fn voter_to_count(&self, from: RaftId, granted: bool) -> RaftId {
        let (Role::PreCandidate(votes) | Role::Candidate(votes)) = &self.role else { return from };
        if !mutant::is(Mutant::CountVotesTwice) || !granted || !votes.contains_key(&from) {
            return from;
        }
        self.other_voters().into_iter().find(|id| !votes.contains_key(id)).unwrap_or(from)
    }

    fn count_votes(&mut self) {
        let (Role::PreCandidate(votes) | Role::Candidate(votes)) = &self.role else { return };
        let result = quorum::vote_result(self.config(), |id| votes.get(&id).copied());
        let pre = matches!(self.role, Role::PreCandidate(_));
        match result {
            VoteResult::Pending => {}
            VoteResult::Lost => {
                mark::hit(Mark::ElectionLost);
                self.become_follower(self.hard.term, None);
            }
            VoteResult::Won if pre => self.become_candidate(false),
            // The others may be a quorum without this server, but it must remember its
            // own term before it can lead in it.
            VoteResult::Won if self.is_hard_state_durable() => self.become_leader(),
            VoteResult::Won => {}
        }
    }

    pub(super) fn handle_timeout_now(&mut self, from: RaftId) {
        // Only the leader may ask, and only a voter can follow it.
        if self.leader == Some(from) && self.is_promotable() {
            mark::hit(Mark::LeaderTransfer);
            self.become_candidate(true);
        }
    }

    fn other_voters(&self) -> Vec<RaftId> {
        let own = self.id;
        let config = self.config();
        config.members().into_iter().filter(|id| *id != own && config.is_voter(*id)).collect()
    }
}
