//! A request of this node's clients, until it is answered.

use serde_json::value::RawValue;

use super::membership::Goal;
use super::pace::Pace;
use crate::message::Request;
use crate::raft::Term;
use crate::time::Time;

/// A request that has not been answered.
pub(super) struct Pending {
    pub(super) request: Request,
    pub(super) ask: Ask,
    pub(super) since: Time,
    /// Refuse it only in doubt, whatever is known.
    pub(super) vague: bool,
    /// When it was last sent; `None` if it has never left this node.
    pub(super) sent: Option<Time>,
    /// How often it was sent.
    pub(super) copies: u32,
    /// It is a command, and on the way to whoever is believed to lead.
    on_the_way: bool,
}

impl Pending {
    pub(super) fn new(request: Request, ask: Ask, since: Time, vague: bool) -> Pending {
        Pending { request, ask, since, vague, sent: None, copies: 0, on_the_way: false }
    }

    /// How many bytes it takes to send it, about.
    pub(super) fn size_bytes(&self) -> usize {
        match &self.ask {
            Ask::Command(command) => command.get().len(),
            Ask::Query(_) | Ask::Change { .. } => 0,
        }
    }

    pub(super) fn send(&mut self, now: Time, pace: &mut Pace) {
        self.sent = Some(now);
        self.copies += 1;
        if !std::mem::replace(&mut self.on_the_way, true) {
            pace.sent(self.size_bytes());
        }
    }

    pub(super) fn leave(&mut self, pace: &mut Pace) {
        if std::mem::replace(&mut self.on_the_way, false) {
            pace.left(self.size_bytes());
        }
    }
}

/// What is asked.
pub(super) enum Ask {
    Command(Box<RawValue>),
    Query(Box<RawValue>),
    /// A change of members, what it is answered with when it has succeeded, and the terms
    /// in which it was sent.
    Change {
        done: &'static str,
        goal: Goal,
        sent_in: Vec<Term>,
    },
}
