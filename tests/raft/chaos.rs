//! Clusters under random faults, with every invariant checked after every step.
//!
//! One seed decides everything: the size, the options, which messages are lost, repeated and
//! overtaken, who is cut off, crashes and comes back with its durable data, how fast clocks go, how
//! long disks take, and the requests of clients. Then all faults end, and the cluster must elect,
//! commit and converge.

use std::collections::BTreeMap;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy::raft::{
    Change, Command, Config, Index, Message, MessageKind, Options, Payload, Raft, RaftId,
    ReadContext, Ready, Restored, Shelf,
};

use super::disk::Disk;
use super::invariants::Invariants;

/// How likely things go wrong, in thousandths a step.
struct Weather {
    lose: u64,
    repeat: u64,
    overtake: u64,
    cut: u64,
    crash: u64,
    slow_disk: u64,
}

struct Server {
    raft: Option<Raft>,
    /// The bytes of its snapshots.
    shelf: Shelf,
    /// The state machine: a hash of everything applied, and up to where.
    state: (Index, u64),
    /// This server gets this many of ten ticks.
    clock_rate: u64,
}

struct Cluster {
    rng: Pcg64Mcg,
    options: Options,
    initial: Config,
    servers: BTreeMap<RaftId, Server>,
    disks: BTreeMap<RaftId, Disk>,
    network: Vec<Message>,
    /// Links that lose everything, as (from, to).
    cut: Vec<(RaftId, RaftId)>,
    invariants: Invariants,
    /// The state after each index, from the server that got there first.
    states: BTreeMap<Index, u64>,
    reads: BTreeMap<ReadContext, Index>,
    next: u64,
    served: usize,
}

