//! The engine: the times, addressees and contents of messages.
//!
//! This file holds the state and the clock side (rounds, acknowledgements, retries,
//! suspicion); [`super::send`] composes messages, [`super::receive`] takes them in.

use std::sync::Arc;
use std::time::Duration;

use super::lattice::Lattice;
use super::overlay::{Overlay, diameter};
use super::pace::{Beat, Pace, RETRIES};
use super::peer::Peer;
use super::record::{Record, Snapshot};
use super::send_mode::SendMode;
use super::store::Store;
use super::version::{Author, Boot, Rank, Versions};
use super::wire::Message;
use crate::coverage::{self, Mark};
use crate::time::Time;

/// How an engine behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The shape of the network.
    pub overlay: Overlay,
    /// How long a delta may take to reach every node in good weather.
    pub latency_budget: Duration,
    /// How many deltas to keep for peers that lag; beyond that they get the whole state.
    pub keep_deltas: usize,
}

impl Default for Options {
    fn default() -> Options {
        let latency_budget = Duration::from_millis(650);
        Options { overlay: Overlay::Hub, latency_budget, keep_deltas: 8192 }
    }
}

/// Something to be done, in the order in which the engine decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<L> {
    /// Remember this before anything that follows happens.
    Persist(Record<L>),
    /// Send this.
    Send(Rank, Message<L>),
}

/// A round that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) at: Time,
    /// The next does not follow before this; leaves were promised so.
    pub(super) next: Time,
}

/// One node's replica of a lattice.
#[derive(Clone, Debug)]
pub struct Engine<L> {
    pub(super) rank: Rank,
    pub(super) boot: Boot,
    pub(super) store: Store<L>,
    /// By rank; this node's own entry stays empty.
    pub(super) peers: Vec<Peer>,
    pub(super) pace: Pace,
    /// Neighbours, if the overlay is fixed.
    pub(super) neighbours: Option<Vec<Rank>>,
    /// Whether a given topology replaces the hub.
    pub(super) takes_topology: bool,
    /// Until some peer was heard in this incarnation, it is not known whether anything was
    /// lost with the last one.
    pub(super) joining: bool,
    /// When a hub asks those that have not spoken to it: a hub that lost its memory
    /// cannot know who has something for it.
    survey_at: Option<Time>,
    /// When to send the new deltas.
    pub(super) round_at: Option<Time>,
    pub(super) last_round: Option<Round>,
    /// The hub's rhythm.
    pub(super) beat: Option<Beat>,
    /// The versions as one shared value, for the messages in flight.
    pub(super) shared: Arc<Versions>,
    pub(super) outputs: Vec<Output<L>>,
}

impl<L: Lattice> Engine<L> {
    /// Node `rank` of `nodes`, in the incarnation `boot`, which no incarnation before ever had.
    ///
    /// # Panics
    /// If `rank` is not one of the nodes.
    pub fn new(rank: Rank, nodes: u16, boot: Boot, config: &Options) -> Engine<L> {
        assert!(rank.0 < nodes, "a node is one of its cluster");
        let mut pace = Pace::new(config.latency_budget);
        let shape = config.overlay.shape(rank, nodes);
        if let Some(shape) = &shape {
            pace.set_hops(shape.hops);
        }
        Engine {
            rank,
            boot,
            store: Store::new(Author { rank, boot }, config.keep_deltas),
            peers: vec![Peer::default(); usize::from(nodes)],
            pace,
            neighbours: shape.map(|shape| shape.neighbours),
            takes_topology: config.overlay == Overlay::Topology,
            joining: nodes > 1,
            survey_at: None,
            round_at: None,
            last_round: None,
            beat: None,
            shared: Arc::default(),
            outputs: Vec::new(),
        }
    }

    /// Takes over the memory of an earlier incarnation. To be called before
    /// [`Engine::start`], first with the snapshot, then with the records after it.
    pub fn restore(&mut self, snapshot: Snapshot<L>) {
        self.store.restore(snapshot);
    }

    /// As [`Engine::restore`], for one record.
    pub fn replay(&mut self, record: Record<L>) {
        self.store.replay(record);
    }

    /// Begins: asks the hub for the deltas that this node has missed.
    pub fn start(&mut self, now: Time) {
        if let Some(target) = self.join_target() {
            self.send(now, target, SendMode::ASK);
            // If all start together, every node speaks to the hub before that.
            self.survey_at = Some(now + self.pace.answer());
        }
        self.schedule(now);
    }

