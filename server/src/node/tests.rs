//! Nodes in a loop: no sockets, no disks, virtual time, and every fault drawn from a seed.
//!
//! A small stand-in for the simulation of the bench. Parcels are lost, delayed and
//! repeated, servers are killed and lose records that were not flushed; afterwards every write that
//! was answered is there, once, on every server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy::raft::RaftId;
use seaworthy::storage::Log;
use seaworthy::testing::{Latency, Network, Weather};
use seaworthy::time::Time;

use super::shelf::Shelf;
use super::{
    Effect, Event, Failure, Input, Member, Node, Options, Replaces, Reply, Request, Start, Ticket,
    Token,
};
use crate::kv::{Command, Response};
use crate::proto::etcdserverpb as pb;

pub(super) struct Host {
    pub(super) node: Option<Node>,
    incarnation: u64,
    /// When its node was started, so that each life has a clock of its own.
    since: Time,
    disk: Log,
    /// How many records stand before the mark.
    mark: usize,
    shelf: Shelf,
    /// Writes that no flush has reached yet, and when it will.
    unflushed: Vec<(Time, Ticket, Write)>,
    held: Vec<(Ticket, RaftId, Vec<u8>)>,
    durable: Ticket,
    life: u64,
    pub(super) refused: Option<String>,
    /// It was removed, and has stopped by itself.
    pub(super) has_left: bool,
}

enum Write {
    Record(Vec<u8>),
    Mark,
    Checkpoint(Replaces, Vec<u8>),
}

/// A cluster in virtual time.
pub(super) struct World {
    pub(super) rng: Pcg64Mcg,
    pub(super) now: Time,
    pub(super) hosts: BTreeMap<RaftId, Host>,
    /// Parcels on their way.
    pub(super) network: Network<RaftId, Vec<u8>>,
    sent: u64,
    pub(super) replies: BTreeMap<Token, Reply>,
    next_token: u64,
    options: Options,
    /// The servers that began the cluster.
    founders: BTreeSet<RaftId>,
    /// The cluster, for servers that were added.
    cluster: Option<u64>,
}

const DISK: Duration = Duration::from_millis(2);
const WEATHER: Weather = Weather {
    latency: Latency::Between(Duration::from_micros(500), Duration::from_micros(5500)),
    loss_percent: 0,
    repeat_percent: 2,
};

pub(super) fn id(n: u64) -> RaftId {
    RaftId(n + 100)
}

impl World {
    pub(super) fn new(seed: u64, count: u64, options: Options) -> World {
        let mut world = World {
            rng: Pcg64Mcg::seed_from_u64(seed),
            now: Time::from_millis(1),
            hosts: BTreeMap::new(),
            network: Network::new(WEATHER, seed),
            sent: 0,
            replies: BTreeMap::new(),
            next_token: 0,
            options,
            founders: (0..count).map(id).collect(),
            cluster: None,
        };
        (0..count).for_each(|n| world.add_host(n));
        (0..count).for_each(|n| world.start(id(n)));
        world
    }

    fn add_host(&mut self, n: u64) {
        let host = Host {
            node: None,
            incarnation: 1000 + n,
            since: Time::ZERO,
            disk: Log::default(),
            mark: 0,
            shelf: Shelf::default(),
            unflushed: Vec::new(),
            held: Vec::new(),
            durable: Ticket(0),
            life: 0,
            refused: None,
            has_left: false,
        };
        self.hosts.insert(id(n), host);
    }

    /// Starts a server that the cluster was told of.
    pub(super) fn join(&mut self, n: u64) {
        self.cluster = self.hosts.values().find_map(|host| host.node.as_ref()?.cluster());
        self.add_host(n);
        self.start(id(n));
    }

    pub(super) fn start(&mut self, id: RaftId) {
        let member = |n: &RaftId| Member { name: format!("n{}", n.0), ..Member::default() };
        let founders = self.founders.iter().map(|n| (*n, member(n))).collect();
        let cluster = self.cluster.filter(|_| !self.founders.contains(&id));
        let nonces = [self.rng.next_u64(), self.rng.next_u64()];
        let (now, options) = (self.now, self.options);
        let host = self.hosts.get_mut(&id).unwrap();
        let member = Member { incarnation: host.incarnation, ..member(&id) };
        let log = host.disk.clone();
        let (shelf, state) = Shelf::open(&log);
        host.shelf = shelf;
        let start =
            Start { id, founders, member, options, nonces, cluster, log, state, tree: None };
        let (node, first) = Node::start(start).unwrap();
        host.disk.records.push(first);
        (host.node, host.since, host.life) = (Some(node), now, host.life + 1);
        host.durable = Ticket(0);
        self.flush(id);
    }

