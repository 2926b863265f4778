//! The leader's part in a change of members: it tells the log its knowledge, and has the core's
//! configuration follow the members that are wanted.
//!
//! Clients are answered by the server that they asked, once the configuration in force there, committed
//! and applied, is the one that they asked for: to stop a removed server then costs no quorum.

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::raft::{Change as Step, Command, Config, Index, Payload, RaftId};
use seaworthy::time::Time;

use super::envelope::{Envelope, Write};
use super::members::{Proposal, Roster, Seen};
use super::roles::{NotChanged, Roles};
use super::{Change, Effect, Event, Failure, Member, Node, Reply, Token};

/// A learner that lacks no more entries than this is in sync.
const IN_SYNC_ENTRIES: u64 = 1000;

/// A request that waits for the configuration, or for another leader.
#[derive(Debug)]
pub(super) struct Settling {
    token: Token,
    until: Condition,
    deadline: Time,
}

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The member belongs to the configuration, or is no member any more.
    Receives(RaftId),
    /// It votes, or is no member any more.
    Votes(RaftId),
    /// It is no member.
    Gone(RaftId),
    /// It leads.
    Leads(RaftId),
}

impl Node {
    /// The members as far as the log is applied here.
    pub fn roster(&self) -> Roster {
        let Roles { learners, .. } = &self.machine.roles;
        let members = self.machine.members.iter();
        let staying = members.filter(|(id, _)| self.machine.is_member(**id));
        let members = staying.map(|(id, m)| (*id, m.clone(), learners.contains(id))).collect();
        Roster { members }
    }

    /// Adds the leader's knowledge to a change that is on its way to the log.
    pub(super) fn complete(&self, envelope: &Envelope<'_>, command: &Command) -> Command {
        let Envelope::Write(write) = envelope else { return command.clone() };
        let Some(proposal) = Proposal::decode(write.command) else { return command.clone() };
        let ids = || self.machine.members.keys().copied();
        let active = ids().filter(|id| self.is_heard(*id)).collect();
        let in_sync = ids().filter(|id| self.is_in_sync(*id)).collect();
        let proposal = Proposal { seen: Some(Seen { active, in_sync }), ..proposal };
        Write { command: &proposal.encode(), ..*write }.encode()
    }

    /// Whether a member was heard by this leader within an election timeout.
    fn is_heard(&self, id: RaftId) -> bool {
        id == self.me || self.raft.has_heard(id, self.options.election_timeout_ms)
    }

    /// Whether a member could vote: it took part, has nearly all entries, and forgot nothing.
    fn is_in_sync(&self, id: RaftId) -> bool {
        let has_started = self.machine.members.get(&id).is_some_and(Member::has_started);
        let commit = self.raft.status().commit.0;
        let mut peers = self.raft.progress();
        let is_close = peers.any(|(peer, progress)| {
            peer == id && !progress.abstains() && progress.matched.0 + IN_SYNC_ENTRIES >= commit
        });
        id == self.me || (has_started && is_close && self.is_heard(id))
    }

    /// Takes the next step towards the members that are wanted, if this server leads.
    pub(super) fn steer(&mut self) {
        if !self.raft.is_leader() || self.applied_term != self.raft.term() {
            return;
        }
        let (index, config) = self.raft.configuration();
        // Guard: one step at a time, and only from a decided state.
        if config.is_joint() || index > self.raft.status().applied {
            return;
        }
        for step in self.steps(config) {
            match self.raft.propose_change(&[step]) {
                Ok(_) => return,
                // The next one may be possible; this one is tried again.
                Err(_) => continue,
            }
        }
    }

    /// The steps that the configuration is away from the members that are wanted: those that add
    /// come first.
    fn steps(&self, config: &Config) -> Vec<Step> {
        let Roles { learners, .. } = &self.machine.roles;
        let wanted = || self.machine.members.keys().filter(|id| self.machine.is_member(**id));
        let new = wanted().filter(|id| !config.contains(**id)).map(|id| Step::AddLearner(*id));
        let ready = wanted().filter(|id| {
            config.learners.contains(id) && !learners.contains(id) && self.is_in_sync(**id)
        });
        let ready = ready.map(|id| Step::AddVoter(*id));
        let members = config.members();
        let gone = members.into_iter().filter(|id| !self.machine.is_member(*id));
        new.chain(ready).chain(gone.map(Step::Remove)).collect()
    }

    /// A configuration has been committed.
    pub(super) fn apply_config(&mut self, config: &Config) {
        if config.is_joint() {
            return;
        }
        for (id, member) in self.machine.configure(config) {
            self.contacts.remove(&id);
            self.effects.push(Effect::Event(Event::Left(id, member.name)));
        }
        let (voters, learners) = (config.voters.clone(), config.learners.clone());
        self.effects.push(Effect::Event(Event::Configured(voters, learners)));
        self.members_changed = true;
    }

    /// A change of members has been decided.
    pub(super) fn apply_change(&mut self, proposal: &Proposal) -> Result<(), NotChanged> {
        let seen = proposal.seen.clone().unwrap_or_default();
        let outcome = self.machine.change(&proposal.change, &seen);
        if outcome.is_ok() {
            self.members_changed = true;
            let change = Box::new(proposal.change.clone());
            self.effects.push(Effect::Event(Event::Changed(change)));
        }
        outcome
    }

