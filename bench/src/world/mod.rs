//! The world of a test: an event loop over time, the same for both backends.
//!
//! Everything that will happen is in one queue, ordered by time. The simulation
//! pops it as fast as it can; the process backend waits for the real clock between
//! two events and feeds in the output of the children. The world itself
//! never knows which of the two it is in.
//!
//! A run goes through phases: every node gets its `init`, then the workload's preparation
//! (broadcast's topology), then the test begins: operations at the given rate while the nemesis
//! does its work. Workloads that end with last operations are healed, left alone for ten seconds,
//! and asked once more.

mod acts;
mod addresses;
pub mod clients;
mod event;
pub mod journal;
mod lifecycle;
pub mod links;
mod member_requests;
mod members;
mod membership;
pub mod nemesis;
pub mod net;
mod nodes;
mod outage;
mod phases;
mod post;
pub mod queue;
pub mod script;
pub mod shapes;
mod state;

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::time::Time;

use crate::backend::{Cluster, Outbox};
use crate::directory::Party;
use crate::history::History;
use clients::Outgoing;
use event::{Event, Flight};
use net::Counts;
use script::Script;

pub use event::Phase;
pub use state::{Blame, Hint, World};

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The phase of the run.
    pub phase: Phase,
    /// Time since the operations began, on the world's clock.
    pub since_start: Duration,
    /// Events in the history so far.
    pub events: usize,
}

/// The results of a run.
pub struct Report {
    /// The history as the clients saw it.
    pub history: History,
    /// The messages that the network counted.
    pub counts: Counts,
    /// Which nodes broke the rules of the protocol, and how.
    pub blames: Vec<Blame>,
    /// The hints why nodes were not understood, the first for each node.
    pub hints: Vec<Hint>,
    /// The white-box invariant that broke, if one did.
    pub violation: Option<String>,
    /// Whether the run was ended before its time.
    pub interrupted: bool,
    /// The answers of the cluster about its members that are not true.
    pub member_lies: Vec<String>,
    /// The acts and operations of the run, if they were to be written down; else empty.
    pub script: Script,
    /// How many times the nemesis acted.
    pub acts: u64,
    /// How long the run took, on the world's clock.
    pub duration: Time,
    /// When the operations began, on the world's clock.
    pub origin: Time,
    /// When the phase without faults began, if there was one, in nanoseconds since
    /// the operations began.
    pub quiet_from: Option<i64>,
    /// The nodes, by index, that were out of reach in that phase all the same.
    pub out_of_reach: Vec<usize>,
    /// The nodes, by index, that became voters after they had been none, and when each did so last, in
    /// nanoseconds since the operations began.
    pub returned: BTreeMap<usize, i64>,
}

impl<C: Cluster> World<C> {
    /// When the next thing happens; none once the run is over.
    pub fn next_time(&self) -> Option<Time> {
        if self.is_over() { None } else { self.queue.next_time() }
    }

