//! Detours: a replica that cannot reach the leader is served by way of one that can.
//!
//! A cut need not part a cluster in two. In a *majorities ring* every node reaches a
//! majority, so some leader goes on; but a node that is not a neighbour of the leader
//! hears nothing from it, is refused when it stands for election itself, and could do
//! nothing for its clients although most of the cluster is within its reach. A link
//! that fails in one direction has the same effect.
//!
//! So a replica whose clients wait, and that knows no leader or gets no answers from it,
//! asks the others who hears one. A replica that does says so, and from then on *passes on*
//! requests to the leader and replies back. That is one hop more each way, never two:
//! a request that was passed on goes to the leader or nowhere, and replies that come back go to
//! the replica that asked. A command that was sent directly before and arrives after all, or
//! arrives by two ways, happens once, as always: sessions see to that. In good weather
//! no replica asks, and there is not one message more.
//!
//! The leader answers a replica by the way its last requests came. A replica that
//! passes on a query has followed the leader after the query was asked, so it vouches
//! for the leader as if the query were its own.
//!
//! Deliberately missing: detours for the log. A replica that does not hear the leader
//! stays behind until it does; it can be served but does not help to commit.

use std::time::Duration;

use super::machine::StateMachine;
use super::route::{Asked, Route};
use super::state::{RETRY, Replica, Started};
use super::wire::{OnBehalf, Replies, Requests, entry};
use crate::coverage::{self, Mark};
use crate::raft::{RaftId, Term};
use crate::time::Time;

/// How long a detour is used before the direct way is tried again.
const LASTS: Duration = Duration::from_secs(5);
/// How often the others are asked, at most.
const SEEK: Duration = Duration::from_millis(200);
/// How many heartbeats in a row may be missed by a replica that hears a leader.
const HEARTBEATS: u32 = 3;

impl Started {
    /// How requests get to the leader at the moment; `None` if no way is known.
    pub(super) fn route(&mut self, now: Time) -> Option<Route> {
        let (term, leader) = self.leader_seen();
        let detour = &mut self.detour;
        let is_avoided = leader.is_none_or(|leader| detour.avoid == Some((term, leader)));
        // If there is another leader, that one is tried first.
        detour.by = detour.by.filter(|(_, until)| is_avoided && now < *until);
        match detour.by {
            Some((by, _)) => Some(Route::By(by)),
            None => leader.map(Route::Direct),
        }
    }

    /// Asks who hears a leader, if requests wait that this replica gets no answers to.
    pub(super) fn seek(&mut self, now: Time) {
        let is_lost = self.route(now).is_none() && self.raft.term() > Term::ZERO;
        let waits = self.client.has_requests() && (is_lost || self.detour.unanswered);
        let is_asked = self.detour.asked.as_ref().is_some_and(|asked| now - asked.at < SEEK);
        if !waits || is_asked || self.raft.is_leader() {
            return;
        }
        self.detour.asked = Some(Asked { at: now, seen: self.leader_seen(), second_best: None });
        let members = self.raft.configuration().1.members();
        for member in members.into_iter().filter(|id| *id != self.id) {
            self.outbox.entry(member).or_default().seeks = true;
        }
    }

    /// Whether this replica can pass on the requests of `asker`.
    fn can_pass_on(&self, asker: RaftId, now: Time, heartbeat: Duration) -> bool {
        match self.raft.leader() {
            Some(leader) if leader == self.id => true,
            Some(leader) if leader != asker => {
                self.timing.heard(leader).is_some_and(|at| now - at <= heartbeat * HEARTBEATS)
            }
            _ => false,
        }
    }

    /// Takes note that `by` hears a leader, and has said so because this replica asked.
    fn found(&mut self, now: Time, by: RaftId) {
        let seen = self.leader_seen();
        // If this replica has learnt of a leader meanwhile, that one is tried first.
        let Some(asked) = self.detour.asked.as_mut().filter(|a| a.seen == seen) else { return };
        match seen.1 {
            // It is there, only slow; or the question or its answers got lost.
            Some(leader) if leader == by => {
                self.detour.note_answered();
                self.detour.by = None;
            }
            // The leader may answer as well, and then there is no need for a detour.
            Some(_) => asked.second_best = asked.second_best.or(Some(by)),
            None => self.take_detour(now, by),
        }
    }

