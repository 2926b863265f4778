//! The world of a test: an event loop over time, the same for both backends.
//!
//! Everything that will happen is in one queue, ordered by time. The simulation
//! pops it as fast as it can; the process backend waits for the real clock between
//! two events and feeds in what the children print. The world itself
//! never knows which of the two it is in.
//!
//! A run goes through phases: every node gets its `init`, then what the workload
//! prepares (broadcast's topology), then the test begins: operations at the given
//! rate while the nemesis does its work. Workloads that end with last operations
//! are healed, left alone for ten seconds, and asked once more.

mod addresses;
pub mod clients;
pub mod journal;
mod lifecycle;
pub mod links;
mod members;
mod membership;
pub mod nemesis;
pub mod net;
mod outage;
mod phases;
pub mod queue;
pub mod script;
pub mod shapes;

use std::collections::VecDeque;
use std::time::Duration;

use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;

use crate::backend::{Cluster, NodeFault, Outbox, Output, shorten};
use crate::config::RunConfig;
use crate::directory::{Directory, Party};
use crate::history::History;
use crate::load::Load;
use crate::service::Services;
use addresses::Standing;
use clients::{Clients, Outgoing, RequestId};
use journal::Journal;
use lifecycle::Lifecycle;
use membership::Membership;
use nemesis::Nemesis;
use net::{Counts, Network};
use outage::Outage;
pub use phases::Phase;
use queue::Queue;
use script::{Course, Script};

/// Something that is going to happen.
enum Event {
    /// A message comes out of the network's queue.
    Deliver(Box<Flight>),
    /// A node asked to be woken.
    Wake(usize),
    /// A client's patience ends.
    Timeout(RequestId),
    /// The generator is asked again, unless it has been since.
    Generate(Time),
    /// A flow of the nemesis acts.
    Nemesis(usize),
    /// An act of the script is due.
    Scripted(usize),
    /// A change of members is asked for again, unless it was answered.
    Membership(u64),
    /// A node should have answered its init, or preparation, by now.
    Deadline(u64),
    /// The current phase has lasted long enough.
    PhaseEnd(Phase),
}

/// A message on its way.
struct Flight {
    id: u64,
    src: Party,
    dest: Party,
    packet: Packet,
}

/// A fault of a node, and which node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Who.
    pub node: NodeId,
    /// What it did.
    pub fault: NodeFault,
    /// The last lines it wrote to its log.
    pub last_lines: Vec<String>,
    /// The last lines it printed on its stdout, if it has one.
    pub last_printed: Vec<String>,
}

/// Something a node did that is no fault, but explains why it was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which node.
    pub node: NodeId,
    /// What it did first; a sentence without its subject.
    pub text: String,
}

/// A test in progress.
pub struct World<C> {
    config: RunConfig,
    cluster: C,
    now: Time,
    queue: Queue<Event>,
    network: Network,
    directory: Directory,
    services: Services,
    clients: Clients,
    nemesis: Nemesis,
    journal: Journal,
    lifecycle: Lifecycle,
    membership: Membership,
    outage: Outage,
    /// What waits on a stalled link, oldest first.
    stalled: Vec<Flight>,
    phase: Phase,
    course: Course,
    /// What happened so far, if it is to be written down.
    written: Script,
    /// When the phase without faults began.
    quiet_from: Option<Time>,
    /// The earliest time at which the generator may issue its next operation.
    next_op_at: Time,
    /// The time for which a `Generate` is queued.
    generate_at: Option<Time>,
    /// Messages that were sent and are to be routed before anything else happens.
    outgoing: VecDeque<Packet>,
    /// How many messages were sent; the next one's number, as Maelstrom counts.
    messages: u64,
    /// Acts of the nemesis so far.
    acts: u64,
    blames: Vec<Blame>,
    hints: Vec<Hint>,
    violation: Option<String>,
    interrupted: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Time since the operations began, on the world's clock.
    pub since_start: Duration,
    /// Events in the history so far.
    pub events: usize,
}

