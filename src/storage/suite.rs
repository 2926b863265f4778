//! One suite of tests for all kinds of storage.
//!
//! A [`Machine`] is a storage with a power switch. Each promise of the module's
//! essay is tested on all machines, and a random history of commits, checkpoints
//! and crashes is compared with a model that is a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;

/// A storage that can be switched off.
pub(super) trait Machine {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError>;
    /// The next commit fails, somewhere that `dice` decides.
    fn fail_commit(&mut self, writes: Vec<Write>, dice: u64) -> Result<(), StorageError>;
    /// Power off and on; everything in flight is lost, torn or kept, as `dice` decides.
    fn restart(&mut self, dice: u64) -> Recovered;
}

struct FileMachine {
    dir: TempDir,
    runtime: Runtime,
    storage: Option<FileStorage>,
}

impl FileMachine {
    fn boxed() -> Box<dyn Machine> {
        let dir = scratch();
        let runtime = Builder::new_current_thread().build().unwrap();
        let mut machine = FileMachine { dir, runtime, storage: None };
        assert_eq!(machine.restart(0), Recovered::default());
        Box::new(machine)
    }
}

impl Machine for FileMachine {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        self.runtime.block_on(self.storage.as_mut().unwrap().commit(writes))
    }

    fn fail_commit(&mut self, writes: Vec<Write>, dice: u64) -> Result<(), StorageError> {
        self.storage.as_mut().unwrap().fail_after((dice % 8) as u32);
        self.commit(writes)
    }

    fn restart(&mut self, _dice: u64) -> Recovered {
        // The lock goes with the old one.
        self.storage = None;
        let options = FileOptions { segment_bytes: 100 };
        let (storage, recovered) = FileStorage::open_with(self.dir.path(), options).unwrap();
        self.storage = Some(storage);
        recovered
    }
}

struct MemoryMachine {
    runtime: Runtime,
    storage: MemoryStorage,
}

impl MemoryMachine {
    fn boxed() -> Box<dyn Machine> {
        let runtime = Builder::new_current_thread().build().unwrap();
        Box::new(MemoryMachine { runtime, storage: MemoryStorage::new() })
    }
}

impl Machine for MemoryMachine {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        self.runtime.block_on(self.storage.commit(writes))
    }

    fn fail_commit(&mut self, writes: Vec<Write>, dice: u64) -> Result<(), StorageError> {
        match dice % 2 {
            0 => self.storage.fail_next_sync(),
            _ => self.storage.set_free_bytes(Some(dice % 100)),
        }
        let result = self.commit(writes);
        self.storage.set_free_bytes(None);
        result
    }

    fn restart(&mut self, dice: u64) -> Recovered {
        let unsynced = [Unsynced::Lost, Unsynced::Prefix, Unsynced::Kept][(dice % 3) as usize];
        let model = CrashModel { unsynced, tear_percent: 50 };
        self.storage.crash(&mut Pcg64Mcg::seed_from_u64(dice), model);
        self.storage.recover()
    }
}

/// A directory for a test: in memory where the system has such a place, because these
/// tests flush thousands of times and a shared disk may take its time for each.
pub(super) fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A test that every kind of storage has to pass, on a machine that is new.
pub(super) type Promise = fn(&mut dyn Machine);

/// The promises, by name. The tests of `postgres` go through them too.
#[cfg(feature = "postgres")]
pub(super) const PROMISES: [(&str, Promise); 7] = [
    ("order", committed_records_come_back_in_order),
    ("checkpoint", checkpoint_replaces),
    ("mark", checkpoint_at_mark_keeps_what_follows),
    ("streams", streams_are_apart),
    ("empty", nothing_can_be_written),
    ("long", records_may_be_long),
    ("failure", failed_commit_is_final),
];

fn on_both(promise: Promise) {
    promise(&mut *FileMachine::boxed());
    promise(&mut *MemoryMachine::boxed());
}

pub(super) fn record(stream: &'static str, bytes: impl AsRef<[u8]>) -> Write {
    Write { stream, data: WriteData::Record(bytes.as_ref().to_vec()) }
}

pub(super) fn checkpoint(stream: &'static str, bytes: impl AsRef<[u8]>) -> Write {
    Write { stream, data: WriteData::Checkpoint(bytes.as_ref().to_vec()) }
}

pub(super) fn mark(stream: &'static str) -> Write {
    Write { stream, data: WriteData::Mark }
}

pub(super) fn checkpoint_at_mark(stream: &'static str, bytes: impl AsRef<[u8]>) -> Write {
    Write { stream, data: WriteData::CheckpointAtMark(bytes.as_ref().to_vec()) }
}

pub(super) fn log(checkpoint: Option<&str>, records: &[&str]) -> Log {
    Log {
        checkpoint: checkpoint.map(|state| state.as_bytes().to_vec()),
        records: records.iter().map(|record| record.as_bytes().to_vec()).collect(),
        lost: None,
    }
}

#[test]
fn committed_records_come_back_in_order_and_the_log_goes_on() {
    on_both(committed_records_come_back_in_order);
}

