//! The cost of lin-kv's state: a log of many writes, a snapshot of a million keys, and a
//! restart from a log of many records.
//!
//! `cargo bench -p seaworthy-workloads --bench lin_kv [-- WRITES]`
//!
//! The first part is one node on a real disk, in a cluster of one: WRITES small writes (ten million
//! by default) to a thousand keys, an fsync after every thousand. It reports the sizes of the data
//! directory and the process, and how long a restart takes: until the state is there, and until the
//! first answer, for which the node must be elected first. The second part is a state of its own,
//! without node or disk. The third is a node on a disk in memory that never compacts: each write is
//! a record, and the time of a restart should grow as their number does. Not a timed test.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and reports on stdout"
)]

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use seaworthy::message::Message;
use seaworthy::node::{Effect, Input, Node, Ticket};
use seaworthy::shell::raft::StateMachine;
use seaworthy::storage::{FileStorage, MemoryStorage, Storage, Write};
use seaworthy::time::Time;
use seaworthy_workloads::Options;
use seaworthy_workloads::lin_kv::{LinKv, Registers};
use serde_json::value::RawValue;

const INIT: &str =
    r#"{"src":"c","dest":"n0","body":{"type":"init","msg_id":1,"node_id":"n0","node_ids":["n0"]}}"#;
const KEYS: u64 = 1_000_000;
/// Writes that arrive together and become durable together.
const TURN: u64 = 1000;

