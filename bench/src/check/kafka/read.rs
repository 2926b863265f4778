//! From a history to sends and polls.
//!
//! Jepsen's notation: an operation's value is a list of micro-operations. Invoked they are
//! `[:send k v]` and `[:poll]`; completed, `[:send k [offset v]]` and
//! `[:poll {k [[offset v] ...]}]`. `:assign` and `:subscribe` have a list of keys as their value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::check::names::Names;
use crate::edn::Edn;
use crate::history::{Events, Op, OpType, Process};

/// The key of an assignment under which our client records committed offsets.
pub(crate) const COMMITTED: &str = "committed";

/// A key, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u32);

/// A message: a value that was sent to a key, or polled from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Msg(pub(super) u32);

/// The messages or offsets of one operation, by key.
pub(super) type ByKey<T> = Vec<(Key, Vec<T>)>;

/// The kind of an operation, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `send`, `poll` or `txn`.
    Work,
    /// `assign` or `subscribe`: from now on these keys are polled. Which of those that it
    /// has subscribed to a consumer really gets is up to the system, and may change.
    Assign { subscribed: bool },
    /// `crash` and whatever else says nothing about messages.
    Other,
}

/// An operation from its invocation to its completion.
pub(super) struct Step {
    pub(super) process: u64,
    pub(super) kind: Kind,
    /// Whether one of its micro-operations is a poll.
    pub(super) is_poll: bool,
    /// Where the history has the invocation.
    start: u32,
    /// The same of the completion, or of the invocation again if there is none.
    end: u32,
    /// How it ended.
    pub(super) outcome: OpType,
    /// Sent messages by key, in order, with offsets where they are known.
    pub(super) sends: ByKey<(Option<i64>, Msg)>,
    /// Polled messages by key, in order.
    pub(super) polls: ByKey<(i64, Msg)>,
    /// The keys of an assignment, sorted.
    pub(super) assigned: Vec<Key>,
}

/// A history as sends and polls, in the order of the completions.
pub(super) struct Steps<'h> {
    history: Events<'h>,
    pub(super) all: Vec<Step>,
    /// The keys that changed hands during a step.
    pub(super) rebalanced: BTreeMap<usize, Vec<Key>>,
    /// The committed offsets that a step was told, if it asked for them.
    pub(super) committed: BTreeMap<usize, Vec<(Key, i64)>>,
    /// Key and value of each message.
    messages: Vec<(Key, u32)>,
    keys: Names,
    values: Names,
}

impl<'h> Steps<'h> {
    fn new(history: Events<'h>) -> Steps<'h> {
        Steps {
            history,
            all: Vec::new(),
            rebalanced: BTreeMap::new(),
            committed: BTreeMap::new(),
            messages: Vec::new(),
            keys: Names::default(),
            values: Names::default(),
        }
    }

    /// The invocation of a step, perhaps without its value.
    pub(super) fn start(&self, step: &Step) -> &'h Op {
        &self.history.heads()[step.start as usize]
    }

    /// The completion of a step, or its invocation if there is none; perhaps without its value.
    pub(super) fn end(&self, step: &Step) -> &'h Op {
        &self.history.heads()[step.end as usize]
    }

    /// The same of the step with this number, and with everything.
    pub(super) fn op(&self, step: usize) -> Cow<'h, Op> {
        self.history.op(self.all[step].end as usize)
    }

    pub(super) fn key(&self, key: Key) -> &Edn {
        self.keys.name(key.0)
    }

    pub(super) fn key_of(&self, msg: Msg) -> Key {
        self.messages[msg.0 as usize].0
    }

    pub(super) fn value(&self, msg: Msg) -> &Edn {
        self.values.name(self.messages[msg.0 as usize].1)
    }

    /// How many messages there are; they are numbered from 0.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// How many keys there are; they are numbered from 0.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// Reads the operations of a history; the nemesis is passed over.