fn committed_records_come_back_in_order(machine: &mut dyn Machine) {
    machine.commit(vec![record("s", "a"), record("s", "b")]).unwrap();
    machine.commit(vec![record("s", "c")]).unwrap();
    assert_eq!(machine.restart(1).take("s"), log(None, &["a", "b", "c"]));
    machine.commit(vec![record("s", "d")]).unwrap();
    assert_eq!(machine.restart(2).take("s"), log(None, &["a", "b", "c", "d"]));
    assert_eq!(machine.restart(3).take("s"), log(None, &["a", "b", "c", "d"]));
}

#[test]
fn a_checkpoint_replaces_what_came_before_it() {
    on_both(checkpoint_replaces);
}

fn checkpoint_replaces(machine: &mut dyn Machine) {
    machine.commit(vec![record("s", "a")]).unwrap();
    machine.commit(vec![checkpoint("s", "A")]).unwrap();
    assert_eq!(machine.restart(1).take("s"), log(Some("A"), &[]));
    machine.commit(vec![record("s", "b"), checkpoint("s", "B"), record("s", "c")]).unwrap();
    assert_eq!(machine.restart(2).take("s"), log(Some("B"), &["c"]));
    machine.commit(vec![checkpoint("s", "C"), checkpoint("s", "D")]).unwrap();
    machine.commit(vec![record("s", "d")]).unwrap();
    assert_eq!(machine.restart(3).take("s"), log(Some("D"), &["d"]));
}

#[test]
fn a_checkpoint_at_a_mark_keeps_what_follows_the_mark() {
    on_both(checkpoint_at_mark_keeps_what_follows);
}

fn checkpoint_at_mark_keeps_what_follows(machine: &mut dyn Machine) {
    machine.commit(vec![record("s", "a"), mark("s"), record("s", "b")]).unwrap();
    machine.commit(vec![record("s", "c")]).unwrap();
    machine.commit(vec![checkpoint_at_mark("s", "A"), record("s", "d")]).unwrap();
    assert_eq!(machine.restart(1).take("s"), log(Some("A"), &["b", "c", "d"]));
    // The later of two marks counts, with and without records behind it.
    machine.commit(vec![mark("s"), record("s", "e"), mark("s")]).unwrap();
    machine.commit(vec![checkpoint_at_mark("s", "A-E")]).unwrap();
    assert_eq!(machine.restart(2).take("s"), log(Some("A-E"), &[]));
    machine.commit(vec![record("s", "f"), mark("s"), record("s", "g")]).unwrap();
    machine.commit(vec![checkpoint("s", "A-G"), record("s", "h"), mark("s")]).unwrap();
    machine.commit(vec![record("s", "i"), checkpoint_at_mark("s", "A-H")]).unwrap();
    machine.commit(vec![record("s", "j")]).unwrap();
    assert_eq!(machine.restart(3).take("s"), log(Some("A-H"), &["i", "j"]));
}

#[test]
fn streams_know_nothing_of_each_other() {
    on_both(streams_are_apart);
}

fn streams_are_apart(machine: &mut dyn Machine) {
    let writes = vec![record("a", "1"), record("b", "2"), checkpoint("a", "A")];
    machine.commit(writes).unwrap();
    machine.commit(vec![record("b", "3")]).unwrap();
    let mut recovered = machine.restart(1);
    assert_eq!(recovered.streams().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(recovered.take("a"), log(Some("A"), &[]));
    assert_eq!(recovered.take("b"), log(None, &["2", "3"]));
    assert_eq!(recovered.take("c"), Log::default());
}

#[test]
fn nothing_is_something_to_write() {
    on_both(nothing_can_be_written);
}

fn nothing_can_be_written(machine: &mut dyn Machine) {
    machine.commit(vec![]).unwrap();
    assert_eq!(machine.restart(1), Recovered::default());
    machine.commit(vec![record("s", "")]).unwrap();
    machine.commit(vec![record("s", "")]).unwrap();
    machine.commit(vec![checkpoint("t", "")]).unwrap();
    let mut recovered = machine.restart(2);
    assert_eq!(recovered.take("s"), log(None, &["", ""]));
    assert_eq!(recovered.take("t"), log(Some(""), &[]));
}

#[test]
fn records_may_be_longer_than_a_segment() {
    on_both(records_may_be_long);
}

fn records_may_be_long(machine: &mut dyn Machine) {
    let long: Vec<u8> = (0..3_000_000_u32).map(|i| (i >> 3) as u8).collect();
    machine.commit(vec![record("s", "a"), record("s", &long), record("s", "b")]).unwrap();
    machine.commit(vec![record("s", "c"), checkpoint("t", &long)]).unwrap();
    let mut recovered = machine.restart(1);
    let expected = vec![b"a".to_vec(), long.clone(), b"b".to_vec(), b"c".to_vec()];
    assert_eq!(recovered.take("s").records, expected);
    assert_eq!(recovered.take("t").checkpoint, Some(long));
}

#[test]
fn after_a_failed_commit_all_later_ones_fail_until_a_restart() {
    on_both(failed_commit_is_final);
}

fn failed_commit_is_final(machine: &mut dyn Machine) {
    machine.commit(vec![record("s", "a")]).unwrap();
    machine.fail_commit(vec![record("s", "b")], 0).unwrap_err();
    for writes in [vec![record("s", "c")], vec![]] {
        let refused = machine.commit(writes).unwrap_err();
        assert!(refused.reason.contains("an earlier commit failed"), "{refused}");
    }
    let recovered = machine.restart(0).take("s");
    assert_eq!(recovered.records[0], b"a");
    assert!(!recovered.records.contains(&b"c".to_vec()));
    machine.commit(vec![record("s", "d")]).unwrap();
    assert_eq!(machine.restart(0).take("s").records.last().unwrap(), b"d");
}

/// The content that a machine should hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    logs: BTreeMap<&'static str, Log>,
    /// How many records of each stream stand before its mark.
    marks: BTreeMap<&'static str, usize>,
}

