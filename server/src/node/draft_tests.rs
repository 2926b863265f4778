//! A server alone: its log goes on while its state is encoded, and shares its bytes with the state.

use std::time::Duration;

use seaworthy::raft::{Entry, Payload, RaftId};
use seaworthy::storage::{MemoryStorage, Write, WriteData};
use seaworthy::time::Time;

use super::shelf::Shelf;
use super::tests::put;
use super::{Effect, Frozen, Input, Member, Node, Options, Replaces, Start, Token};
use crate::proto::etcdserverpb::RangeRequest;

const STREAM: &str = "raft";
const VALUE: [u8; 100] = [b'v'; 100];

struct Alone {
    node: Node,
    now: Time,
    disk: MemoryStorage,
    shelf: Shelf,
    /// The states that were handed out to be encoded.
    frozen: Vec<Frozen>,
    /// The part of the log that each checkpoint replaced, and its bytes behind the state.
    checkpoints: Vec<(Replaces, usize)>,
}

impl Alone {
    /// Starts with the content of a disk.
    fn start(mut disk: MemoryStorage) -> Alone {
        let id = RaftId(1);
        let member = Member { name: "n1".into(), incarnation: 7, ..Member::default() };
        let founders = [(id, Member { incarnation: 0, ..member.clone() })].into();
        let options = Options { snapshot_bytes: 2000, ..Options::default() };
        let log = disk.recover().take(STREAM);
        let (shelf, state) = Shelf::open(&log);
        let (cluster, nonces, tree) = (None, [1, 2], None);
        let start = Start { id, founders, member, options, nonces, cluster, log, state, tree };
        let (node, first) = Node::start(start).unwrap();
        disk.stage(Write { stream: STREAM, data: WriteData::Record(first) }).unwrap();
        let (now, frozen, checkpoints) = (Time::from_millis(1), Vec::new(), Vec::new());
        Alone { node, now, disk, shelf, frozen, checkpoints }
    }

    /// Lets time pass. The disk is swift; a state that is to be encoded waits in `frozen`.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + Duration::from_millis(1);
            let mut effects = Vec::new();
            self.node.flush(self.now, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist(ticket, bytes) => {
                        self.write(WriteData::Record(bytes));
                        self.node.step(self.now, Input::Durable(ticket));
                    }
                    Effect::Mark => self.write(WriteData::Mark),
                    Effect::Checkpoint(ticket, checkpoint) => {
                        let replaces = checkpoint.replaces;
                        let bytes = self.shelf.checkpoint(checkpoint);
                        let (_, state) = self.shelf.latest().unwrap();
                        self.checkpoints.push((replaces, bytes.len() - state.len()));
                        self.write(match replaces {
                            Replaces::Everything => WriteData::Checkpoint(bytes),
                            Replaces::UpToMark => WriteData::CheckpointAtMark(bytes),
                        });
                        self.node.step(self.now, Input::Durable(ticket));
                    }
                    Effect::Freeze(frozen) => self.frozen.push(*frozen),
                    _ => {}
                }
            }
        }
    }

    fn write(&mut self, data: WriteData) {
        self.disk.stage(Write { stream: STREAM, data }).unwrap();
        self.disk.sync().unwrap();
    }

    fn put(&mut self, n: u64) {
        self.node.step(self.now, Input::Request(Token(n), put(&format!("k{n}"), &VALUE)));
        self.run(20);
    }

    /// The state of before `frozen` was handed out is durable.
    fn encoded(&mut self) {
        let written = self.shelf.write(&self.frozen.pop().unwrap());
        self.node.step(self.now, written);
        self.run(1);
    }

    fn hash(&self) -> u32 {
        self.node.machine().store.hash(0).unwrap()
    }
}

#[test]
fn the_log_behind_a_mark_stays_and_is_not_written_again() {
    let mut alone = Alone::start(MemoryStorage::new());
    alone.run(5000);
    (0..30).for_each(|n| alone.put(n));
    assert_eq!(alone.frozen.len(), 1, "the log has grown enough");
    (30..400).for_each(|n| alone.put(n));
    alone.encoded();
    let [(Replaces::UpToMark, bytes)] = alone.checkpoints[..] else {
        panic!("{:?}", alone.checkpoints)
    };
    assert!(bytes < 30 * 300, "{bytes} bytes: the records behind the mark are not in it");
    for n in 400..410 {
        alone.put(n);
    }
    let mut next = Alone::start(alone.disk.clone());
    next.run(5000);
    assert_eq!(next.hash(), alone.hash(), "410 keys, of three parts of the log");
    assert!(next.node.raft.snapshot().is_some(), "from a state");
}

#[test]
fn log_and_state_hold_the_bytes_of_a_long_value_once() {
    let mut alone = Alone::start(MemoryStorage::new());
    alone.run(5000);
    alone.node.step(alone.now, Input::Request(Token(1), put("k", &[b'v'; 1000])));
    alone.run(20);
    let request = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    let found = alone.node.machine().store.range(&request).unwrap();
    let in_log = |entry: &Entry| match &entry.payload {
        Payload::Command(command) => {
            command.0.as_ptr_range().contains(&found.kvs[0].value.as_ptr())
        }
        _ => false,
    };
    assert!(alone.node.raft.entries().any(in_log), "the state has a copy");
}
