//! Changing who takes part, and who leads (§6; thesis chapters 3.10 and 4).
//!
//! A change of voters is two entries: the joint configuration, and, when that is
//! committed, the new one alone, which the leader appends by itself. Each is in force
//! from its append. A leader that is not part of the new configuration leads until it
//! is committed, without counting itself, and then asks the first follower that has the
//! whole log to take over.
//!
//! A server that leaves is sent the log until it has the entry that says so, and then
//! dropped. If it cannot be reached it is dropped too, and told when it asks for votes:
//! the servers that it asks let the leader know. One that joins as a voter counts from the
//! first moment; add it as a learner and promote it when
//! [`Progress::matched`](super::Progress::matched) has come close.

use super::config::Change;
use super::ids::{LogId, RaftId};
use super::leader::Heartbeat;
use super::message::MessageKind;
use super::progress::Progress;
use super::quorum;
use super::role::{Role, Transfer};
use super::server::{ProposeError, Raft};
use super::types::Payload;
use crate::planted::guard;

/// Why a change of configuration was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// Nothing can be proposed here at the moment.
    Propose(ProposeError),
    /// This leader has not committed anything yet; soon it will have.
    TooEarly,
    /// Another change is not finished.
    InProgress,
    /// A quorum of the new configuration needs a server that abstains.
    Abstaining,
    /// The change makes no sense.
    Invalid(&'static str),
}

impl Raft {
    /// Begins a change of configuration, if this server leads.
    ///
    /// # Errors
    /// [`ChangeError`] says why nothing was begun.
    pub fn propose_change(&mut self, changes: &[Change]) -> Result<LogId, ChangeError> {
        let Role::Leader(leader) = &self.role else {
            return Err(ChangeError::Propose(ProposeError::NotLeader(self.leader)));
        };
        if leader.is_transferring() {
            return Err(ChangeError::Propose(ProposeError::Transferring));
        }
        // Guard: without an entry of its own term committed, a rival's uncommitted
        // configuration could still win, and its quorums need not meet this one's
        // (Ongaro's correction of 2015 to thesis §4.1).
        if !guard!(self.log.commit() >= leader.first_index, EarlyChange) {
            return Err(ChangeError::TooEarly);
        }
        let (index, config) = self.log.newest_config();
        // Guard: one change at a time.
        if *index > self.log.commit() || config.is_joint() {
            return Err(ChangeError::InProgress);
        }
        let new = config.change(changes).map_err(ChangeError::Invalid)?;
        // Guard: a server abstains until an entry is committed without it. From a configuration
        // whose quorums need it, none ever would be, and the change could not be completed.
        let counts = |id| leader.peers.get(&id).is_none_or(|peer| !peer.abstains);
        if !quorum::has_quorum(&new, counts) {
            return Err(ChangeError::Abstaining);
        }
        Ok(self.append_own(Payload::Config(new.into())))
    }

    /// Takes the next step once the configuration in force is committed.
    pub(super) fn continue_change(&mut self) {
        let (index, config) = self.log.newest_config().clone();
        if index > self.log.commit() {
            return;
        }
        if config.is_joint() {
            self.append_own(Payload::Config(config.leave_joint().into()));
        } else if !config.is_voter(self.id) {
            self.hand_over();
        }
    }

    /// Gives up leadership of a cluster that this server is no longer part of: as soon as
    /// a successor has the whole log, which would otherwise lose to those who have more of it.
    fn hand_over(&mut self) {
        let (config, until) =
            (self.config().clone(), self.now + self.options.election_timeout_ticks);
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.is_transferring() {
            return;
        }
        let voters = leader.peers.iter().filter(|(id, _)| config.is_voter(**id));
        let best = voters.max_by_key(|(_, peer)| (peer.matched, peer.next)).map(|(id, _)| *id);
        match best {
            Some(to) => {
                leader.transfer = Some(Transfer { to, until, asked: false });
                leader.lease_void = true;
                self.continue_transfer();
            }
            None => self.become_follower(self.hard.term, None),
        }
    }

    /// Whether this server leads a cluster that it has left, and only hands it over.
    pub(super) fn has_left(&self) -> bool {
        let (index, config) = self.log.config();
        self.leads() && *index <= self.log.commit() && !config.is_voter(self.id)
    }

    /// Drops a follower that has left and knows it.
    pub(super) fn dismiss(&mut self, id: RaftId) {
        let (commit, in_force) = (self.log.commit(), self.log.config().0);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get(&id) else { return };
        if peer.departing && peer.matched >= in_force && commit >= in_force {
            self.send_to(id, Heartbeat::AtOnce);
            if let Role::Leader(leader) = &mut self.role {
                leader.peers.remove(&id);
            }
        }
    }

    /// A server asks for votes. If it is not a member, it was out of reach when it left: it
    /// still believes that it is one and would ask for ever. The leader must hear of it;
    /// it may itself be no member of the configuration that the server knows, and then
    /// is not among those it asks.
    pub(super) fn notice_outsider(&mut self, id: RaftId) {
        if self.config().contains(id) {
            return;
        }
        match self.leader {
            Some(leader) if leader == self.id => self.inform_outsider(id),
            Some(leader) if leader != id && self.is_leader_alive() => {
                self.send(leader, MessageKind::Outsider { id })
            }
            _ => {}
        }
    }

    /// Sends the log once more to a server that does not know that it left.
    pub(super) fn inform_outsider(&mut self, id: RaftId) {
        let (now, next) = (self.now, self.log.last().index.next());
        let is_outsider = id != self.id && !self.config().contains(id);
        if let Role::Leader(leader) = &mut self.role
            && is_outsider
        {
            let peer = leader.peers.entry(id).or_insert_with(|| Progress::new(next, now));
            peer.departing = true;
            peer.last_heard = now;
        }
    }

    /// Hands leadership to `to`, as soon as that server has the whole log. Nothing can
    /// be proposed until it has, or until an election timeout has passed.
    ///
    /// # Errors
    /// If this server does not lead, or `to` cannot.
    pub fn transfer_leadership(&mut self, to: RaftId) -> Result<(), ProposeError> {
        let config = self.config().clone();
        let until = self.now + self.options.election_timeout_ticks;
        let known = self.leader;
        let Role::Leader(leader) = &mut self.role else {
            return Err(ProposeError::NotLeader(known));
        };
        if to == self.id || !config.is_voter(to) || !leader.peers.contains_key(&to) {
            return Err(ProposeError::NotLeader(Some(self.id)));
        }
        leader.transfer = Some(Transfer { to, until, asked: false });
        // The question may arrive long after this server has given up waiting, so the
        // promises behind a lease are void for the rest of the term.
        leader.lease_void = true;
        self.continue_transfer();
        Ok(())
    }

    /// Asks the successor to take over, once it has everything.
    pub(super) fn continue_transfer(&mut self) {
        let last = self.log.last().index;
        let (has_left, config) = (self.has_left(), self.config().clone());
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        if has_left && !transfer.asked {
            // Anybody will do.
            let mut voters = leader.peers.iter().filter(|(id, _)| config.is_voter(**id));
            let first = voters.find(|(_, peer)| peer.matched == last);
            transfer.to = first.map_or(transfer.to, |(id, _)| *id);
        }
        let complete = leader.peers.get(&transfer.to).is_some_and(|p| p.matched == last);
        if complete && !transfer.asked {
            transfer.asked = true;
            let to = transfer.to;
            self.send(to, MessageKind::TimeoutNow);
            if has_left {
                self.become_follower(self.hard.term, None);
            }
        }
    }
}