    /// Kills a server. A random prefix of its unflushed records survives.
    pub(super) fn kill(&mut self, id: RaftId) {
        let host = self.hosts.get_mut(&id).unwrap();
        host.node = None;
        host.held.clear();
        let kept = self.rng.next_u64() as usize % (host.unflushed.len() + 1);
        for (.., write) in std::mem::take(&mut host.unflushed).into_iter().take(kept) {
            host.write(write);
        }
    }

    fn step(&mut self, id: RaftId, input: Input) {
        let now = self.now;
        // A server may be told of before it is there.
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let since = host.since;
        if let Some(node) = &mut host.node {
            node.step(Time::ZERO + (now - since), input);
            self.flush(id);
        }
    }

    fn flush(&mut self, id: RaftId) {
        let now = self.now;
        let host = self.hosts.get_mut(&id).unwrap();
        let Some(node) = &mut host.node else { return };
        let (mut effects, mut inputs) = (Vec::new(), Vec::new());
        node.flush(Time::ZERO + (now - host.since), &mut effects);
        for effect in effects {
            let host = self.hosts.get_mut(&id).unwrap();
            match effect {
                Effect::Persist(ticket, bytes) => {
                    host.unflushed.push((now + DISK, ticket, Write::Record(bytes)));
                }
                Effect::Mark => {
                    let last = host.unflushed.last().map_or(host.durable, |(_, ticket, _)| *ticket);
                    host.unflushed.push((now + DISK, last, Write::Mark));
                }
                Effect::Checkpoint(ticket, checkpoint) => {
                    let replaces = checkpoint.replaces;
                    let write = Write::Checkpoint(replaces, host.shelf.checkpoint(checkpoint));
                    host.unflushed.push((now + DISK, ticket, write));
                }
                Effect::Send(to, _, bytes) => self.send(id, to, bytes),
                Effect::SendAfter(ticket, to, _, bytes) if ticket <= host.durable => {
                    self.send(id, to, bytes);
                }
                Effect::SendAfter(ticket, to, _, bytes) => host.held.push((ticket, to, bytes)),
                Effect::Reply(token, reply) => {
                    assert!(self.replies.insert(token, reply).is_none(), "answered twice");
                }
                Effect::Freeze(frozen) => {
                    inputs.push(host.shelf.write(&frozen));
                }
                Effect::Piece(piece) => match host.shelf.piece(piece) {
                    Ok((to, _, bytes)) => self.send(id, to, bytes),
                    Err(lost) => inputs.push(lost),
                },
                Effect::Batch(_) => unreachable!("no server has a tree"),
                Effect::Store(received) => inputs.extend(host.shelf.store(&received, None)),
                Effect::Discard(_) => {}
                Effect::Event(Event::Superseded(why)) => {
                    (host.refused, host.node) = (Some(why), None);
                    return;
                }
                Effect::Removed => {
                    (host.has_left, host.node) = (true, None);
                    return;
                }
                Effect::Event(_) | Effect::Members(_) | Effect::Stopped => {}
            }
        }
        inputs.into_iter().for_each(|input| self.step(id, input));
    }

    fn send(&mut self, from: RaftId, to: RaftId, bytes: Vec<u8>) {
        self.sent += 1;
        self.network.send(self.now, from, to, bytes);
    }

    /// Lets time pass, a millisecond at a time.
    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + Duration::from_millis(1);
            while let Some(flight) = self.network.arrived(self.now) {
                self.step(flight.to, Input::Parcel(flight.from, flight.message));
            }
            for id in self.hosts.keys().copied().collect::<Vec<_>>() {
                self.flush_disk(id);
                let host = &self.hosts[&id];
                let age = Time::ZERO + (self.now - host.since);
                if host.node.as_ref().is_some_and(|node| node.deadline() <= age) {
                    self.flush(id);
                }
            }
        }
    }

    fn flush_disk(&mut self, id: RaftId) {
        let now = self.now;
        let host = self.hosts.get_mut(&id).unwrap();
        let due: Vec<_> = host.unflushed.extract_if(.., |(at, ..)| *at <= now).collect();
        let Some(ticket) = due.last().map(|(_, ticket, _)| *ticket) else { return };
        due.into_iter().for_each(|(.., write)| host.write(write));
        host.durable = ticket;
        let free: Vec<_> = host.held.extract_if(.., |(t, ..)| *t <= ticket).collect();
        for (_, to, bytes) in free {
            self.send(id, to, bytes);
        }
        self.step(id, Input::Durable(ticket));
    }

    pub(super) fn ask(&mut self, id: RaftId, request: Request) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.step(id, Input::Request(token, request));
        token
    }

    /// Appends to the counter of how often `key` was written: its version tells.
    pub(super) fn put(&mut self, id: RaftId, key: &str) -> Token {
        self.ask(id, put(key, b"v"))
    }

    pub(super) fn leader(&self) -> Option<RaftId> {
        let nodes = self.hosts.values().filter_map(|host| host.node.as_ref());
        let leaders = nodes.filter(|node| node.raft.is_leader());
        leaders.max_by_key(|node| node.raft.term()).map(|node| node.me)
    }

    pub(super) fn version_of(&self, id: RaftId, key: &str) -> i64 {
        let request = pb::RangeRequest { key: Bytes::from(key.to_owned()), ..Default::default() };
        let node = self.hosts[&id].node.as_ref().unwrap();
        let answer = node.machine.store.range(&request).unwrap();
        answer.kvs.first().map_or(0, |pair| pair.version)
    }
}