impl Model {
    pub(super) fn apply(&mut self, write: &Write) {
        let log = self.logs.entry(write.stream).or_default();
        match &write.data {
            WriteData::Record(record) => log.records.push(record.clone()),
            WriteData::Checkpoint(state) => {
                *log = Log { checkpoint: Some(state.clone()), ..Log::default() };
                self.marks.remove(write.stream);
            }
            WriteData::Mark => _ = self.marks.insert(write.stream, log.records.len()),
            WriteData::CheckpointAtMark(state) => {
                let before = self.marks.remove(write.stream).expect("there is a mark");
                log.records.drain(..before);
                log.checkpoint = Some(state.clone());
            }
        }
    }

    /// The same writes, with marks in the place of checkpoints at marks that were not set.
    pub(super) fn with_marks(&self, writes: Vec<Write>) -> Vec<Write> {
        let mut model = self.clone();
        let with_mark = |mut write: Write| {
            let is_set = model.marks.contains_key(write.stream);
            if matches!(write.data, WriteData::CheckpointAtMark(_)) && !is_set {
                write.data = WriteData::Mark;
            }
            model.apply(&write);
            write
        };
        writes.into_iter().map(with_mark).collect()
    }

    /// Holds `recovered` to the promises, given that `writes` were in flight, and goes on with it.
    pub(super) fn adopt(&mut self, mut recovered: Recovered, writes: &[Write]) {
        for stream in STREAMS {
            let found = recovered.take(stream);
            let mut allowed = vec![self.clone()];
            for write in writes.iter().filter(|write| write.stream == stream) {
                let mut longer = allowed[allowed.len() - 1].clone();
                longer.apply(write);
                allowed.push(longer);
            }
            let of = |model: &Model| model.logs.get(stream).cloned().unwrap_or_default();
            assert!(
                allowed.iter().any(|model| of(model) == found),
                "{stream} holds {found:?}, but that is none of {:?}",
                allowed.iter().map(of).collect::<Vec<_>>()
            );
            self.logs.insert(stream, found);
        }
        self.marks.clear();
        assert_eq!(recovered.streams().count(), 0, "a stream that was never written");
    }
}

const STREAMS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
pub(super) enum Op {
    Commit(Vec<Write>),
    /// A commit that may fail in the middle, and then the power goes.
    Crash(Vec<Write>, u64),
    Restart(u64),
}

pub(super) fn any_writes() -> impl Strategy<Value = Vec<Write>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..60);
    let write = (0..STREAMS.len(), 0..9, payload).prop_map(|(stream, kind, payload)| match kind {
        0 => checkpoint(STREAMS[stream], payload),
        1 => mark(STREAMS[stream]),
        2 => checkpoint_at_mark(STREAMS[stream], payload),
        _ => record(STREAMS[stream], payload),
    });
    proptest::collection::vec(write, 0..6)
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any_writes().prop_map(Op::Commit),
        3 => (any_writes(), any::<u64>()).prop_map(|(writes, dice)| Op::Crash(writes, dice)),
        1 => any::<u64>().prop_map(Op::Restart),
    ]
}

pub(super) fn agrees_with_model(machine: &mut dyn Machine, ops: Vec<Op>) {
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Commit(writes) => {
                let writes = model.with_marks(writes);
                machine.commit(writes.clone()).unwrap();
                writes.iter().for_each(|write| model.apply(write));
            }
            Op::Crash(writes, dice) => {
                let writes = model.with_marks(writes);
                match machine.fail_commit(writes.clone(), dice) {
                    Err(_) => model.adopt(machine.restart(dice >> 8), &writes),
                    Ok(()) => {
                        writes.iter().for_each(|write| model.apply(write));
                        model.adopt(machine.restart(dice >> 8), &[]);
                    }
                }
            }
            Op::Restart(dice) => model.adopt(machine.restart(dice), &[]),
        }
    }
    model.adopt(machine.restart(0), &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_agrees_with_the_model(ops in proptest::collection::vec(any_op(), 1..12)) {
        agrees_with_model(&mut *FileMachine::boxed(), ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_agrees_with_the_model(ops in proptest::collection::vec(any_op(), 1..24)) {
        agrees_with_model(&mut *MemoryMachine::boxed(), ops);
    }
}