fn main() {
    let number = std::env::args().skip(1).find(|arg| arg != "--bench");
    let writes: u64 = number.map_or(10_000_000, |n| n.parse().expect("a number of writes"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(long_log(writes));
    snapshot();
    for records in [10_000, 100_000, 200_000] {
        restart(records);
    }
}

fn snapshot() {
    let mut registers = Registers::default();
    for key in 0..KEYS {
        let command = RawValue::from_string(format!(r#"{{"w":[{key},{}]}}"#, key * 7)).unwrap();
        registers.apply(&command);
    }
    let start = Instant::now();
    let bytes = registers.snapshot();
    let taken = start.elapsed();
    let mut other = Registers::default();
    let start = Instant::now();
    other.restore(&bytes).unwrap();
    let restored = start.elapsed();
    let mb = bytes.len() as f64 / 1e6;
    println!("{KEYS} keys: snapshot {taken:.1?}, restore {restored:.1?}, {mb:.1} MB");
}

/// One node on a disk, driven without a network.
struct Rig {
    node: Node,
    storage: FileStorage,
    start: Instant,
    answers: u64,
}

impl Rig {
    /// Starts a node on the data in `dir`. Returns how long it took until it had its state,
    /// and until it answered.
    async fn start(dir: &Path) -> (Rig, Duration, Duration) {
        let start = Instant::now();
        let (storage, recovered) = FileStorage::open(dir).unwrap();
        let node = Node::new(Box::new(LinKv::new(&Options::default())), 1);
        let mut rig = Rig { node, storage, start, answers: 0 };
        rig.turn(vec![message(INIT)]).await;
        rig.turn(vec![Input::Recovered(recovered)]).await;
        while rig.answers == 0 {
            rig.turn(Vec::new()).await;
        }
        let recovered = start.elapsed();
        // Answers once it leads and has applied its log.
        let read = r#"{"src":"c","dest":"n0","body":{"type":"read","msg_id":2,"key":0}}"#;
        rig.turn(vec![message(read)]).await;
        while rig.answers < 2 {
            rig.turn(Vec::new()).await;
        }
        (rig, recovered, start.elapsed())
    }

    /// Handles inputs and their consequences, with one fsync at a time.
    async fn turn(&mut self, inputs: Vec<Input>) {
        let mut inputs = inputs;
        loop {
            inputs.push(Input::Tick);
            let mut writes: Vec<Write> = Vec::new();
            let mut last: Option<Ticket> = None;
            let mut effects = Vec::new();
            for input in inputs.drain(..) {
                let now = Time::ZERO + self.start.elapsed();
                self.node.step(now, input, &mut effects);
            }
            for effect in effects {
                match effect {
                    Effect::Open(_) => {}
                    Effect::Persist(ticket, write) => {
                        writes.push(write);
                        last = Some(ticket);
                    }
                    Effect::Send(_) | Effect::SendAfter(..) => self.answers += 1,
                }
            }
            let Some(ticket) = last else { return };
            self.storage.commit(writes).await.unwrap();
            inputs.push(Input::Durable(ticket));
        }
    }
}

async fn long_log(writes: u64) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let (mut rig, ..) = Rig::start(dir.path()).await;
    let (before, start) = (rig.answers, Instant::now());
    let mut largest = 0;
    for turn in 0..writes / TURN {
        let inputs = (0..TURN).map(|i| write(turn * TURN + i)).collect();
        rig.turn(inputs).await;
        while rig.answers - before < (turn + 1) * TURN {
            rig.turn(Vec::new()).await;
        }
        if turn % 100 == 0 {
            largest = size(dir.path()).max(largest);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let peak_kib = status("VmHWM:");
    println!("{writes} writes: {:.0}/s, an fsync for each {TURN}", writes as f64 / seconds);
    println!(
        "data directory {:.1} MB at most, memory {peak_kib} KiB at most",
        largest as f64 / 1e6
    );
    drop(rig);
    let (_rig, recovered, answered) = Rig::start(dir.path()).await;
    println!("restart: state after {recovered:.1?}, first answer after {answered:.1?}");
}

/// One node on a disk in memory, which never compacts, on virtual time.
struct Records {
    node: Node,
    disk: MemoryStorage,
    now: Time,
    answers: u64,
}

impl Records {
    /// Starts a node on the data of `disk`. Returns how long it took until it had its state.
    fn start(mut disk: MemoryStorage) -> (Records, Duration) {
        let recovered = disk.recover();
        let mut options = Options::default();
        options.raft.compact_bytes = u64::MAX;
        let node = Node::new(Box::new(LinKv::new(&options)), 1);
        let mut new = Records { node, disk, now: Time::ZERO, answers: 0 };
        new.turn(message(INIT));
        let start = Instant::now();
        new.turn(Input::Recovered(recovered));
        let took = start.elapsed();
        // The election, and the session.
        for _ in 0..30 {
            new.now = new.now + Duration::from_millis(100);
            new.turn(Input::Tick);
        }
        (new, took)
    }

    fn turn(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.node.step(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Open(_) => {}
                    Effect::Persist(ticket, write) => {
                        self.disk.stage(write).unwrap();
                        self.disk.sync().unwrap();
                        inputs.push_back(Input::Durable(ticket));
                    }
                    Effect::Send(_) | Effect::SendAfter(..) => self.answers += 1,
                }
            }
            if inputs.is_empty() && self.node.next_deadline().is_some_and(|at| at <= self.now) {
                inputs.push_back(Input::Tick);
            }
        }
    }
}

fn restart(records: u64) {
    let (mut node, _) = Records::start(MemoryStorage::new());
    let before = node.answers;
    (0..records).for_each(|number| node.turn(write(number)));
    assert_eq!(node.answers - before, records, "each write is answered, and is a record");
    let (_, took) = Records::start(node.disk);
    let each = took / u32::try_from(records).unwrap();
    println!("restart from {records} records: {took:.1?}, {each:.1?} each");
}

fn write(number: u64) -> Input {
    let (msg_id, key) = (number + 10, number % 1000);
    message(&format!(
        r#"{{"src":"c","dest":"n0","body":{{"type":"write","msg_id":{msg_id},"key":{key},"value":{number}}}}}"#
    ))
}

fn message(line: &str) -> Input {
    Input::Message(Message::from_line(line.as_bytes()).unwrap())
}

/// The bytes in a directory and below.
fn size(path: &Path) -> u64 {
    let meta = fs::metadata(path);
    if !meta.as_ref().is_ok_and(fs::Metadata::is_dir) {
        // Compaction may have removed it a moment ago.
        return meta.map_or(0, |m| m.len());
    }
    fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