///
/// # Errors
/// The reason why nothing can be concluded from this history.
pub(super) fn read(history: Events<'_>) -> Result<Steps<'_>, String> {
    let mut reader =
        Reader { steps: Steps::new(history), open: BTreeMap::new(), ids: BTreeMap::new() };
    for (at, head) in history.heads().iter().enumerate() {
        if let Process::Client(process) = head.process {
            let done = reader.event(Event::of(history, at), process);
            done.map_err(|why| format!("operation {}: {why}", head.index))?;
        }
    }
    // Still open at the end: indeterminate, as after a time-out.
    for (process, invoke) in std::mem::take(&mut reader.open) {
        reader.step(process, &invoke, &invoke, OpType::Info)?;
    }
    Ok(reader.steps)
}

/// An event while it is looked at, and where the history has it.
#[derive(Clone)]
struct Event<'h> {
    at: u32,
    op: Cow<'h, Op>,
}

impl<'h> Event<'h> {
    fn of(history: Events<'h>, at: usize) -> Event<'h> {
        let place = u32::try_from(at).expect("a history has under 2^32 events");
        Event { at: place, op: history.op(at) }
    }
}

struct Reader<'h> {
    steps: Steps<'h>,
    open: BTreeMap<u64, Event<'h>>,
    ids: BTreeMap<(Key, u32), Msg>,
}

impl<'h> Reader<'h> {
    fn event(&mut self, event: Event<'h>, process: u64) -> Result<(), String> {
        if event.op.kind == OpType::Invoke {
            return match self.open.insert(process, event) {
                None => Ok(()),
                Some(_) => Err(format!("process {process} invokes while its last is still open")),
            };
        }
        let Some(invoke) = self.open.remove(&process) else {
            return Err(format!("process {process} completes what it has not invoked"));
        };
        if invoke.op.f != event.op.f {
            return Err(format!("completes {}, but invoked {}", event.op.f, invoke.op.f));
        }
        self.step(process, &invoke, &event, event.op.kind)
    }

    fn step(
        &mut self,
        process: u64,
        start: &Event<'_>,
        end: &Event<'_>,
        outcome: OpType,
    ) -> Result<(), String> {
        let (invoke, op) = (&*start.op, &*end.op);
        let kind = match op.f.as_str() {
            "send" | "poll" | "txn" => Kind::Work,
            "assign" => Kind::Assign { subscribed: false },
            "subscribe" => Kind::Assign { subscribed: true },
            "crash" | "debug-topic-partitions" => Kind::Other,
            f => return Err(format!("{f} is no operation of kafka")),
        };
        let mut step = Step {
            process,
            kind,
            is_poll: false,
            start: start.at,
            end: end.at,
            outcome,
            sends: Vec::new(),
            polls: Vec::new(),
            assigned: Vec::new(),
        };
        match kind {
            Kind::Work => {
                // Only an ok has to have a value.
                let untold = outcome != OpType::Ok && op.value == Edn::Nil;
                let value = if untold { &invoke.value } else { &op.value };
                let mops = value.as_seq().ok_or("its value is no list of micro-operations")?;
                for mop in mops {
                    self.mop(mop, &mut step)?;
                }
                if mops.len() > 1 {
                    step.sends = merged(std::mem::take(&mut step.sends));
                    step.polls = merged(std::mem::take(&mut step.polls));
                }
                if outcome == OpType::Ok && intent(&invoke.value) != intent(&op.value) {
                    return Err("completes with something else than it invoked".into());
                }
                step.is_poll = is_poll(op.value.as_seq().unwrap_or_default());
            }
            Kind::Assign { .. } => {
                let keys = op.value.as_seq().or(invoke.value.as_seq()).unwrap_or_default();
                step.assigned = keys.iter().map(|key| self.key(key)).collect();
                step.assigned.sort_unstable();
            }
            Kind::Other => {}
        }
        self.asides(op);
        self.steps.all.push(step);
        Ok(())
    }

    /// Notes the facts that further keys of a record tell about the next step.
    fn asides(&mut self, op: &Op) {
        let step = self.steps.all.len();
        for (name, aside) in &op.extra {
            if name == "rebalance-log" {
                let entries = aside.as_seq().unwrap_or_default().iter();
                let keys = entries.filter_map(|entry| entry.get("keys")?.as_seq()).flatten();
                let keys = keys.map(|key| self.key(key)).collect();
                self.steps.rebalanced.insert(step, keys);
            }
            if name == COMMITTED
                && let Some(offsets) = aside.entries()
            {
                let told = offsets
                    .iter()
                    .filter_map(|(key, at)| Some((self.key_of_map(key), at.as_int()?)));
                let told = told.collect();
                self.steps.committed.insert(step, told);
            }
        }
    }

