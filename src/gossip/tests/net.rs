//! Nodes that are engines alone, on a network with every fault there is.

use std::time::Duration;

use rand_core::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gossip::{Boot, Engine, Lattice, Message, Options, Output, Rank, Record};
use crate::testing::{Flight, Network, Weather};
use crate::time::Time;

pub(super) struct Net<L> {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node<L>>,
    /// Messages as text.
    pub(super) network: Network<Rank, String>,
    /// Messages sent so far.
    pub(super) sent: u64,
    /// The messages that were sent, for people.
    pub(super) trace: String,
    config: Options,
}

pub(super) struct Node<L> {
    /// None while it is dead.
    pub(super) engine: Option<Engine<L>>,
    pub(super) paused: bool,
    /// Its clock runs this many per mille faster than time.
    pub(super) drift: i64,
    disk: Vec<Record<L>>,
}

impl<L: Lattice + Serialize + DeserializeOwned> Net<L> {
    pub(super) fn new(nodes: u16, config: Options, weather: Weather, seed: u64) -> Net<L> {
        let node = || Node { engine: None, paused: false, drift: 0, disk: Vec::new() };
        let mut net = Net {
            now: Time::ZERO,
            nodes: (0..nodes).map(|_| node()).collect(),
            network: Network::new(weather, seed),
            sent: 0,
            trace: String::new(),
            config,
        };
        net.ranks().for_each(|rank| net.boot(rank));
        net
    }

    pub(super) fn ranks(&self) -> impl Iterator<Item = Rank> + use<L> {
        (0..u16::try_from(self.nodes.len()).unwrap()).map(Rank)
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.network.random(below)
    }

    /// Starts a node from its disk.
    pub(super) fn boot(&mut self, rank: Rank) {
        let nodes = u16::try_from(self.nodes.len()).unwrap();
        let boot = Boot::from_random(self.network.rng.next_u64());
        let mut engine = Engine::new(rank, nodes, boot, &self.config);
        let node = &mut self.nodes[rank.index()];
        for record in &node.disk {
            let text = serde_json::to_string(record).unwrap();
            engine.replay(serde_json::from_str(&text).unwrap());
        }
        node.paused = false;
        node.engine = Some(engine);
        self.with(rank, |engine, now| engine.start(now));
    }

    pub(super) fn kill(&mut self, rank: Rank, memory: bool) {
        let node = &mut self.nodes[rank.index()];
        node.engine = None;
        if !memory {
            node.disk.clear();
        }
    }

    pub(super) fn add(&mut self, rank: Rank, delta: L) {
        self.with(rank, |engine, now| engine.add(now, delta));
    }

    /// Lets a node do something, and carries out its outputs.
    pub(super) fn with(&mut self, rank: Rank, act: impl FnOnce(&mut Engine<L>, Time)) {
        let now = self.now;
        let node = &mut self.nodes[rank.index()];
        let Some(engine) = &mut node.engine else { return };
        act(engine, local_time(now, node.drift));
        let outputs = engine.take_outputs();
        for output in outputs {
            match output {
                Output::Persist(record) => self.nodes[rank.index()].disk.push(record),
                Output::Send(to, message) => self.send(rank, to, &message),
            }
        }
    }

    fn send(&mut self, from: Rank, to: Rank, message: &Message<L>) {
        self.sent += 1;
        let line = format!("{} {from} -> {to} {}", self.now, describe(message));
        self.trace += &format!("{}\n", line.trim_end());
        let text = serde_json::to_string(message).unwrap();
        self.network.send(self.now, from, to, text);
    }

    /// The next moment at which something happens by itself.
    pub(super) fn next(&self) -> Option<Time> {
        let timers = self.nodes.iter().filter(|node| !node.paused).filter_map(|node| {
            Some(world_time(node.engine.as_ref()?.wake_at()?, node.drift).max(self.now))
        });
        let message = self.network.next().map(|at| at.max(self.now));
        timers.chain(message).min()
    }

    /// Runs until `end`.
    pub(super) fn run_until(&mut self, end: Time) {
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = at;
            self.deliver_due();
            for rank in self.ranks() {
                let node = &self.nodes[rank.index()];
                let due = node.engine.as_ref().and_then(Engine::wake_at);
                if !node.paused && due.is_some_and(|due| world_time(due, node.drift) <= at) {
                    self.with(rank, |engine, now| engine.tick(now));
                }
            }
        }
        self.now = self.now.max(end);
    }

    pub(super) fn run_for(&mut self, millis: u64) {
        self.run_until(self.now + Duration::from_millis(millis));
    }

    fn deliver_due(&mut self) {
        while let Some(Flight { from, to, message }) = self.network.arrived(self.now) {
            if self.nodes[to.index()].paused {
                // It waits in the socket of the sleeper.
                let later = self.now + Duration::from_millis(50);
                self.network.arrive_at(later, from, to, message);
            } else {
                let message = serde_json::from_str(&message).unwrap();
                self.with(to, |engine, now| engine.receive(now, from, message));
            }
        }
    }

    pub(super) fn cut(&mut self, a: &[Rank], b: &[Rank]) {
        for x in a {
            for y in b {
                self.network.cut(*x, *y);
                self.network.cut(*y, *x);
            }
        }
    }

    /// The states of all nodes that are alive.
    pub(super) fn states(&self) -> Vec<&L> {
        self.nodes.iter().filter_map(|node| Some(node.engine.as_ref()?.state())).collect()
    }
}

/// A message in short, without the random numbers of incarnations.
fn describe<L>(message: &Message<L>) -> String {
    let echo = message.echo.map_or(String::new(), |echo| format!(" echo={}", echo.1));
    let mut text = format!("#{}{echo}", message.number);
    for (author, run) in &message.deltas {
        text += &format!(" {}:{}-{}", author.rank, run.0 + 1, run.last());
    }
    let hub = format!(" hub={}", message.hub);
    let flags = [
        (message.state.is_some(), " state"),
        (message.versions.is_some(), " digest"),
        (message.ask, " ask"),
        (message.hub != Rank(0), &hub),
    ];
    flags.into_iter().filter(|(is, _)| *is).for_each(|(_, flag)| text += flag);
    text
}

fn local_time(time: Time, drift: i64) -> Time {
    scale(time, 1000 + drift, 1000)
}

/// The first moment at which the drifting clock shows `time`.
fn world_time(time: Time, drift: i64) -> Time {
    let at = scale(time, 1000, 1000 + drift);
    Time::from_nanos(at.as_nanos() + u64::from(local_time(at, drift) < time))
}

fn scale(time: Time, by: i64, of: i64) -> Time {
    let nanos = i128::from(time.as_nanos()) * i128::from(by) / i128::from(of);
    Time::from_nanos(u64::try_from(nanos).unwrap())
}
