//! Transactions on a database that keeps each open for some milliseconds.
//!
//! A sound one executes a transaction at the moment it commits. Each bug is a way of doing a part
//! of it earlier, or of not doing it right, and has the name that Adya and Elle give to its
//! anomaly. A weaker model that tolerates the bug, where there is one, shows that it is this bug
//! that was found, and no other.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{ErrorCode, Request};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy_bench::check::Outcome;
use serde_json::{Value, json};

use super::{assert_named, assert_valid, fields, refusal, run};

/// One in so many transactions meets a bug that would otherwise strike always.
const RARE: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Read-only transactions are answered from a cache that is seldom refreshed.
    StaleRead,
    /// A value that was read when the transaction began is not looked at again when it commits.
    LostUpdate,
    /// As before, but a commit is refused if one of its keys was written since.
    WriteSkew,
    /// A value that a transaction is going to overwrite itself can be seen.
    DirtyRead,
    /// A write of a transaction can be seen before it is given up.
    AbortedRead,
    /// The first key is read when the transaction begins, the others when it commits.
    FracturedRead,
    /// The first half of a transaction takes effect before the second.
    DirtyWrite,
    /// A transaction does not see its own writes.
    OwnWritesUnseen,
    /// An append is repeated.
    AppendedTwice,
    /// A reader sees the two last appends in the other order.
    OrderedTwoWays,
    /// A reader sees a value that was never written.
    Invented,
}

type State = BTreeMap<String, Value>;

struct Mop {
    f: String,
    key: Value,
    value: Value,
}

impl Mop {
    fn reads(&self) -> bool {
        self.f == "r"
    }

    fn name(&self) -> String {
        self.key.to_string()
    }
}

/// The result of executing some micro-operations.
struct Done {
    answer: Vec<Value>,
    writes: State,
}

/// A transaction that is not committed yet.
struct Open {
    request: Request,
    txn: Vec<Mop>,
    /// All that there was when it began.
    before: State,
    /// The part that was done when it began.
    early: Option<Done>,
}

struct Database {
    bug: Bug,
    state: State,
    cache: State,
    open: BTreeMap<u64, Open>,
    begun: u64,
}

impl Database {
    fn new(bug: Bug) -> Database {
        let (state, cache, open) = (State::new(), State::new(), BTreeMap::new());
        Database { bug, state, cache, open, begun: 0 }
    }

    /// Executes micro-operations one after the other; nothing is written to `state` yet.
    fn execute(&self, state: &State, txn: &[Mop]) -> Done {
        let mut writes = State::new();
        let mut answer = Vec::new();
        for mop in txn {
            let name = mop.name();
            let own =
                writes.get(&name).filter(|_| !(mop.reads() && self.bug == Bug::OwnWritesUnseen));
            let current = own.or_else(|| state.get(&name)).cloned().unwrap_or_default();
            let result = if mop.reads() { current.clone() } else { mop.value.clone() };
            answer.push(json!([mop.f, mop.key, result]));
            match mop.f.as_str() {
                "w" => drop(writes.insert(name, mop.value.clone())),
                "append" => drop(writes.insert(name, appended(current, &mop.value))),
                _ => {}
            }
        }
        Done { answer, writes }
    }

    /// Does a bug's work as the transaction comes in.
    fn begin(&mut self, txn: &[Mop]) -> Option<Done> {
        match self.bug {
            Bug::LostUpdate | Bug::WriteSkew => Some(self.execute(&self.state, txn)),
            Bug::DirtyWrite => {
                let done = self.execute(&self.state, &txn[..txn.len() / 2]);
                self.state.extend(done.writes.clone());
                Some(done)
            }
            Bug::DirtyRead => {
                let first = &txn[0];
                let overwritten = txn[1..].iter().any(|m| !m.reads() && m.key == first.key);
                if !first.reads() && overwritten {
                    self.state.insert(first.name(), first.value.clone());
                }
                None
            }
            Bug::AbortedRead if self.begun.is_multiple_of(RARE) => {
                let done = self.execute(&self.state, txn);
                self.state.extend(done.writes.clone());
                Some(done)
            }
            _ => None,
        }
    }

    /// The answer, or nothing if the transaction is refused.
    fn commit(&mut self, number: u64, open: Open) -> Option<Vec<Value>> {
        let Open { txn, before, early, .. } = open;
        let struck = number.is_multiple_of(RARE);
        let done = match (self.bug, early) {
            (Bug::StaleRead, _) if txn.iter().all(Mop::reads) => self.execute(&self.cache, &txn),
            (Bug::LostUpdate, Some(done)) => done,
            (Bug::WriteSkew, Some(done)) => {
                let written_since = |name| self.state.get(name) != before.get(name);
                if done.writes.keys().any(written_since) {
                    return None;
                }
                done
            }
            (Bug::AbortedRead, Some(done)) => {
                self.take_back(&done.writes, &before);
                return None;
            }
            (Bug::DirtyWrite, Some(first)) => {
                let second = self.execute(&self.state, &txn[txn.len() / 2..]);
                Done { answer: [first.answer, second.answer].concat(), ..second }
            }
            (Bug::FracturedRead, _) => {
                let mut torn = self.state.clone();
                let first = txn[0].name();
                torn.insert(first.clone(), before.get(&first).cloned().unwrap_or_default());
                self.execute(&torn, &txn)
            }
            _ => self.execute(&self.state, &txn),
        };
        let Done { mut answer, mut writes } = done;
        match self.bug {
            Bug::AppendedTwice if struck => {
                writes.values_mut().for_each(|list| *list = appended(list.take(), &last(list)));
            }
            Bug::OrderedTwoWays if struck => answer.iter_mut().for_each(swap_last_two),
            Bug::Invented if struck => {
                answer
                    .iter_mut()
                    .filter(|mop| mop[0] == "r")
                    .for_each(|mop| mop[2] = 1_000_000.into());
            }
            _ => {}
        }
        self.state.extend(writes);
        if number.is_multiple_of(8 * RARE) {
            self.cache = self.state.clone();
        }
        Some(answer)
    }