    /// This node's name as an author of deltas; new in every incarnation.
    pub fn author(&self) -> Author {
        Author { rank: self.rank, boot: self.boot }
    }

    /// The replicated value as this node knows it.
    pub fn state(&self) -> &L {
        self.store.state()
    }

    /// Returns how many deltas of each author this node has.
    pub fn versions(&self) -> &Versions {
        self.store.versions()
    }

    /// Whether no other node has answered yet in this incarnation, so that this one cannot know
    /// which deltas it missed or forgot.
    pub fn is_joining(&self) -> bool {
        self.joining
    }

    /// Everything to be remembered, as of now. Stands for all records so far.
    pub fn snapshot(&self) -> Snapshot<L> {
        self.store.snapshot()
    }

    /// The measured round trip and the times that follow from it.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Whom this node takes for the hub: the lowest rank it believes reachable.
    pub fn hub(&self) -> Rank {
        self.join_target().map_or(self.rank, |lowest| lowest.min(self.rank))
    }

    /// Whether `rank` has proved that it hears this node in its present incarnation.
    pub fn is_proved(&self, rank: Rank) -> bool {
        self.peer(rank).confirmed
    }

    /// Uses this topology, if the engine was configured to use one: the neighbours
    /// of every node, by rank.
    pub fn set_topology(&mut self, now: Time, edges: &[Vec<Rank>]) {
        let nodes = u16::try_from(self.peers.len()).expect("ranks have 16 bits");
        if !self.takes_topology || edges.len() != self.peers.len() {
            return;
        }
        self.pace.set_hops(diameter(nodes, |node| edges[usize::from(node)].clone()));
        let mine = edges[self.rank.index()].iter().copied();
        self.neighbours = Some(mine.filter(|r| *r != self.rank && r.0 < nodes).collect());
        self.schedule(now);
    }

    /// Adds a delta of this node's own.
    pub fn add(&mut self, now: Time, delta: L) {
        self.store.local(delta);
        self.schedule(now);
    }

    /// Takes the outputs since the last call.
    pub fn take_outputs(&mut self) -> Vec<Output<L>> {
        self.record();
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`Engine::tick`] next. `None`: nothing is outstanding, and
    /// until something happens this node is silent.
    pub fn wake_at(&self) -> Option<Time> {
        let timers = self.peers.iter().flat_map(|peer| [peer.ack_at, peer.retry_at]);
        timers.chain([self.round_at, self.survey_at]).flatten().min()
    }

    /// Carries out everything that is due at `now`.
    pub fn tick(&mut self, now: Time) {
        if self.round_at.is_some_and(|at| at <= now) {
            self.round(now);
        }
        if self.survey_at.is_some_and(|at| at <= now) {
            self.survey_at = None;
            self.survey(now);
        }
        for rank in self.others() {
            if self.peer(rank).retry_at.is_some_and(|at| at <= now) {
                self.retry(now, rank);
            }
            if self.peer(rank).ack_at.is_some_and(|at| at <= now) {
                self.acknowledge(now, rank);
            }
        }
    }

    /// Sends every peer the deltas that it is owed.
    fn round(&mut self, now: Time) {
        self.round_at = None;
        let open = self.store.is_open();
        for rank in self.others() {
            let peer = self.peer(rank);
            let waits = peer.suspected || (peer.stalled && peer.retry_at.is_some());
            if waits || !self.owes(rank) {
                continue;
            }
            let due = peer.ack_at.is_some_and(|at| at <= now);
            if due || open || self.lacks(rank) {
                self.last_round = Some(Round { at: now, next: now + self.pace.window() });
                self.send(now, rank, SendMode::PLAIN);
            }
        }
    }

    /// An acknowledgement is due. A leaf's waits for the round, if one will be.
    fn acknowledge(&mut self, now: Time, rank: Rank) {
        match self.round_at {
            Some(at) if self.peer(rank).hub == Some(self.rank) => {
                self.peer_mut(rank).ack_at = Some(at);
            }
            _ => self.send(now, rank, SendMode::PLAIN),
        }
    }

    /// A hub asks every node it has not heard in this incarnation.
    fn survey(&mut self, now: Time) {
        for rank in self.others() {
            let peer = self.peer(rank);
            if self.hub() == self.rank && !peer.is_heard() && peer.retry_at.is_none() {
                self.send(now, rank, SendMode::ASK);
            }
        }
    }