    fn mop(&mut self, mop: &Edn, step: &mut Step) -> Result<(), String> {
        match mop.as_seq() {
            Some([f, key, value]) if f.as_text() == Some("send") => {
                let key = self.key(key);
                let (offset, value) = match value {
                    Edn::Vector(pair) | Edn::List(pair) if pair.len() == 2 => {
                        (pair[0].as_int(), &pair[1])
                    }
                    value => (None, value),
                };
                let msg = self.msg(key, value);
                step.sends.push((key, vec![(offset, msg)]));
                Ok(())
            }
            // Null is an empty map, and an empty list below: Go writes an unfilled one so.
            Some([f] | [f, Edn::Nil]) if f.as_text() == Some("poll") => Ok(()),
            Some([f, Edn::Map(by_key)]) if f.as_text() == Some("poll") => {
                for (key, pairs) in by_key {
                    let key = self.key_of_map(key);
                    let pairs = match pairs {
                        Edn::Nil => &[],
                        pairs => pairs.as_seq().ok_or("polled something that is not a list")?,
                    };
                    let mut pair = |pair: &Edn| {
                        let pair = pair.as_seq().and_then(|pair| match pair {
                            [offset, value] => Some((offset.as_int()?, self.msg(key, value))),
                            _ => None,
                        });
                        pair.ok_or_else(|| "polled something that is no [offset value]".to_owned())
                    };
                    // An empty poll of a key counts as one.
                    let polled = pairs.iter().map(&mut pair).collect::<Result<_, String>>()?;
                    step.polls.push((key, polled));
                }
                Ok(())
            }
            _ => Err(format!("{mop} is no micro-operation of kafka")),
        }
    }

    fn key(&mut self, key: &Edn) -> Key {
        // The keys of a map come back from JSON as keywords, those of a send as strings.
        match key {
            Edn::Keyword(text) => Key(self.steps.keys.id(&Edn::Str(text.clone()))),
            key => Key(self.steps.keys.id(key)),
        }
    }

    /// The key of a map. In JSON that is a text, though the key of the sends may be a number.
    fn key_of_map(&mut self, key: &Edn) -> Key {
        let keys = &self.steps.keys;
        if let Some(text) = key.as_text()
            && !keys.knows(&Edn::str(text))
            && let Ok(number) = text.parse::<i64>()
            && number.to_string() == text
            && keys.knows(&Edn::Int(number))
        {
            return self.key(&Edn::Int(number));
        }
        self.key(key)
    }

    fn msg(&mut self, key: Key, value: &Edn) -> Msg {
        let value = self.steps.values.id(value);
        let messages = &mut self.steps.messages;
        *self.ids.entry((key, value)).or_insert_with(|| {
            messages.push((key, value));
            Msg(u32::try_from(messages.len() - 1).expect("a history has under 2^32 messages"))
        })
    }
}

/// Returns the parts that must not differ between an invocation and its completion: the kinds of
/// its micro-operations, and keys and values of the sends.
fn intent(value: &Edn) -> Vec<[Option<&Edn>; 3]> {
    let mops = value.as_seq().unwrap_or_default().iter();
    mops.map(|mop| {
        let mop = mop.as_seq().unwrap_or_default();
        match mop {
            [f, key, value] => {
                let sent = match value {
                    Edn::Vector(pair) | Edn::List(pair) if pair.len() == 2 => &pair[1],
                    value => value,
                };
                [Some(f), Some(key), Some(sent)]
            }
            mop => [mop.first(), None, None],
        }
    })
    .collect()
}

/// One entry a key, with the entries of all micro-operations in their order.
fn merged<T>(entries: ByKey<T>) -> ByKey<T> {
    let mut by_key: BTreeMap<Key, Vec<T>> = BTreeMap::new();
    for (key, mut messages) in entries {
        by_key.entry(key).or_default().append(&mut messages);
    }
    by_key.into_iter().collect()
}

fn is_poll(mops: &[Edn]) -> bool {
    let f = |mop: &Edn| mop.as_seq().and_then(|mop| mop.first()?.as_text()) == Some("poll");
    mops.iter().any(f)
}
