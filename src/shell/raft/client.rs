//! The requests of this node's clients, until they are answered.
//!
//! A command is numbered within this incarnation's session and kept until its outcome is
//! known. It is sent to the leader, again if another one leads, and again if nothing
//! comes back for a while (`requests`, `outcome`); a command that arrives twice happens once. A
//! session is opened before it is needed, as soon as there is a leader.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::{RawValue, to_raw_value};

use super::envelope::Envelope;
use super::pace::Pace;
use super::pending::{Ask, Pending};
use super::route::Route;
use crate::coverage::{self, Mark};
use crate::raft::{RaftId, Term};
use crate::time::Time;

/// Everything this node has asked of the cluster.
pub(super) struct Client {
    pub(super) id: RaftId,
    /// Tells this incarnation's session from others when it is opened.
    pub(super) nonce: u64,
    pub(super) session: Option<u64>,
    /// When the session was last asked for.
    pub(super) asked: Option<Time>,
    pub(super) next_number: u64,
    pub(super) next_tag: u64,
    pub(super) commands: BTreeMap<u64, Pending>,
    /// Queries and changes of membership, by tag.
    pub(super) others: BTreeMap<u64, Pending>,
    /// The requests that have to be sent, by number and by tag.
    pub(super) unsent_commands: BTreeSet<u64>,
    pub(super) unsent_others: BTreeSet<u64>,
    /// The term in which things were last sent, and the way they went.
    pub(super) seen: (Term, Option<Route>),
    /// When commands could last be sent.
    pub(super) ready_at: Time,
    pub(super) pace: Pace,
}

impl Client {
    pub(super) fn new(id: RaftId, nonce: u64) -> Client {
        Client {
            id,
            nonce,
            session: None,
            asked: None,
            next_number: 1,
            // Answers to an earlier incarnation must match nothing.
            next_tag: nonce,
            commands: BTreeMap::new(),
            others: BTreeMap::new(),
            unsent_commands: BTreeSet::new(),
            unsent_others: BTreeSet::new(),
            seen: (Term::ZERO, None),
            ready_at: Time::ZERO,
            pace: Pace::default(),
        }
    }

    /// Whether this incarnation's session is the one with this nonce.
    pub(super) fn has_nonce(&self, nonce: u64) -> bool {
        self.nonce == nonce
    }

    /// Whether a client waits for an answer.
    pub(super) fn has_requests(&self) -> bool {
        !self.commands.is_empty() || !self.others.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.commands.is_empty() && self.others.is_empty() && self.session.is_some()
    }

    /// The lowest number without an answer.
    pub(super) fn floor(&self) -> u64 {
        self.commands.first_key_value().map_or(self.next_number, |(number, _)| *number)
    }

    /// Has everything sent again, because there is another leader or another route.
    pub(super) fn resend_all(&mut self) {
        if self.commands.values().any(|pending| pending.sent.is_some()) {
            coverage::hit(Mark::CommandRetried);
        }
        self.plant_new_numbers();
        self.commands.values_mut().for_each(|pending| pending.leave(&mut self.pace));
        self.others.values_mut().for_each(|pending| pending.leave(&mut self.pace));
        self.unsent_commands = self.commands.keys().copied().collect();
        self.unsent_others = self.others.keys().copied().collect();
        self.asked = None;
    }

    /// The term in which the newest copy of this session's command was sent; `None` if it is
    /// answered, or if a plain copy was sent.
    pub(super) fn newest_copy(&self, session: u64, number: u64) -> Option<Term> {
        let is_own = self.session == Some(session);
        self.commands.get(&number).filter(|_| is_own).and_then(Pending::newest_copy)
    }

    /// Whether this session's command has no answer.
    pub(super) fn waits_for(&self, session: u64, number: u64) -> bool {
        self.session == Some(session) && self.commands.contains_key(&number)
    }

    /// A command as it will stand in the log.
    pub(super) fn envelope(&self, session: u64, number: u64) -> Option<Box<RawValue>> {
        let Ask::Command(command) = &self.commands.get(&number)?.ask else { return None };
        let (floor, origin) = (self.floor(), self.id);
        let envelope = Envelope { session, number, floor, origin, command };
        Some(to_raw_value(&envelope).expect("envelopes are plain data"))
    }
}