/// What is left when a run is over.
pub struct Report {
    /// What the clients saw.
    pub history: History,
    /// What the network counted.
    pub counts: Counts,
    /// Which nodes broke the rules of the protocol, and how.
    pub blames: Vec<Blame>,
    /// What explains why nodes were not understood, the first time for each node.
    pub hints: Vec<Hint>,
    /// The white-box invariant that broke, if one did.
    pub violation: Option<String>,
    /// Whether the run was ended before its time.
    pub interrupted: bool,
    /// What the cluster answered about its members that is not so.
    pub member_lies: Vec<String>,
    /// What happened, if it was to be written down; else empty.
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
}

impl<C: Cluster> World<C> {
    /// A world at time zero; [`World::begin`] starts it.
    pub fn new(
        config: RunConfig,
        load: Box<dyn Load>,
        services: Services,
        cluster: C,
        journal: Journal,
    ) -> World<C> {
        World {
            cluster,
            now: Time::ZERO,
            queue: Queue::new(),
            network: Network::new(&config),
            directory: Directory::new(&config.nodes, &services.names()),
            services,
            clients: Clients::new(&config, load),
            nemesis: Nemesis::new(&config),
            journal,
            lifecycle: Lifecycle::new(config.nodes.len()),
            membership: Membership::new(config.seed),
            outage: Outage::default(),
            stalled: Vec::new(),
            phase: Phase::Init,
            course: Course::Drawn,
            written: Script::default(),
            quiet_from: None,
            next_op_at: Time::ZERO,
            generate_at: None,
            outgoing: VecDeque::new(),
            messages: 0,
            acts: 0,
            blames: Vec::new(),
            hints: Vec::new(),
            violation: None,
            interrupted: false,
            config,
        }
    }

    /// When the next thing happens; none once the run is over.
    pub fn next_time(&self) -> Option<Time> {
        if self.is_over() { None } else { self.queue.next_time() }
    }