impl Host {
    fn write(&mut self, write: Write) {
        match write {
            Write::Record(bytes) => self.disk.records.push(bytes),
            Write::Mark => self.mark = self.disk.records.len(),
            Write::Checkpoint(Replaces::Everything, bytes) => {
                self.disk = Log { checkpoint: Some(bytes), ..Log::default() };
            }
            Write::Checkpoint(Replaces::UpToMark, bytes) => {
                self.disk.records.drain(..self.mark);
                self.disk.checkpoint = Some(bytes);
            }
        }
    }
}

/// A request that puts a value.
pub(super) fn put(key: &str, value: &'static [u8]) -> Request {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from_static(value));
    let mut bytes = Vec::new();
    Command::Put(pb::PutRequest { key, value, ..Default::default() }).encode(&mut bytes);
    Request::Write(bytes)
}

fn is_done(world: &World, token: Token) -> bool {
    matches!(world.replies.get(&token), Some(Reply::Done(_, Ok(Response::Put(_)))))
}

#[test]
fn any_server_answers_a_write_in_good_weather() {
    let mut world = World::new(1, 3, Options::default());
    world.run(3000);
    let tokens: Vec<Token> = (0..3).map(|n| world.put(id(n), "k")).collect();
    world.run(100);
    assert!(tokens.iter().all(|token| is_done(&world, *token)));
    let read = world.ask(id(0), Request::Read);
    world.run(100);
    assert!(matches!(world.replies[&read], Reply::State(..)));
    let identities: BTreeSet<_> =
        (0..3).map(|n| world.hosts[&id(n)].node.as_ref().unwrap().machine.cluster).collect();
    assert_eq!(identities.len(), 1, "one cluster has one identity");
}

#[test]
fn a_write_under_way_when_the_leader_dies_is_answered_ok_and_happens_once() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3, Options::default());
        world.run(3000);
        let leader = world.leader().unwrap();
        let others: Vec<RaftId> = world.hosts.keys().copied().filter(|n| *n != leader).collect();
        let mut tokens = Vec::new();
        for round in 0..20 {
            tokens.push(world.put(others[round % 2], &format!("k{round}")));
            world.run(u64::from(round % 3 == 0));
        }
        world.kill(leader);
        world.run(4000);
        for (round, token) in tokens.iter().enumerate() {
            assert!(is_done(&world, *token), "seed {seed}: {:?}", world.replies.get(token));
            assert_eq!(world.version_of(others[0], &format!("k{round}")), 1, "seed {seed}");
        }
    }
}