fn mix(state: u64, value: u64) -> u64 {
    (state ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// Changes the last byte of a piece.
fn damage(message: &mut Message) {
    let MessageKind::Snapshot { data, .. } = &mut message.kind else { return };
    let mut bytes = data.as_bytes().to_vec();
    bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    *data = bytes.into();
}

impl Cluster {
    fn new(seed: u64) -> Cluster {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut flip = |of: u64| rng.next_u64() % of == 0;
        let options = Options {
            election_timeout_ticks: 20,
            heartbeat_ticks: 5,
            pre_vote: !flip(4),
            check_quorum: true,
            lease_reads: flip(4),
            lease_margin_ticks: 10,
            max_append_bytes: if flip(2) { 60 } else { 1 << 20 },
            max_inflight_messages: if flip(3) { 2 } else { 64 },
            max_early_appends: if flip(3) { 1 } else { 16 },
            snapshot_chunk_bytes: if flip(2) { 7 } else { 1 << 20 },
            keep_entries: if flip(2) { 0 } else { 8 },
            ..Options::default()
        };
        let size = 1 + rng.next_u64() % 5;
        let initial = Config::of_voters((1..=size).map(RaftId));
        let mut cluster = Cluster {
            rng,
            options,
            initial,
            servers: BTreeMap::new(),
            disks: BTreeMap::new(),
            network: Vec::new(),
            cut: Vec::new(),
            invariants: Invariants::default(),
            states: BTreeMap::from([(Index::ZERO, 0)]),
            reads: BTreeMap::new(),
            next: 0,
            served: 0,
        };
        // Two more that may be added later.
        for id in (1..=size + 2).map(RaftId) {
            let clock_rate = if cluster.chance(300) { 8 } else { 10 };
            let (shelf, state) = (Shelf::default(), (Index::ZERO, 0));
            let server = Server { raft: None, shelf, state, clock_rate };
            cluster.disks.insert(id, Disk::default());
            cluster.servers.insert(id, server);
            cluster.start(id);
        }
        cluster
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.rng.next_u64() % 1000 < thousandths
    }

    fn pick(&mut self) -> RaftId {
        RaftId(1 + self.rng.next_u64() % self.servers.len() as u64)
    }

    fn start(&mut self, id: RaftId) {
        let restored: Restored = self.disks[&id].restored();
        let snapshot = self.disks[&id].state();
        self.invariants.restarted(id, restored.hard_state.term);
        let is_member = self.initial.contains(id);
        let initial = if is_member { self.initial.clone() } else { Config::default() };
        let seed = self.rng.next_u64();
        let raft = Raft::new(id, initial, seed, self.options.clone(), restored);
        let server = self.servers.get_mut(&id).unwrap();
        (server.state, server.shelf) = ((Index::ZERO, 0), Shelf::default());
        if let Some((snapshot, data)) = snapshot {
            server.state = decode(data.as_bytes());
            server.shelf = Shelf::with(snapshot, data);
        }
        server.raft = Some(raft);
    }

    fn crash(&mut self, id: RaftId) {
        self.servers.get_mut(&id).unwrap().raft = None;
        self.disks.get_mut(&id).unwrap().crash();
    }

    /// Lets a server do something, then carries out its wishes.
    fn act(&mut self, id: RaftId, act: impl FnOnce(&mut Raft)) {
        // A shell that stores pieces, and looks at the whole, in its own time.
        let (is_idle, has_forgotten) = (self.chance(700), self.chance(5));
        // And one whose copy of a snapshot has gone bad.
        let is_bad = self.chance(10);
        let Server { raft, shelf, .. } = self.servers.get_mut(&id).unwrap();
        let Some(raft) = raft else { return };
        act(raft);
        if is_idle {
            shelf.receive(raft);
        }
        let older = raft.snapshots().find(|s| Some(*s) != raft.snapshot()).cloned();
        if let Some(older) = older.filter(|_| has_forgotten) {
            raft.snapshot_lost(&older);
        }
        let mut ready = raft.ready();
        let pieces = std::mem::take(&mut ready.pieces).into_iter();
        let mut pieces: Vec<Message> =
            pieces.map(|piece| shelf.message(piece).expect("it is needed")).collect();
        if is_bad {
            pieces.iter_mut().for_each(damage);
        }
        let free = self.disks.get_mut(&id).unwrap().take(&mut ready);
        self.send(id, free);
        self.send(id, pieces);
        self.apply(id, &ready);
        let raft = self.servers[&id].raft.as_ref().unwrap();
        self.invariants.check(raft, &self.disks);
    }

    fn send(&mut self, from: RaftId, messages: Vec<Message>) {
        for message in messages {
            self.invariants.check_message(&message, &self.disks[&from]);
            if !self.cut.contains(&(from, message.to)) {
                self.network.push(message);
            }
        }
    }

    fn apply(&mut self, id: RaftId, ready: &Ready) {
        let server = self.servers.get_mut(&id).unwrap();
        if let Some(snapshot) = &ready.restore {
            let data = server.shelf.get(snapshot).expect("it has arrived").clone();
            server.state = decode(data.as_bytes());
            self.disks.get_mut(&id).unwrap().keep(snapshot, data);
            assert_eq!(server.state.0, snapshot.last.index);
        }
        for entry in &ready.committed {
            assert_eq!(entry.id.index, server.state.0.next(), "applied out of order");
            let bytes = match &entry.payload {
                Payload::Command(command) => command.as_bytes(),
                _ => &[],
            };
            let hash = bytes.iter().fold(server.state.1, |h, b| mix(h, u64::from(*b)));
            server.state = (entry.id.index, mix(hash, entry.id.index.0));
            let known = *self.states.entry(server.state.0).or_insert(server.state.1);
            assert_eq!(known, server.state.1, "state machine safety at {}", entry.id);
        }
        for read in &ready.reads {
            let wanted = self.reads.remove(&read.context).unwrap();
            assert!(server.state.0 >= wanted, "{id} served a stale read");
            self.served += 1;
        }
        for context in &ready.dropped_reads {
            self.reads.remove(context);
        }
    }

    fn flush(&mut self, id: RaftId) {
        let Some((persisted, after)) = self.disks.get_mut(&id).unwrap().flush_one() else { return };
        self.send(id, after);
        if let Some(persisted) = persisted {
            self.act(id, |raft| raft.persisted(persisted));
        }
    }

    fn deliver(&mut self, weather: &Weather) {
        if self.network.is_empty() {
            return;
        }
        let overtake = self.chance(weather.overtake);
        let at = if overtake { self.rng.next_u64() as usize % self.network.len() } else { 0 };
        let message = self.network.remove(at);
        if self.chance(weather.lose) {
            return;
        }
        if self.chance(weather.repeat) {
            self.network.push(message.clone());
        }
        self.act(message.to, |raft| raft.step(message));
    }

    fn tick(&mut self) {
        for id in self.servers.keys().copied().collect::<Vec<_>>() {
            if self.rng.next_u64() % 10 < self.servers[&id].clock_rate {
                self.act(id, |raft| raft.tick(1));
            }
        }
    }

    fn disturb(&mut self, weather: &Weather) {
        let (a, b) = (self.pick(), self.pick());
        if self.chance(weather.cut) {
            self.cut.push((a, b));
        }
        if self.chance(weather.cut) {
            self.cut.clear();
        }
        if self.chance(weather.crash) {
            self.crash(a);
        }
        if self.chance(weather.crash) {
            (1..=self.servers.len() as u64).for_each(|id| self.crash(RaftId(id)));
        }
        if self.servers[&b].raft.is_none() && self.chance(100) {
            self.start(b);
        }
    }

    /// A client, an operator, or a compaction.
    fn demand(&mut self) {
        let (id, other) = (self.pick(), self.pick());
        self.next += 1;
        let next = self.next;
        match self.rng.next_u64() % 100 {
            0..50 => {
                let command = Command::from(next.to_string().as_str());
                self.act(id, |raft| _ = raft.propose(command));
            }
            50..80 => self.read(id, ReadContext(next)),
            80..84 => self.compact(id),
            84..86 => self.act(id, |raft| _ = raft.transfer_leadership(other)),
            86..90 => {
                let third = self.pick();
                let change = [
                    Change::AddVoter(other),
                    Change::AddLearner(other),
                    Change::Remove(other),
                    Change::AddVoter(third),
                ];
                let from = (self.rng.next_u64() % 4) as usize;
                let to = (from + 1 + (self.rng.next_u64() % 2) as usize).min(4);
                self.act(id, |raft| _ = raft.propose_change(&change[from..to]));
            }
            _ => {}
        }
    }

    fn read(&mut self, id: RaftId, context: ReadContext) {
        self.reads.insert(context, self.invariants.max_committed());
        let mut refused = true;
        self.act(id, |raft| refused = raft.read(context).is_err());
        if refused {
            self.reads.remove(&context);
        }
    }

    fn compact(&mut self, id: RaftId) {
        let server = self.servers.get_mut(&id).unwrap();
        let (index, hash) = server.state;
        let Some(raft) = &mut server.raft else { return };
        if raft.snapshot().is_none_or(|s| s.last.index < index) && index > Index::ZERO {
            server.shelf.compact(raft, index, encode(index, hash));
            let state = raft.to_restore();
            let disk = self.disks.get_mut(&id).unwrap();
            disk.keep(state.snapshot.as_ref().unwrap(), encode(index, hash));
            disk.checkpoint(state);
        }
    }

    fn run(&mut self, steps: usize, weather: &Weather) {
        for _ in 0..steps {
            match self.rng.next_u64() % 16 {
                0 => self.tick(),
                1 => self.disturb(weather),
                2 | 3 => self.demand(),
                4..8 => {
                    let id = self.pick();
                    if !self.chance(weather.slow_disk) {
                        self.flush(id);
                    }
                }
                _ => self.deliver(weather),
            }
        }
    }

    /// Ends all faults and lets the cluster come to rest.
    fn calm(&mut self) {
        self.cut.clear();
        for id in self.servers.keys().copied().collect::<Vec<_>>() {
            if self.servers[&id].raft.is_none() {
                self.start(id);
            }
        }
        for _ in 0..400 {
            self.tick();
            for _ in 0..3 {
                for id in self.servers.keys().copied().collect::<Vec<_>>() {
                    while self.disks[&id].is_busy() {
                        self.flush(id);
                    }
                }
                for message in std::mem::take(&mut self.network) {
                    self.act(message.to, |raft| raft.step(message));
                }
            }
        }
    }

    fn leader(&self) -> Option<&Raft> {
        let rafts = self.servers.values().filter_map(|s| s.raft.as_ref());
        rafts.filter(|r| r.is_leader()).max_by_key(|r| r.term())
    }
}

fn encode(index: Index, hash: u64) -> Command {
    let mut bytes = index.0.to_le_bytes().to_vec();
    bytes.extend(hash.to_le_bytes());
    Command::from(bytes)
}

fn decode(bytes: &[u8]) -> (Index, u64) {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    (Index(word(0)), word(8))
}

/// Runs one seed. Returns how much was committed, and how many reads were served.
fn survive(seed: u64) -> (Index, usize) {
    let mut cluster = Cluster::new(seed);
    let mut draw = |of: u64| cluster.rng.next_u64() % of;
    let weather = Weather {
        lose: [0, 20, 200][draw(3) as usize],
        repeat: [0, 50, 200][draw(3) as usize],
        overtake: [0, 300, 1000][draw(3) as usize],
        cut: [0, 30, 200][draw(3) as usize],
        crash: [0, 5, 30][draw(3) as usize],
        slow_disk: [0, 500, 900][draw(3) as usize],
    };
    cluster.run(4000, &weather);
    cluster.calm();
    let leader = cluster.leader().expect("a leader once all is calm").id();
    let config = (**cluster.servers[&leader].raft.as_ref().unwrap().configuration().1).clone();
    assert!(!config.is_joint(), "a change was never finished: {config}");
    cluster.act(leader, |raft| _ = raft.propose(Command::from("last")).unwrap());
    cluster.calm();
    let last = cluster.leader().unwrap().status().last.index;
    for id in config.members() {
        let applied = cluster.servers[&id].state.0;
        assert_eq!(applied, last, "{id} did not converge with {leader} under {config}");
    }
    (last, cluster.served)
}

/// Names the seed if one fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

/// Enough to meet every rare path some times, in about three seconds.
const SEEDS: u64 = 300;

#[test]
fn random_clusters_keep_every_invariant_and_recover() {
    let (mut committed, mut served) = (0, 0);
    for seed in 0..SEEDS {
        let name = Named(seed);
        let (last, reads) = survive(seed);
        committed += last.0;
        served += reads;
        drop(name);
    }
    // A run in which nothing happens proves nothing.
    assert!(committed > SEEDS * 20, "only {committed} entries were committed");
    assert!(served as u64 > SEEDS * 5, "only {served} reads were served");
}