    fn leader_seen(&self) -> (Term, Option<RaftId>) {
        (self.raft.term(), self.raft.leader())
    }

    /// Takes the detour that was offered if the leader itself has not answered.
    pub(super) fn consider_detour(&mut self, now: Time) {
        let patience = RETRY.max(Duration::from_millis(self.timing.rtt_ms(now)));
        let seen = self.leader_seen();
        let offered =
            self.detour.asked.as_ref().filter(|a| a.seen == seen && now - a.at >= patience);
        if let Some(by) = offered.and_then(|asked| asked.second_best) {
            self.take_detour(now, by);
        }
    }

    fn take_detour(&mut self, now: Time, by: RaftId) {
        coverage::hit(Mark::Detour);
        let (term, leader) = self.leader_seen();
        self.detour.avoid = leader.map(|leader| (term, leader));
        self.detour.by = Some((by, now + LASTS));
        self.detour.note_answered();
    }

    /// Where replies to `origin` go.
    pub(super) fn replies_to(&mut self, origin: RaftId) -> &mut Replies {
        let Some(by) = self.detour.routes.get(&origin).copied() else {
            return &mut self.outbox.entry(origin).or_default().replies;
        };
        entry(&mut self.outbox.entry(by).or_default().replies_back, origin)
    }
}

impl<S: StateMachine> Replica<S> {
    /// Handles the question of `from` who hears a leader, or its answer that it does.
    pub(super) fn guide(&mut self, now: Time, from: RaftId, seeks: bool, hears: bool) {
        let usual = Duration::from_millis(self.options.heartbeat_ms);
        let Some(started) = &mut self.started else { return };
        // A leader far away is silent for as long as it takes to get there and back.
        let heartbeat = usual.max(Duration::from_millis(started.timing.rtt_ms(now)));
        if seeks && started.can_pass_on(from, now, heartbeat) {
            started.outbox.entry(from).or_default().hears = true;
        }
        if hears {
            started.found(now, from);
        }
    }

    /// Takes requests that came from the replica that asks: to serve them, or to pass
    /// them on to the leader.
    pub(super) fn take_requests(
        &mut self,
        from: RaftId,
        term: Term,
        requests: Requests,
        pass_on: bool,
    ) {
        let Some(started) = &mut self.started else { return };
        if requests.is_empty() {
            return;
        }
        if started.raft.is_leader() {
            started.detour.routes.remove(&from);
            return self.serve(from, from, term, requests);
        }
        let leader = started.raft.leader().filter(|leader| pass_on && *leader != from);
        if let Some(leader) = leader {
            started
                .outbox
                .entry(leader)
                .or_default()
                .passed_on
                .push(OnBehalf { origin: from, content: requests });
        }
    }

    /// Takes requests that `by` passes on. Guard: they have taken their detour; if this
    /// is not the leader, they go no further.
    pub(super) fn take_passed_on(
        &mut self,
        by: RaftId,
        term: Term,
        passed_on: Vec<OnBehalf<Requests>>,
    ) {
        for OnBehalf { origin, content: requests } in passed_on {
            let Some(started) = &mut self.started else { return };
            if started.raft.is_leader() && origin != started.id {
                started.detour.routes.insert(origin, by);
                self.serve(origin, by, term, requests);
            }
        }
    }

    /// Hands replies to the replicas whose requests this one has passed on.
    pub(super) fn return_replies(&mut self, replies: Vec<OnBehalf<Replies>>) {
        let Some(started) = &mut self.started else { return };
        for OnBehalf { origin, content: replies } in replies {
            started.outbox.entry(origin).or_default().replies.extend(replies);
        }
    }

    /// Notes that replies have come from `from`.
    pub(super) fn note_answered(&mut self, now: Time, from: RaftId) {
        let Some(started) = &mut self.started else { return };
        started.detour.note_answered();
        // As long as no leader is heard there is nothing better.
        if let Some((by, until)) = &mut started.detour.by
            && *by == from
            && started.raft.leader().is_none()
        {
            *until = now + LASTS;
        }
    }
}
