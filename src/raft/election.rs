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
//!
//! Disks may take longer than an election timeout. So a server does not stand for election
//! while its own vote is on its way to the disk, nor helps others to another term; a candidate
//! gives the others as long for their votes as its own took before it helps them to one, and if
//! it was refused by none asks again in the same term instead of starting the next; and while
//! it asks whether it could win the next one, the votes that it has keep counting.

use super::ids::{LogId, RaftId, Term};
use super::message::MessageKind;
use super::quorum::{self, VoteResult};
use super::role::{Role, Votes};
use super::server::Raft;
use super::types::HardState;
use crate::coverage::{self, Mark};
use crate::planted::guard;

/// The reason for an election.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// No leader is heard.
    Silence,
    /// The leader has asked for it.
    Transfer,
}

impl Raft {
    /// Stands for election, if it may: no leader was heard for an election timeout.
    pub(super) fn time_out(&mut self) {
        // Guard: the disk decides how long a vote takes, and to start another term before
        // would throw the vote away. With a slow disk no server would ever be elected.
        if self.is_vote_under_way() {
            return self.reset_election_timer();
        }
        match &self.role {
            Role::Candidate(votes) if votes.values().all(|granted| *granted) => {
                self.reset_election_timer();
                self.ask_for_votes(Reason::Silence);
            }
            _ => self.campaign(),
        }
    }

    /// Whether this server has given its vote, also to itself, but could still forget it.
    fn is_vote_under_way(&self) -> bool {
        self.hard.vote.is_some() && !self.is_hard_state_durable()
    }

    /// Whether this server stands for election, and the disks of others have not had the
    /// time for their votes that its own disk needed.
    fn awaits_votes(&self) -> bool {
        let (Role::Candidate(votes) | Role::PreCandidate { stands: Some(votes), .. }) = &self.role
        else {
            return false;
        };
        let result = quorum::vote_result(self.config(), |id| votes.get(&id).copied());
        result == VoteResult::Pending && self.now < self.voted_at + self.vote_took
    }

    /// Starts to wait for the outcome of an election, now that the vote given in it is
    /// durable and leaves.
    pub(super) fn start_waiting(&mut self) {
        if self.hard.vote.is_none() || !self.is_hard_state_durable() {
            return;
        }
        self.vote_took = self.now - std::mem::replace(&mut self.voted_at, self.now);
        let took_time = self.vote_took > 0;
        let waits = matches!(self.role, Role::Follower | Role::Candidate(_));
        if took_time && waits && self.leader.is_none() {
            self.reset_election_timer();
        }
    }

    /// Stands for election now, if this server may.
    pub fn campaign(&mut self) {
        self.reset_election_timer();
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        // Do this even if we cannot stand. Our leader may have been deposed, and a new leader
        // that does not count us as a member will never contact us.
        self.forget_leader();
        if !self.is_promotable() {
            return;
        }
        self.leader_heard = None;
        if self.options.pre_vote {
            self.become_pre_candidate();
        } else {
            self.become_candidate(Reason::Silence);
        }
    }

    /// Whether this server may stand for election. One that is on its way out may,
    /// until it knows that it is out: it could be the only one whose log is long enough
    /// for the old voters (thesis §4.2.2).
    fn is_promotable(&self) -> bool {
        let may_vote = self.log.possible_configs().any(|config| config.is_voter(self.id));
        may_vote && !self.options.abstain
    }

    /// Begins to abstain: storage may have lost promises of this server.
    ///
    /// # Panics
    /// If this server has promised something in this incarnation.
    pub fn abstain(&mut self) {
        assert!(self.hard.term == Term::ZERO, "a server abstains before it takes part");
        self.become_follower(self.hard.term, None);
        self.options.abstain = true;
    }

    /// Whether this server abstains.
    pub fn is_abstaining(&self) -> bool {
        self.options.abstain
    }

    /// Takes part again. The caller has seen an entry applied here that was proposed
    /// after this server lost its memory, so a quorum without this server holds it. That
    /// is enough (an argument in `docs/storage.md`):
    ///
    /// * the log here holds all that was committed because of this server's lost copy;
    /// * a candidate that won this server's lost vote in a later term cannot win any more,
    ///   since its log lacks that entry;
    /// * in this term, the vote may have been given: so it is not given again.
    pub fn readmit(&mut self) {
        self.options.abstain = false;
        if self.hard.vote.is_none() {
            let vote = self.leader.unwrap_or(self.id);
            self.set_hard_state(HardState { vote: Some(vote), ..self.hard });
        }
    }

    fn forget_leader(&mut self) {
        if self.leader.take().is_some() {
            self.out.dropped_reads.extend(std::mem::take(&mut self.asked_reads));
        }
    }

