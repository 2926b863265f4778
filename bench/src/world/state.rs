//! The state of a test in progress: all parts that the phases work with.

use std::collections::VecDeque;

use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;

use super::clients::Clients;
use super::event::{Event, Flight, Phase};
use super::journal::Journal;
use super::lifecycle::Lifecycle;
use super::membership::Membership;
use super::nemesis::Nemesis;
use super::net::Network;
use super::outage::Outage;
use super::queue::Queue;
use super::script::{Course, Script};
use crate::backend::{Cluster, NodeFault};
use crate::config::RunConfig;
use crate::directory::Directory;
use crate::load::Load;
use crate::service::Services;

/// A fault of a node, and which node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Who.
    pub node: NodeId,
    /// The fault of the node.
    pub fault: NodeFault,
    /// The last lines it wrote to its log.
    pub last_lines: Vec<String>,
    /// The last lines it printed on its stdout, if it has one.
    pub last_printed: Vec<String>,
}

/// Something a node did that is not a fault, but explains why it was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which node.
    pub node: NodeId,
    /// Its first odd act; a sentence without its subject.
    pub text: String,
}

/// A test in progress.
pub struct World<C> {
    pub(super) config: RunConfig,
    pub(super) cluster: C,
    pub(super) now: Time,
    pub(super) queue: Queue<Event>,
    pub(super) network: Network,
    pub(super) directory: Directory,
    pub(super) services: Services,
    pub(super) clients: Clients,
    pub(super) nemesis: Nemesis,
    pub(super) journal: Journal,
    pub(super) lifecycle: Lifecycle,
    pub(super) membership: Membership,
    pub(super) outage: Outage,
    /// The messages that wait on stalled links, oldest first.
    pub(super) stalled: Vec<Flight>,
    pub(super) phase: Phase,
    pub(super) course: Course,
    /// The acts and operations so far, if they are to be written down.
    pub(super) written: Script,
    /// When the phase without faults began.
    pub(super) quiet_from: Option<Time>,
    /// The earliest time at which the generator may issue its next operation.
    pub(super) next_op_at: Time,
    /// The time for which a `Generate` is queued.
    pub(super) generate_at: Option<Time>,
    /// Messages that were sent and are to be routed before anything else happens.
    pub(super) outgoing: VecDeque<Packet>,
    /// How many messages were sent; the next one's number, as Maelstrom counts.
    pub(super) messages: u64,
    /// Acts of the nemesis so far.
    pub(super) acts: u64,
    pub(super) blames: Vec<Blame>,
    pub(super) hints: Vec<Hint>,
    pub(super) violation: Option<String>,
    pub(super) interrupted: bool,
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

    /// Lets the run take this course; to be called before it begins.
    #[must_use]
    pub fn on(mut self, course: Course) -> World<C> {
        self.course = course;
        self
    }
}
