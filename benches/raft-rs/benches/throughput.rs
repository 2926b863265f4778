//! Entries committed a second by three servers in memory, beside crate `raft` (raft-rs).
//!
//! `cargo bench --manifest-path benches/raft-rs/Cargo.toml`
//!
//! Both do the same work in the same way: the leader is given a batch of commands of
//! 64 bytes, then messages go round in turns, each server handling all it was sent and
//! then doing what it wants done, until nobody has anything left. Both keep their
//! entries in a list that stands for the disk and are told at once that it is durable;
//! neither makes snapshots. Messages are moved, not encoded. Each iteration commits [`ENTRIES`] entries, so what it
//! reports is comparable between batch sizes; clusters are made outside of the
//! measurement. Not a timed test.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use raft::eraftpb;
use raft::prelude::{ConfState, RawNode};
use raft::storage::MemStorage;
use seaworthy::raft::{Command, Config, Entry, Message, Options, Raft, RaftId, Restored};

const SERVERS: u64 = 3;
const ENTRIES: u64 = 6_400;
const COMMAND: [u8; 64] = [7; 64];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for batch in [1, 64] {
        let mut group = criterion.benchmark_group(format!("commit, batch {batch}"));
        group.throughput(Throughput::Elements(ENTRIES));
        group.bench_function("seaworthy", |b| {
            b.iter_batched(Ours::elected, |c| commit(c, batch), BatchSize::LargeInput);
        });
        group.bench_function("raft-rs", |b| {
            b.iter_batched(Theirs::elected, |c| commit(c, batch), BatchSize::LargeInput);
        });
        group.finish();
    }
    criterion.final_summary();
}

/// A cluster with server 1 as its leader.
trait Cluster {
    fn elected() -> Self;
    /// Has the leader take this many commands.
    fn propose(&mut self, count: u64);
    /// Delivers everything and lets everybody act once. Returns the number of messages.
    fn turn(&mut self) -> u64;
    /// Commands that all servers together were told to apply.
    fn applied(&self) -> u64;
}

/// Commits the entries in batches. Gives the cluster back, so that its end is not
/// measured.
fn commit<C: Cluster>(mut cluster: C, batch: u64) -> C {
    let before = cluster.applied();
    for _ in 0..ENTRIES / batch {
        cluster.propose(batch);
        while cluster.turn() > 0 {}
    }
    // Followers learn of the last batch's commit with the next one.
    let applied = cluster.applied() - before;
    assert!(applied >= SERVERS * (ENTRIES - batch), "only {applied} were applied");
    cluster
}

/// This repository's core.
struct Ours {
    servers: Vec<(Raft, Vec<Entry>)>,
    messages: Vec<Message>,
    applied: u64,
}

impl Cluster for Ours {
    fn elected() -> Ours {
        let config = Config::of_voters((1..=SERVERS).map(RaftId));
        let server = |id| {
            let (options, from) = (Options::default(), Restored::default());
            (Raft::new(RaftId(id), config.clone(), id, options, from), Vec::new())
        };
        let servers = (1..=SERVERS).map(server).collect();
        let mut cluster = Ours { servers, messages: Vec::new(), applied: 0 };
        cluster.servers[0].0.campaign();
        while cluster.turn() > 0 {}
        assert!(cluster.servers[0].0.is_leader());
        cluster
    }

    fn propose(&mut self, count: u64) {
        for _ in 0..count {
            let command = Command::from(black_box(COMMAND).to_vec());
            self.servers[0].0.propose(command).expect("server 1 leads");
        }
    }

    fn turn(&mut self) -> u64 {
        for message in std::mem::take(&mut self.messages) {
            self.servers[message.to.0 as usize - 1].0.step(message);
        }
        for (raft, disk) in &mut self.servers {
            loop {
                let ready = raft.ready();
                if ready.is_empty() {
                    break;
                }
                self.messages.extend(ready.messages);
                if let Some(persist) = ready.persist {
                    disk.extend(persist.entries);
                    raft.persisted(persist.id);
                }
                self.messages.extend(ready.messages_after);
                self.applied += ready.committed.len() as u64;
                black_box(ready.committed);
            }
        }
        self.messages.len() as u64
    }

    fn applied(&self) -> u64 {
        self.applied
    }
}

/// Crate `raft`.
struct Theirs {
    servers: Vec<RawNode<MemStorage>>,
    messages: Vec<eraftpb::Message>,
    applied: u64,
}

impl Cluster for Theirs {
    fn elected() -> Theirs {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let server = |id| {
            let voters: Vec<u64> = (1..=SERVERS).collect();
            let storage = MemStorage::new_with_conf_state(ConfState::from((voters, vec![])));
            let config = raft::Config {
                id,
                election_tick: 10,
                heartbeat_tick: 3,
                pre_vote: true,
                check_quorum: true,
                max_size_per_msg: 256 << 10,
                max_inflight_msgs: 128,
                batch_append: true,
                ..raft::Config::default()
            };
            RawNode::new(&config, storage, &logger).expect("the configuration is valid")
        };
        let servers = (1..=SERVERS).map(server).collect();
        let mut cluster = Theirs { servers, messages: Vec::new(), applied: 0 };
        cluster.servers[0].campaign().expect("it may stand");
        while cluster.turn() > 0 {}
        assert_eq!(cluster.servers[0].raft.state, raft::StateRole::Leader);
        cluster
    }

    fn propose(&mut self, count: u64) {
        for _ in 0..count {
            let command = black_box(COMMAND).to_vec();
            self.servers[0].propose(vec![], command).expect("server 1 leads");
        }
    }

    fn turn(&mut self) -> u64 {
        for message in std::mem::take(&mut self.messages) {
            self.servers[message.to as usize - 1].step(message).expect("it is a raft message");
        }
        for node in &mut self.servers {
            // As the crate's documentation says it is to be used.
            while node.has_ready() {
                let mut ready = node.ready();
                self.messages.extend(ready.take_messages());
                self.applied += apply(ready.take_committed_entries());
                let mut disk = node.raft.raft_log.store.wl();
                disk.append(ready.entries()).expect("entries follow each other");
                if let Some(hard_state) = ready.hs() {
                    disk.set_hardstate(hard_state.clone());
                }
                drop(disk);
                self.messages.extend(ready.take_persisted_messages());
                let mut light = node.advance(ready);
                if let Some(commit) = light.commit_index() {
                    node.raft.raft_log.store.wl().mut_hard_state().set_commit(commit);
                }
                self.messages.extend(light.take_messages());
                self.applied += apply(light.take_committed_entries());
                node.advance_apply();
            }
        }
        self.messages.len() as u64
    }

    fn applied(&self) -> u64 {
        self.applied
    }
}

fn apply(entries: Vec<eraftpb::Entry>) -> u64 {
    black_box(entries).len() as u64
}