    fn become_pre_candidate(&mut self) {
        let stands = match std::mem::replace(&mut self.role, Role::Follower) {
            Role::Candidate(votes) => Some(votes),
            Role::PreCandidate { stands, .. } => stands,
            _ => None,
        };
        self.role = Role::PreCandidate { answers: Votes::from([(self.id, true)]), stands };
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
    fn become_candidate(&mut self, reason: Reason) {
        self.become_follower(self.hard.term.next(), None);
        self.reset_election_timer();
        self.set_hard_state(HardState { vote: Some(self.id), ..self.hard });
        self.role = Role::Candidate(Votes::new());
        self.ask_for_votes(reason);
    }

    fn ask_for_votes(&mut self, reason: Reason) {
        let (last, transfer) = (self.log.last(), reason == Reason::Transfer);
        for voter in self.other_voters() {
            self.promise(voter, MessageKind::RequestVote { pre: false, transfer, last });
        }
    }

    /// Gives this server's vote in the current term away, to another or to itself.
    fn promise(&mut self, to: RaftId, kind: MessageKind) {
        // Guard: a vote that could be forgotten could be given away twice.
        self.send_after(to, kind);
        self.plant_early_promise();
    }

    /// Counts a candidate's vote for itself, once it is durable.
    pub(super) fn count_own_vote(&mut self) {
        // Guard: a vote that could be forgotten does not count.
        if !self.is_hard_state_durable() {
            return;
        }
        if let Role::Candidate(votes) = &mut self.role {
            votes.insert(self.id, true);
            self.count_votes();
        }
    }

    /// Grants or refuses a vote; to a pre-vote, answers whether it would be granted.
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
        // Guard: an election is under way. If this vote ever becomes durable, it may decide;
        // and so may those that this server waits for.
        if pre && (self.is_vote_under_way() || self.awaits_votes()) {
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
        let own = self.log.last();
        let up_to_date = guard!(last >= own, VoteByLengthOnly if last.index >= own.index);
        if may_vote && !up_to_date {
            coverage::hit(Mark::ShortLogRefused);
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
            self.promise(from, MessageKind::Vote { pre, granted });
        } else {
            self.send(from, MessageKind::Vote { pre, granted });
        }
    }

    /// Gives way, or not, to a server that asks whether it could win while this one asks the
    /// same. If both went on they would start the same term, and each would vote for itself; so
    /// the one with the shorter log, or the lower number, stands back until its next timeout.
    fn stand_back_for(&mut self, rival: RaftId, last: LogId) {
        if (last, rival) > (self.log.last(), self.id) {
            self.stop_asking();
        }
    }

    /// Gives up asking whether the next term could be won; the votes in this one count on.
    fn stop_asking(&mut self) {
        if let Role::PreCandidate { stands, .. } = &mut self.role {
            self.role = stands.take().map_or(Role::Follower, Role::Candidate);
        }
    }

    pub(super) fn handle_vote(&mut self, from: RaftId, term: Term, pre: bool, granted: bool) {
        let next = self.hard.term.next();
        let from = self.plant_second_vote(from, granted);
        match &mut self.role {
            // Guard: votes are kept by voter, so that a repeated one counts once.
            Role::PreCandidate { answers, .. } if pre && (term == next || !granted) => {
                answers.entry(from).or_insert(granted);
            }
            Role::PreCandidate { stands: Some(votes), .. } if !pre && term == self.hard.term => {
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

    fn count_votes(&mut self) {
        let result =
            |votes: &Votes| quorum::vote_result(self.config(), |id| votes.get(&id).copied());
        let (answers, stands) = match &self.role {
            Role::PreCandidate { answers, stands } => {
                (Some(result(answers)), stands.as_ref().map(result))
            }
            Role::Candidate(votes) => (None, Some(result(votes))),
            _ => return,
        };
        match (stands, answers) {
            // The others may be a quorum without this server, but it must remember its
            // own term before it can lead in it.
            (Some(VoteResult::Won), _) if self.is_hard_state_durable() => self.become_leader(),
            (_, Some(VoteResult::Won)) => self.become_candidate(Reason::Silence),
            (Some(VoteResult::Pending), Some(VoteResult::Lost)) => self.stop_asking(),
            (_, Some(VoteResult::Lost)) | (Some(VoteResult::Lost), None) => {
                coverage::hit(Mark::ElectionLost);
                self.become_follower(self.hard.term, None);
            }
            _ => {}
        }
    }

    pub(super) fn handle_timeout_now(&mut self, from: RaftId) {
        // Only the leader may ask, and only a voter can follow it.
        if self.leader == Some(from) && self.is_promotable() {
            coverage::hit(Mark::LeaderTransfer);
            self.become_candidate(Reason::Transfer);
        }
    }

    pub(super) fn other_voters(&self) -> Vec<RaftId> {
        let own = self.id;
        let config = self.config();
        config.members().into_iter().filter(|id| *id != own && config.is_voter(*id)).collect()
    }
}