    /// Whether the run is over: done, broken by a violated invariant, or unable to begin.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over || self.violation.is_some()
    }

    /// Ends the run here. What is open stays open, and is in doubt.
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
            Event::PhaseEnd(phase) => {
                if phase == self.phase {
                    self.end_phase();
                }
            }
        }
        self.settle();
    }

    /// The nodes; the process backend asks them how they ended.
    pub fn cluster_mut(&mut self) -> &mut C {
        &mut self.cluster
    }

    /// Takes in what nodes did on their own, at real time `now` (process backend).
    pub fn take_in(&mut self, now: Time, out: Outbox) {
        self.now = self.now.max(now);
        self.absorb(out);
        self.settle();
    }

    /// The end: what the run leaves behind.
    pub fn into_report(mut self) -> (Report, std::io::Result<()>) {
        let journal = self.journal.finish();
        let origin = self.clients.origin();
        let quiet_from = self.quiet_from.map(|at| (at - origin).as_nanos() as i64);
        let report = Report {
            quiet_from,
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

    /// Routes everything that was sent, and looks at the nodes.
    fn settle(&mut self) {
        self.route_all();
        self.journal.follow(self.clients.history());
        if self.violation.is_none() {
            self.violation = self.cluster.violation();
        }
        for members in self.cluster.new_members() {
            self.membership.note(self.now, members);
        }
        self.check_phase();
    }

    fn route_all(&mut self) {
        while let Some(packet) = self.outgoing.pop_front() {
            self.route(packet);
        }
    }

    fn with_cluster(&mut self, f: impl FnOnce(&mut C, Time, &mut Outbox)) {
        let mut out = Outbox::default();
        f(&mut self.cluster, self.now, &mut out);
        self.absorb(out);
    }

    fn absorb(&mut self, out: Outbox) {
        for (node, output) in out.outputs {
            match output {
                Output::Send(packet) => self.accept(node, packet),
                Output::Fault(fault) => self.blame(node, fault),
            }
        }
        for (node, at) in out.wakes {
            self.queue.push(at.max(self.now), Event::Wake(node));
        }
    }

    /// Checks what a node sends, as Maelstrom does: after one message to or from an
    /// address that does not exist the node is mute. It may well send in the name of
    /// another node or of a client, as nodes that forward requests do.
    fn accept(&mut self, node: usize, packet: Packet) {
        if self.lifecycle.is_mute(node) {
            return;
        }
        let body = || shorten(&packet.body, 200);
        // Nearly all messages are sent in the node's own name.
        if packet.src != self.config.nodes[node] && self.standing(&packet.src) == Standing::Unknown
        {
            let (src, body) = (packet.src.to_string(), body());
            return self.blame(node, NodeFault::UnknownSource { src, body });
        }
        for address in [&packet.dest, &packet.src] {
            if let Standing::Closed(asked) = self.standing(address)
                && !self.lifecycle.is_excused(node, asked)
            {
                let (client, body) = (address.to_string(), body());
                return self.blame(node, NodeFault::LateReply { client, body });
            }
        }
        if self.standing(&packet.dest) == Standing::Unknown {
            let (dest, body) = (packet.dest.to_string(), body());
            return self.blame(node, NodeFault::UnknownDestination { dest, body });
        }
        match self.lifecycle.count_message(node, self.now) {
            Ok(()) => self.outgoing.push_back(packet),
            Err(flood) => self.blame(node, flood),
        }
    }

    /// Whether an address exists. Nodes and services are always there.
    fn standing(&self, address: &NodeId) -> Standing {
        match self.directory.find(address) {
            Some(Party::Client) => self.clients.standing(address, self.now),
            Some(Party::Node(_) | Party::Service(_)) => Standing::Open,
            None => Standing::Unknown,
        }
    }

    fn blame(&mut self, node: usize, fault: NodeFault) {
        if self.lifecycle.is_mute(node) {
            return;
        }
        self.lifecycle.mute(node);
        self.cluster.mute(node);
        let last_lines = self.cluster.last_lines(node);
        let last_printed = self.cluster.printed(node).unwrap_or_default().lines;
        let name = self.config.nodes[node].clone();
        self.blames.push(Blame { node: name, fault, last_lines, last_printed });
        self.give_up_on(node);
    }

    /// Notes why a message to a client was taken for no answer, once for each node.
    fn note_stray(&mut self, packet: &Packet, why: Option<String>) {
        let Some(why) = why else { return };
        let is_known = self.hints.iter().any(|hint| hint.node == packet.src);
        if !is_known && matches!(self.directory.find(&packet.src), Some(Party::Node(_))) {
            let text = format!("sent {} {why}: {}", packet.dest, shorten(&packet.body, 200));
            self.hints.push(Hint { node: packet.src.clone(), text });
        }
    }

    fn route(&mut self, packet: Packet) {
        let (Some(src), Some(dest)) =
            (self.directory.find(&packet.src), self.directory.find(&packet.dest))
        else {
            unreachable!("both addresses were checked when the message was accepted");
        };
        let id = self.messages;
        self.messages += 1;
        self.journal.note(self.now, "send", id, &packet);
        let (first, second) = self.network.send(self.now, src, dest);
        if let Some(delay) = second {
            let flight = Flight { id, src, dest, packet: packet.clone() };
            self.queue.push(self.now + delay, Event::Deliver(Box::new(flight)));
        }
        let Some(delay) = first else {
            return self.journal.note(self.now, "drop", id, &packet);
        };
        let flight = Flight { id, src, dest, packet };
        self.queue.push(self.now + delay, Event::Deliver(Box::new(flight)));
    }

    fn arrive(&mut self, flight: Flight) {
        if self.network.is_stalled(flight.src, flight.dest) {
            return self.stalled.push(flight);
        }
        if !self.network.arrives(flight.src, flight.dest) {
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