    /// Whether the run is over: done, broken by a violated invariant, or unable to begin.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over || self.violation.is_some()
    }

    /// Ends the run here. Open operations stay open, and indeterminate.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        self.phase = Phase::Over;
    }

    /// How far the run is, for a display.
    pub fn progress(&self) -> Progress {
        let since_start = self.now - self.clients.origin();
        Progress { phase: self.phase, since_start, events: self.clients.history().len() }
    }

    /// Lets the next thing happen. In the process backend `now` is the real time,
    /// which may be later than planned; the simulation passes the planned time.
    pub fn step(&mut self, now: Time) {
        let Some((_, event)) = self.queue.pop() else {
            self.phase = Phase::Over;
            return;
        };
        self.now = self.now.max(now);
        match event {
            Event::Deliver(flight) => self.arrive(*flight),
            Event::Wake(node) => self.with_cluster(|c, now, out| c.wake(now, node, out)),
            Event::Timeout(id) => {
                let out = self.clients.time_out(self.now, id);
                self.client_turn(out);
            }
            Event::Generate(at) => {
                if self.generate_at == Some(at) {
                    self.generate_at = None;
                    self.generate();
                }
            }
            Event::Nemesis(flow) => self.act(flow),
            Event::Scripted(index) => self.act_by_script(index),
            Event::Membership(attempt) => self.membership_due(attempt),
            Event::Deadline(attempt) => self.miss_deadline(attempt),
            Event::PhaseEnd(phase) => self.phase_due(phase),
        }
        self.settle();
    }

    /// The nodes; the process backend asks them how they ended.
    pub fn cluster_mut(&mut self) -> &mut C {
        &mut self.cluster
    }

    /// Takes in the outputs of nodes that came on their own, at real time `now` (process backend).
    pub fn take_in(&mut self, now: Time, out: Outbox) {
        self.now = self.now.max(now);
        self.absorb(out);
        self.settle();
    }

    /// The end: the report of the run.
    pub fn into_report(mut self) -> (Report, std::io::Result<()>) {
        let journal = self.journal.finish();
        let origin = self.clients.origin();
        let quiet_from = self.quiet_from.map(|at| (at - origin).as_nanos() as i64);
        let since_origin = |at: Time| (at - origin).as_nanos() as i64;
        let returned = self.membership.returned().into_iter();
        let report = Report {
            quiet_from,
            returned: returned.map(|(node, at)| (node, since_origin(at))).collect(),
            out_of_reach: self.outage.into_lasting(),
            counts: self.network.counts(),
            blames: self.blames,
            hints: self.hints,
            violation: self.violation,
            interrupted: self.interrupted,
            member_lies: self.membership.lies(),
            script: self.written,
            acts: self.acts,
            origin,
            duration: self.now,
            history: self.clients.into_history(),
        };
        (report, journal)
    }

    fn arrive(&mut self, flight: Flight) {
        if self.network.is_stalled(flight.src, flight.dest) {
            return self.stalled.push(flight);
        }
        if !self.network.arrives(flight.src, flight.dest) || self.is_lost_to_clients(&flight) {
            return self.journal.note(self.now, "drop", flight.id, &flight.packet);
        }
        let admitted = match flight.dest {
            Party::Node(node) => self.lifecycle.admit(node, flight),
            _ => Some(flight),
        };
        let Some(Flight { id, src, dest, packet }) = admitted else { return };
        self.network.received(src, dest);
        self.journal.note(self.now, "recv", id, &packet);
        match dest {
            Party::Node(node) => {
                self.with_cluster(|c, now, out| c.deliver(now, node, id, packet, out));
            }
            Party::Service(index) => {
                self.outgoing.extend(self.services.handle(index, &packet));
            }
            Party::Client => {
                if self.membership.expects(&packet.dest) {
                    return self.membership_answered(packet);
                }
                if self.lifecycle.expects(&packet.dest) {
                    return self.answered(&packet);
                }
                let out = self.clients.receive(self.now, &packet).unwrap_or_else(|why| {
                    self.note_stray(&packet, Some(why));
                    None
                });
                self.client_turn(out);
            }
        }
    }

    /// Whether a fault between clients and nodes takes a message. The bench's own requests, which
    /// start nodes and change members, are no clients'.
    fn is_lost_to_clients(&self, Flight { src, dest, packet, .. }: &Flight) -> bool {
        let is_own = |address| self.lifecycle.expects(address) || self.membership.expects(address);
        self.network.is_lost_to_clients(*src, *dest)
            && !is_own(&packet.src)
            && !is_own(&packet.dest)
    }

    /// After a client did something: its next request goes out, or its worker is
    /// free and the generator may have been waiting for that.
    fn client_turn(&mut self, out: Option<Outgoing>) {
        match out {
            Some(Outgoing { packet, id }) => {
                self.outgoing.push_back(packet);
                self.queue.push(self.now + self.clients.timeout, Event::Timeout(id));
            }
            None => self.generate(),
        }
    }
}