    /// A peer has not answered in time.
    fn retry(&mut self, now: Time, rank: Rank) {
        let peer = self.peer(rank);
        let met = !self.joining && peer.is_heard() && peer.has(self.store.versions());
        if met || !self.owes(rank) {
            let peer = self.peer_mut(rank);
            (peer.retry_at, peer.attempts) = (None, 0);
            return;
        }
        let peer = self.peer_mut(rank);
        peer.attempts += 1;
        peer.unsend();
        if peer.attempts > RETRIES && !peer.suspected {
            self.suspect(now, rank);
            if !self.owes(rank) {
                return;
            }
        }
        self.send(now, rank, SendMode::ASK);
        let attempts = self.peer(rank).attempts;
        self.peer_mut(rank).retry_at = Some(now + self.pace.back_off(attempts));
    }

    fn suspect(&mut self, now: Time, rank: Rank) {
        let before = self.hub();
        let lacks = !self.peer(rank).has(self.store.versions());
        self.peer_mut(rank).suspect();
        if self.hub() != before {
            if lacks {
                coverage::hit(Mark::HubGivenUp);
            }
            self.beat = None;
            self.plant_forgetting();
            // Deltas that the old hub never acknowledged must not wait any longer.
            self.round_at = Some(now);
            self.survey(now);
        }
        if self.joining
            && let Some(target) = self.join_target().filter(|t| self.peer(*t).retry_at.is_none())
        {
            self.send(now, target, SendMode::ASK);
        }
    }

    /// Makes sure that there will be a round if anyone lacks something.
    pub(super) fn schedule(&mut self, now: Time) {
        let open = self.store.is_open();
        if self.round_at.is_none()
            && self.others().any(|r| {
                let peer = self.peer(r);
                !peer.suspected && (open || self.lacks(r)) && self.owes(r)
            })
        {
            self.round_at = Some(self.round_time(now));
        }
    }

    /// When the next round should be.
    pub(super) fn round_time(&self, now: Time) -> Time {
        let soonest = self.last_round.map_or(now, |last| last.next.max(now));
        match (self.beat, self.pace.lead()) {
            (Some(beat), Some(lead)) if self.is_leaf() => beat.next(now, lead).unwrap_or(soonest),
            _ => soonest,
        }
    }

    fn is_leaf(&self) -> bool {
        let hub = self.hub();
        self.neighbours.is_none() && hub != self.rank && {
            self.others().all(|r| r == hub || !self.owes(r))
        }
    }

    /// Whether it is up to this node that `rank` gets everything.
    pub(super) fn owes(&self, rank: Rank) -> bool {
        if self.joining && self.join_target() == Some(rank) {
            return true;
        }
        if let Some(neighbours) = &self.neighbours {
            return neighbours.contains(&rank);
        }
        let (hub, peer) = (self.hub(), self.peer(rank));
        let is_hub = rank == hub || hub == self.rank;
        let relies_on_me = peer.hub == Some(self.rank);
        // Two hubs at once cannot reach each other, or one would give way; a node
        // that reaches both is their bridge.
        let other_hub = peer.hub == Some(rank) && peer.confirmed && !peer.suspected;
        is_hub || relies_on_me || other_hub
    }

    pub(super) fn lacks(&self, rank: Rank) -> bool {
        let (peer, versions) = (self.peer(rank), self.store.versions());
        let unproved = !peer.confirmed && !versions.is_empty() && peer.retry_at.is_none();
        unproved || peer.lacks(versions)
    }

    /// The peer to ask for missed deltas: the lowest other that is not suspected.
    pub(super) fn join_target(&self) -> Option<Rank> {
        self.others().find(|r| !self.peer(*r).suspected)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = Rank> + use<L> {
        let nodes = u16::try_from(self.peers.len()).expect("ranks have 16 bits");
        let own = self.rank;
        (0..nodes).map(Rank).filter(move |rank| *rank != own)
    }

    pub(super) fn peer(&self, rank: Rank) -> &Peer {
        &self.peers[rank.index()]
    }

    pub(super) fn peer_mut(&mut self, rank: Rank) -> &mut Peer {
        &mut self.peers[rank.index()]
    }

    /// Has the store's records written before the next message leaves.
    pub(super) fn record(&mut self) {
        self.outputs.extend(self.store.take_records().into_iter().map(Output::Persist));
    }
}