#[test]
fn faults_lose_nothing_that_was_answered_and_repeat_nothing() {
    for seed in 0..60 {
        let options = Options { snapshot_bytes: 2000, ..Options::default() };
        let count = [1, 3, 5][seed as usize % 3];
        let mut world = World::new(seed, count, options);
        world.network.weather.loss_percent = seed % 20;
        let mut asked: BTreeMap<Token, String> = BTreeMap::new();
        for round in 0..150 {
            let any = id(world.rng.next_u64() % count);
            match world.rng.next_u64() % 12 {
                0 => world.kill(any),
                1 | 2 if world.hosts[&any].node.is_none() => world.start(any),
                _ if world.hosts[&any].node.is_some() => {
                    let key = format!("k{round}");
                    asked.insert(world.put(any, &key), key);
                }
                _ => {}
            }
            let ms = world.rng.next_u64() % 60;
            world.run(ms);
        }
        world.network.weather.loss_percent = 0;
        for n in 0..count {
            if world.hosts[&id(n)].node.is_none() {
                world.start(id(n));
            }
        }
        world.run(12_000);
        assert!(world.hosts.values().all(|host| host.refused.is_none()), "seed {seed}");
        let stores: Vec<Vec<u8>> = (0..count).map(|n| bytes_of(&world, n)).collect();
        assert!(stores.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: they differ");
        for (token, key) in &asked {
            let version = world.version_of(id(0), key);
            assert!(version <= 1, "seed {seed}: {key} was written {version} times");
            if is_done(&world, *token) {
                assert_eq!(version, 1, "seed {seed}: {key} is lost");
            }
        }
        let last = world.put(id(0), "last");
        world.run(1000);
        assert!(is_done(&world, last), "seed {seed}: no progress");
    }
}

fn bytes_of(world: &World, n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    world.hosts[&id(n)].node.as_ref().unwrap().machine.store.encode(&mut bytes);
    bytes
}

#[test]
fn an_emptied_disk_is_refused_under_its_old_name() {
    let mut world = World::new(5, 3, Options::default());
    world.run(3000);
    let follower = (0..3).map(id).find(|n| Some(*n) != world.leader()).unwrap();
    world.kill(follower);
    let host = world.hosts.get_mut(&follower).unwrap();
    (host.disk, host.incarnation) = (Log::default(), 77);
    world.start(follower);
    world.run(3000);
    let why = world.hosts[&follower].refused.clone().unwrap();
    assert!(why.contains("00000000000003e") && why.contains("4d"), "{why}");
}

#[test]
fn an_older_copy_of_a_disk_is_refused() {
    let mut world = World::new(6, 3, Options::default());
    world.run(3000);
    let follower = (0..3).map(id).find(|n| Some(*n) != world.leader()).unwrap();
    let copy = world.hosts[&follower].disk.clone();
    for _ in 0..2 {
        world.kill(follower);
        world.start(follower);
        world.run(3000);
    }
    world.kill(follower);
    world.hosts.get_mut(&follower).unwrap().disk = copy;
    // However often it is started: the number of its life grows beyond the one that is known.
    for _ in 0..5 {
        world.start(follower);
        world.run(3000);
        let why = world.hosts.get_mut(&follower).unwrap().refused.take().unwrap();
        assert!(why.contains("older copy"), "{why}");
    }
}

#[test]
fn a_life_that_was_accepted_in_a_snapshot_alone_has_its_session() {
    let options = Options { snapshot_bytes: 300, keep_entries: 0, ..Options::default() };
    let mut world = World::new(7, 3, options);
    world.run(3000);
    let leader = world.leader().unwrap();
    let follower = (0..3).map(id).find(|n| *n != leader).unwrap();
    world.kill(follower);
    world.start(follower);
    // It is heard, and hears nothing more, once it knows the leader.
    while world.hosts[&follower].node.as_ref().unwrap().raft.leader().is_none() {
        world.run(1);
    }
    for _ in 0..2000 {
        world.network.lose(|flight| flight.to == follower);
        world.run(1);
        if world.now.as_millis().is_multiple_of(20) {
            world.put(leader, "key");
        }
    }
    let accepted = world.hosts[&leader].node.as_ref().unwrap().machine.members[&follower].life;
    assert_eq!(accepted, world.hosts[&follower].life, "the life was accepted meanwhile");
    world.run(3000);
    let (put, read) = (world.put(follower, "key"), world.ask(follower, Request::Read));
    world.run(1000);
    assert!(is_done(&world, put) && world.replies.contains_key(&read));
}

#[test]
fn a_request_without_a_quorum_times_out_and_a_lone_server_keeps_its_term() {
    let mut world = World::new(7, 3, Options::default());
    world.kill(id(1));
    world.kill(id(2));
    let (write, read) = (world.put(id(0), "k"), world.ask(id(0), Request::Read));
    world.run(60_000);
    for token in [write, read] {
        assert!(matches!(world.replies[&token], Reply::Failed(Failure::TimedOut)));
    }
    assert_eq!(world.hosts[&id(0)].node.as_ref().unwrap().raft.term().0, 0);
}

#[test]
fn reads_that_wait_together_cost_one_confirmation() {
    let mut world = World::new(8, 3, Options::default());
    world.run(3000);
    let leader = world.leader().unwrap();
    let before = world.sent;
    let tokens: Vec<Token> = (0..200).map(|_| world.ask(leader, Request::Read)).collect();
    world.run(40);
    assert!(tokens.iter().all(|t| matches!(world.replies.get(t), Some(Reply::State(..)))));
    let messages = world.sent - before;
    assert!(messages <= 10, "{messages} messages for 200 reads");
}
