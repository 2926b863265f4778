//! A request of this node's clients, until it is answered.

use serde_json::value::RawValue;

use super::changes::Goal;
use super::pace::Pace;
use crate::message::Request;
use crate::raft::Term;
use crate::time::Time;

/// A request that has not been answered.
pub(super) struct Pending {
    pub(super) request: Request,
    pub(super) ask: Ask,
    pub(super) since: Time,
    /// The most that its client may be told if it is given up.
    pub(super) certainty: Certainty,
    /// When it was last sent; `None` if it has never left this node.
    pub(super) sent: Option<Time>,
    /// How often it was sent.
    pub(super) copies: u32,
    /// A copy was not answered in time.
    pub(super) is_late: bool,
    /// The newest term in which a copy that names its term was sent.
    sent_in: Option<Term>,
    /// A copy was sent that names no term.
    is_plain: bool,
    /// It is a command, and on the way to the presumed leader.
    on_the_way: bool,
}

impl Pending {
    pub(super) fn new(request: Request, ask: Ask, since: Time, certainty: Certainty) -> Pending {
        Pending {
            request,
            ask,
            since,
            certainty,
            sent: None,
            copies: 0,
            is_late: false,
            sent_in: None,
            is_plain: false,
            on_the_way: false,
        }
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

    /// The term that the copy names which is sent now, to the leader of the term `label`;
    /// `None` if it names none. After one that names none, none does.
    pub(super) fn label(&mut self, label: Option<Term>) -> Option<Term> {
        self.is_plain |= label.is_none();
        self.sent_in = self.sent_in.max(label);
        label.filter(|_| !self.is_plain)
    }

    /// The term in which the newest copy was sent, if all copies named theirs.
    pub(super) fn newest_copy(&self) -> Option<Term> {
        self.sent_in.filter(|_| !self.is_plain)
    }

    pub(super) fn leave(&mut self, pace: &mut Pace) {
        if std::mem::replace(&mut self.on_the_way, false) {
            pace.left(self.size_bytes());
        }
    }
}

/// How certain it is that a request never takes effect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    NeverHappens,
    Unknown,
}

/// The content of a request.
pub(super) enum Ask {
    Command(Box<RawValue>),
    Query(Box<RawValue>),
    /// A change of members, the type of its answer when it has succeeded, and the terms
    /// in which it was sent.
    Change {
        done: &'static str,
        goal: Goal,
        sent_in: Vec<Term>,
    },
}
