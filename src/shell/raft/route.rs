//! Routes to the leader (see `detour`).

use std::collections::BTreeMap;

use crate::raft::{RaftId, Term};
use crate::time::Time;

/// How requests get to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the leader itself.
    Direct(RaftId),
    /// To a replica that hears a leader and passes them on.
    By(RaftId),
}

/// A question to the others: who hears a leader?
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) at: Time,
    /// The term and the leader, as far as it is known, when it was asked.
    pub(super) seen: (Term, Option<RaftId>),
    /// A replica that hears that leader, which this one should be able to reach itself.
    pub(super) second_best: Option<RaftId>,
}

/// A replica's knowledge of ways around a cut.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// The replica that passes this one's requests on, and until when.
    pub(super) by: Option<(RaftId, Time)>,
    /// The leader that does not answer, for whose sake there is a detour; none if the
    /// reason was that no leader is known.
    pub(super) avoid: Option<(Term, RaftId)>,
    /// Requests stay without an answer.
    pub(super) unanswered: bool,
    /// The question that the others were last asked.
    pub(super) asked: Option<Asked>,
    /// At a leader: by way of whom the requests of others have come.
    pub(super) routes: BTreeMap<RaftId, RaftId>,
}

impl Detour {
    /// Notes that a request had to be sent again.
    pub(super) fn note_unanswered(&mut self) {
        self.unanswered = true;
    }

    /// Notes that replies have come.
    pub(super) fn note_answered(&mut self) {
        self.unanswered = false;
        self.asked = None;
    }
}