    /// Writes the earlier values, unless they were overwritten since.
    fn take_back(&mut self, writes: &State, before: &State) {
        for (name, written) in writes {
            if self.state.get(name) == Some(written) {
                self.state.insert(name.clone(), before.get(name).cloned().unwrap_or_default());
            }
        }
    }
}

fn appended(list: Value, value: &Value) -> Value {
    let mut items = list.as_array().cloned().unwrap_or_default();
    items.push(value.clone());
    items.into()
}

fn last(list: &Value) -> Value {
    list.as_array().and_then(|items| items.last()).cloned().unwrap_or_default()
}

fn swap_last_two(mop: &mut Value) {
    if let Some(items) = mop[2].as_array_mut()
        && let [.., a, b] = items.as_mut_slice()
    {
        std::mem::swap(a, b);
    }
}

impl Workload for Database {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Message(message) => {
                let mops = fields(&message)["txn"].as_array().unwrap().clone();
                let mop = |m: &Value| Mop {
                    f: m[0].as_str().unwrap().to_owned(),
                    key: m[1].clone(),
                    value: m[2].clone(),
                };
                let txn: Vec<Mop> = mops.iter().map(mop).collect();
                self.begun += 1;
                let before = self.state.clone();
                let early = self.begin(&txn);
                let request = message.request();
                self.open.insert(self.begun, Open { request, txn, before, early });
                let delay = 1 + u64::from(cx.rng().next_u32() % 20);
                cx.set_timer(Token(self.begun), Duration::from_millis(delay));
            }
            Event::Timer(Token(number)) => {
                let Some(open) = self.open.remove(&number) else { return };
                let request = open.request.clone();
                match self.commit(number, open) {
                    Some(txn) => cx.reply(&request, &json!({"type": "txn_ok", "txn": txn})),
                    None => cx.error(&request, &refusal(ErrorCode::TXN_CONFLICT)),
                }
            }
            _ => {}
        }
    }
}

fn judged(workload: &str, models: &str, bug: Bug) -> Outcome {
    let flags = format!(
        "-w {workload} --concurrency 5n --rate 200 --time-limit 5 --key-count 4 \
         --consistency-models {models}"
    );
    run(&flags, move || Database::new(bug))
}

#[test]
fn a_sound_database_passes() {
    for workload in ["txn-list-append", "txn-rw-register"] {
        assert_valid(workload, &judged(workload, "strict-serializable", Bug::None));
    }
}

/// Asserts that the bug is called `anomaly` where `forbids` is demanded, and passes where
/// `tolerates` is.
fn assert_caught(workload: &str, bug: Bug, anomaly: &str, forbids: &str, tolerates: Option<&str>) {
    let what = format!("{bug:?} in {workload}");
    let outcome = judged(&format!("txn-{workload}"), forbids, bug);
    assert_named(&what, &outcome, "anomaly-types", anomaly);
    if let Some(weaker) = tolerates {
        assert_valid(&what, &judged(&format!("txn-{workload}"), weaker, bug));
    }
}

#[test]
fn a_stale_read_is_named() {
    assert_caught(
        "list-append",
        Bug::StaleRead,
        "G-single-item-realtime",
        "strict-serializable",
        Some("serializable"),
    );
}

#[test]
fn a_lost_update_is_named() {
    assert_caught(
        "rw-register",
        Bug::LostUpdate,
        "lost-update",
        "snapshot-isolation",
        Some("read-committed,read-atomic"),
    );
}

#[test]
fn a_write_skew_is_named() {
    assert_caught(
        "list-append",
        Bug::WriteSkew,
        "G2-item",
        "serializable",
        Some("snapshot-isolation"),
    );
}

#[test]
fn a_dirty_read_is_named() {
    assert_caught("rw-register", Bug::DirtyRead, "G1b", "read-committed", Some("read-uncommitted"));
}

#[test]
fn an_aborted_read_is_named() {
    assert_caught(
        "rw-register",
        Bug::AbortedRead,
        "G1a",
        "read-committed",
        Some("read-uncommitted"),
    );
}

#[test]
fn a_fractured_read_is_named() {
    assert_caught(
        "rw-register",
        Bug::FracturedRead,
        "fractured-read",
        "read-atomic",
        Some("read-committed"),
    );
}

#[test]
fn a_dirty_write_is_named() {
    assert_caught("list-append", Bug::DirtyWrite, "G0", "read-uncommitted", None);
}

#[test]
fn own_writes_that_are_not_seen_are_named() {
    assert_caught("list-append", Bug::OwnWritesUnseen, "internal", "read-atomic", None);
}

#[test]
fn an_append_done_twice_is_named() {
    assert_caught(
        "list-append",
        Bug::AppendedTwice,
        "duplicate-elements",
        "strict-serializable",
        None,
    );
}

#[test]
fn two_orders_of_one_list_are_named() {
    assert_caught(
        "list-append",
        Bug::OrderedTwoWays,
        "incompatible-order",
        "strict-serializable",
        None,
    );
}

#[test]
fn an_invented_value_is_named() {
    // Where aborted reads are allowed a value from nowhere is a warning.
    assert_caught(
        "rw-register",
        Bug::Invented,
        "phantom",
        "read-committed",
        Some("read-uncommitted"),
    );
}