    /// Answers a change once it is in force.
    pub(super) fn settle(&mut self, token: Token, change: &Change) {
        let until = match change {
            Change::Add { id, .. } => Condition::Receives(*id),
            Change::Promote(id) => Condition::Votes(*id),
            Change::Remove(id) => Condition::Gone(*id),
            Change::Update { .. } => {
                return self.reply(token, Reply::Members(self.raft.term(), Ok(self.roster())));
            }
        };
        self.wait_for(token, until, self.options.request_timeout_ms);
    }

    fn wait_for(&mut self, token: Token, until: Condition, patience_ms: u64) {
        let deadline = self.now + Duration::from_millis(patience_ms);
        self.settling.push(Settling { token, until, deadline });
    }

    /// Hands the leadership to a member.
    pub(super) fn move_leader(&mut self, token: Token, to: RaftId) {
        let is_voter = self.machine.voters().any(|(id, _)| id == to);
        let refusal = match (self.raft.is_leader(), is_voter) {
            (false, _) => Some(NotChanged::NotLeader),
            (true, false) => Some(NotChanged::CannotLead),
            (true, true) => None,
        };
        if let Some(refusal) = refusal {
            return self.reply(token, Reply::Members(self.raft.term(), Err(refusal)));
        }
        // One that does not vote yet cannot lead: the wait is in vain, and the answer says so.
        let _ = self.raft.transfer_leadership(to);
        self.wait_for(token, Condition::Leads(to), 2 * self.options.election_timeout_ms);
    }

    /// Answers the requests whose wait is over.
    pub(super) fn end_waits(&mut self) {
        if self.settling.is_empty() {
            return;
        }
        let (applied, now, term) = (self.raft.status().applied, self.now, self.raft.term());
        for Settling { token, until, deadline } in std::mem::take(&mut self.settling) {
            if self.is_met(until, applied) {
                self.reply(token, Reply::Members(term, Ok(self.roster())));
            } else if deadline <= now {
                self.reply(token, Reply::Failed(Failure::TimedOut));
            } else {
                self.settling.push(Settling { token, until, deadline });
            }
        }
    }

    fn is_met(&self, until: Condition, applied: Index) -> bool {
        let (index, config) = self.raft.configuration();
        let is_decided = index <= applied && !config.is_joint();
        let is_member = |id| self.machine.is_member(id);
        match until {
            Condition::Receives(id) => !is_member(id) || (is_decided && config.contains(id)),
            Condition::Votes(id) => !is_member(id) || (is_decided && config.is_voter(id)),
            Condition::Gone(id) => !self.machine.members.contains_key(&id),
            Condition::Leads(id) => self.raft.leader() == Some(id),
        }
    }

    /// Ends this server some moments after it has left: others may still have to hear from it.
    pub(super) fn finish_leaving(&mut self) {
        if !self.machine.roles.removed.contains(&self.me) {
            return;
        }
        let since = *self.left_at.get_or_insert(self.now);
        if self.now >= since + self.linger() {
            self.effects.push(Effect::Removed);
        }
    }

    /// How long a server that has left goes on: one that leads hands over first.
    fn linger(&self) -> Duration {
        Duration::from_millis(match self.raft.is_leader() {
            true => 2 * self.options.election_timeout_ms,
            false => 2 * self.options.heartbeat_ms,
        })
    }

    /// Tells the shell how the members are reached.
    pub(super) fn tell_members(&mut self) {
        if std::mem::take(&mut self.members_changed) {
            self.effects.push(Effect::Members(self.addresses()));
        }
    }

    /// How the members are reached, as far as anything here tells: the applied state, the rest of
    /// the log, and servers that have introduced themselves in a later life than both know of. After a
    /// restart the state alone may be so old that none of its addresses leads anywhere.
    pub fn addresses(&self) -> BTreeMap<RaftId, Member> {
        let mut known = self.machine.members.clone();
        let applied = self.raft.status().applied;
        for entry in self.raft.entries().filter(|entry| entry.id.index > applied) {
            let Payload::Command(command) = &entry.payload else { continue };
            match Envelope::decode(command.as_bytes()) {
                Some(Envelope::Open(open)) => drop(known.insert(open.id, open.member)),
                Some(Envelope::Write(write)) => match Proposal::decode(write.command) {
                    Some(Proposal { change: Change::Add { id, peer_urls, .. }, .. }) => {
                        known.entry(id).or_default().peer_urls = peer_urls;
                    }
                    Some(Proposal { change: Change::Update { id, peer_urls }, .. }) => {
                        if let Some(member) = known.get_mut(&id) {
                            member.peer_urls = peer_urls;
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        for (id, hello) in &self.contacts {
            if known.get(id).is_none_or(|known| known.life < hello.member.life) {
                known.insert(*id, hello.member.clone());
            }
        }
        known
    }

    /// When a wait ends, or this server does.
    pub(super) fn settling_deadline(&self) -> Time {
        let waits = self.settling.iter().map(|waiting| waiting.deadline);
        waits.chain(self.left_at.map(|at| at + self.linger())).min().unwrap_or(Time::MAX)
    }

    /// The requests that wait.
    pub(super) fn fail_settling(&mut self) {
        for waiting in std::mem::take(&mut self.settling) {
            self.reply(waiting.token, Reply::Failed(Failure::Stopping));
        }
    }

    /// Servers that are to leave are heard until the configuration does not need them.
    pub(super) fn has_left(&self, id: RaftId) -> bool {
        let (_, config) = self.raft.configuration();
        self.machine.roles.removed.contains(&id) && !config.contains(id)
    }
}
