//! Registers of which each must be linearizable, or sequentially consistent, by itself.
//!
//! Maelstrom knows little of the order of a register's versions: nil is first, and writes
//! follow reads. So it accepts a plain stale read: 1 is written, then 2, then 1 is read. But a
//! model with real time implies more. If one transaction completes before another begins, then
//! the last version of a key that the first knew is not newer than the first that the second
//! knew (Elle's *linearizable keys*). A session model implies the same of two transactions of
//! one process (*sequential keys*). With these orders there are three findings:
//!
//! * `stale-read`: the order of a key's versions goes in a circle;
//! * `G-realtime`, `G-process`: the dependencies that follow from these orders form a cycle of
//!   transactions; looked for only if the model forbids every cycle;
//! * nothing at all: then there is nothing for adya to find either, see [`Examined::is_sound`].
//!
//! adya has these orders as options, too, but walks through all transactions after the last one
//! that used a key, for each key: a history of a million takes days. Here everything is a sort or
//! a pass. Whatever is indeterminate counts only if an ok transaction saw a write of it.

pub(super) mod graph;

use std::collections::{BTreeMap, BTreeSet};

use adya::history::{Id, Mop, OpType, ReadValue};

use self::graph::Graph;
use super::edges::{first_reads, last_writes};
use super::read::Transactions;

/// A version of a key: none is the initial state.
pub(super) type Version = (Id, Option<Id>);

/// More edges than these are not built, so that memory stays bounded.
pub(super) const EDGES_MAX: usize = 1 << 26;

/// Which transactions are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Those that completed before others were invoked.
    Realtime,
    /// Those of one process.
    Process,
}

/// One step of a circle of versions: the version that the first transaction knew came not after the
/// one that the second knew.
pub(super) struct Step {
    pub(super) versions: [Version; 2],
    pub(super) txns: [usize; 2],
}

/// The findings by the order of versions.
pub(super) struct Examined {
    /// The shortest circle of versions of each key that has one.
    pub(super) stale: Vec<Vec<Step>>,
    /// Short cycles of transactions, each by the positions of its transactions.
    pub(super) cycles: Vec<Vec<usize>>,
    /// Nothing was found and nothing was left out, each transaction is consistent in itself, saw
    /// only final writes of others that may have happened, and one saw a write of another.
    pub(super) is_sound: bool,
}

/// The versions of a key that a transaction knew from outside, first and last.
struct Touch {
    key: Id,
    txn: u32,
    first: u32,
    last: u32,
}

/// An edge between two versions, and the transactions that prove it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: u32,
    to: u32,
    txns: [u32; 2],
}

/// Looks at the transactions of a history of registers.
pub(super) fn examine(txns: &Transactions<'_>, order: Order) -> Examined {
    let keys = Keys::new(txns);
    let mut edges = match order {
        Order::Realtime => keys.realtime(txns),
        Order::Process => keys.processes(txns),
    };
    edges.extend(keys.writes_follow_reads());
    edges.sort_unstable();
    edges.dedup_by_key(|edge| (edge.from, edge.to));
    keys.initial(&mut edges);
    let (stale, wrong) = keys.circles(&edges);
    edges.retain(|edge| !wrong.contains(&keys.versions[edge.from as usize].0));
    let transactions = keys.dependencies(txns, &edges, order);
    let cycles = transactions
        .as_ref()
        .map_or_else(Vec::new, |graph| graph.short_cycles(|node| node < txns.adya.ops.len()));
    let found = !stale.is_empty() || !cycles.is_empty();
    Examined { is_sound: transactions.is_some() && !found && keys.are_sound(txns), stale, cycles }
}

/// The versions of each key that transactions knew.
struct Keys {
    versions: Vec<Version>,
    /// Per version the transaction whose final write it is, if that happened.
    writers: Vec<Option<usize>>,
    /// Per version the ok transactions that read it first of all.
    readers: Vec<Vec<usize>>,
    /// By key, and in the order of the completions.
    touches: Vec<Touch>,
    /// Whether a transaction happened, by its position.
    happened: Vec<bool>,
}

impl Keys {
    fn new(txns: &Transactions<'_>) -> Keys {
        let all = &txns.adya.ops;
        let mut writer_of: BTreeMap<(Id, Id), usize> = BTreeMap::new();
        for i in txns.possible() {
            let writes = last_writes(txns.mops(i));
            writer_of.extend(writes.into_iter().map(|(key, (_, value))| ((key, value), i)));
        }
        let mut happened: Vec<bool> = all.iter().map(|op| op.kind == OpType::Ok).collect();
        let mut ids: BTreeMap<Version, u32> = BTreeMap::new();
        let mut keys = Keys {
            versions: Vec::new(),
            writers: Vec::new(),
            readers: Vec::new(),
            touches: Vec::new(),
            happened: Vec::new(),
        };
        for i in txns.completed(crate::history::OpType::Ok) {
            for (key, (_, value)) in first_reads(txns.mops(i)) {
                if let Some(writer) = value.and_then(|value| writer_of.get(&(key, value))) {
                    happened[*writer] = true;
                }
            }
        }
        for i in (0..all.len()).filter(|&i| happened[i]) {
            let mops = txns.mops(i);
            let (reads, writes) = (first_reads(mops), last_writes(mops));
            // Of a transaction in doubt only the writes are known.
            let reads = if all[i].kind == OpType::Ok { reads } else { BTreeMap::new() };
            let touched: BTreeSet<Id> = reads.keys().chain(writes.keys()).copied().collect();
            for key in touched {
                let mut id = |value: Option<Id>| {
                    *ids.entry((key, value)).or_insert_with(|| keys.version((key, value)))
                };
                let written = writes.get(&key).map(|(_, value)| id(Some(*value)));
                let read = reads.get(&key).map(|(_, value)| id(*value));
                if let Some(written) = written {
                    keys.writers[written as usize] = Some(i);
                }
                if let Some(read) = read {
                    keys.readers[read as usize].push(i);
                }
                if let (Some(first), Some(last)) = (read.or(written), written.or(read)) {
                    keys.touches.push(Touch { key, txn: i as u32, first, last });
                }
            }
        }
        keys.touches.sort_unstable_by_key(|touch| (touch.key, touch.txn));
        keys.happened = happened;
        keys
    }

    /// A number for a new version.
    fn version(&mut self, version: Version) -> u32 {
        self.versions.push(version);
        self.writers.push(None);
        self.readers.push(Vec::new());
        u32::try_from(self.versions.len() - 1).expect("a history has under 2^32 versions")
    }

    /// Edges from all transactions to those that were invoked after their completion, without
    /// those that follow from others.
    fn realtime(&self, txns: &Transactions<'_>) -> Vec<Edge> {
        let mut edges = Vec::new();
        for touches in self.touches.chunk_by(|a, b| a.key == b.key) {
            // Invocations and completions in their order; a completion is known by its own place.
            let invoked = |touch: &Touch| txns.adya.pair[touch.at()].unwrap_or(touch.at());
            let ok = |touch: &&Touch| txns.adya.ops[touch.at()].kind == OpType::Ok;
            let mut events: Vec<(usize, &Touch)> = Vec::with_capacity(2 * touches.len());
            events.extend(touches.iter().map(|touch| (invoked(touch), touch)));
            events.extend(touches.iter().filter(ok).map(|touch| (touch.at(), touch)));
            events.sort_unstable_by_key(|(at, _)| *at);
            let mut latest: Vec<&Touch> = Vec::new();
            for (at, touch) in events {
                if at == touch.at() && ok(&touch) {
                    latest.retain(|earlier| earlier.at() > invoked(touch));
                    latest.push(touch);
                } else {
                    edges.extend(latest.iter().filter_map(|earlier| earlier.before(touch)));
                }
            }
        }
        edges
    }

    /// Edges between the transactions of each process that follow each other at a key.
    fn processes(&self, txns: &Transactions<'_>) -> Vec<Edge> {
        let mut edges = Vec::new();
        for touches in self.touches.chunk_by(|a, b| a.key == b.key) {
            let mut latest: BTreeMap<Option<i64>, &Touch> = BTreeMap::new();
            for touch in touches {
                let op = &txns.adya.ops[touch.at()];
                if op.kind == OpType::Ok
                    && let Some(earlier) = latest.insert(op.process, touch)
                {
                    edges.extend(earlier.before(touch));
                }
            }
        }
        edges
    }

    fn writes_follow_reads(&self) -> impl Iterator<Item = Edge> + '_ {
        let edge = |touch: &Touch| Edge {
            from: touch.first,
            to: touch.last,
            txns: [touch.txn, touch.txn],
        };
        self.touches.iter().map(edge).filter(|edge| edge.from != edge.to)
    }

    /// Adds that the initial state comes before every version that has no other before it.
    fn initial(&self, edges: &mut Vec<Edge>) {
        let mut is_first = vec![true; self.versions.len()];
        edges.iter().for_each(|edge| is_first[edge.to as usize] = false);
        let initial = self.touches.iter().flat_map(|touch| [touch.first, touch.last]);
        let initial = initial.filter(|v| self.versions[*v as usize].1.is_none());
        let initial: BTreeMap<Id, u32> =
            initial.map(|v| (self.versions[v as usize].0, v)).collect();
        // A version that only the initial state is known to follow is in a circle with it.
        for (to, (key, value)) in (0..).zip(&self.versions) {
            let Some(&from) = initial.get(key).filter(|_| value.is_some()) else { continue };
            if is_first[to as usize] {
                let by = self.writers[to as usize].unwrap_or_default() as u32;
                edges.push(Edge { from, to, txns: [by, by] });
            }
        }
    }

    /// The shortest circle of each key that has one, and these keys.
    fn circles(&self, edges: &[Edge]) -> (Vec<Vec<Step>>, BTreeSet<Id>) {
        let pairs = edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let graph = Graph::new(self.versions.len(), pairs);
        let mut circles: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
        let wrong = graph.core().into_iter().map(|v| self.versions[v].0).collect();
        for circle in graph.short_cycles(|_| true) {
            let key = self.versions[circle[0]].0;
            let shortest = circles.entry(key).or_insert_with(|| circle.clone());
            if circle.len() < shortest.len() {
                *shortest = circle;
            }
        }
        let by: BTreeMap<(u32, u32), [u32; 2]> = match circles.is_empty() {
            true => BTreeMap::new(),
            false => edges.iter().map(|edge| ((edge.from, edge.to), edge.txns)).collect(),
        };
        let told = circles.into_values().map(|circle| {
            let next = circle.iter().cycle().skip(1);
            let step = |(&from, &to): (&usize, &usize)| Step {
                versions: [self.versions[from], self.versions[to]],
                txns: by
                    .get(&(from as u32, to as u32))
                    .map_or([0; 2], |txns| txns.map(|i| i as usize)),
            };
            circle.iter().zip(next).map(step).collect()
        });
        (told.collect(), wrong)
    }

    /// The transactions, each before those that depend on it or come later in the order; none
    /// if there are too many edges.
    fn dependencies(&self, txns: &Transactions<'_>, edges: &[Edge], order: Order) -> Option<Graph> {
        let all = &txns.adya.ops;
        let mut links: Vec<(u32, u32)> = Vec::new();
        let mut link = |from: usize, to: usize| {
            if from != to {
                links.push((from as u32, to as u32));
            }
            (links.len() < EDGES_MAX).then_some(())
        };
        for (writer, readers) in self.writers.iter().zip(&self.readers) {
            for reader in readers {
                link(writer.unwrap_or(*reader), *reader)?;
            }
        }
        for edge in edges {
            let Some(writer) = self.writers[edge.to as usize] else { continue };
            let before = self.writers[edge.from as usize];
            for earlier in before.iter().chain(&self.readers[edge.from as usize]) {
                link(*earlier, writer)?;
            }
        }
        match order {
            Order::Process => {
                let completed = (0..all.len()).filter(|&i| all[i].kind == OpType::Ok);
                let mut latest = BTreeMap::new();
                for i in completed {
                    if let Some(earlier) = latest.insert(all[i].process, i) {
                        link(earlier, i)?;
                    }
                }
                Some(Graph::new(all.len(), links))
            }
            Order::Realtime => {
                realtime(&txns.adya, |i| self.happened[i], &mut link)?;
                Some(Graph::new(2 * all.len(), links))
            }
        }
    }

    /// See [`Examined::is_sound`].
    fn are_sound(&self, txns: &Transactions<'_>) -> bool {
        let known = self.versions.iter().zip(&self.writers).zip(&self.readers);
        let known = known.filter(|((version, _), _)| version.1.is_some());
        let mut seen = false;
        for ((_, writer), readers) in known {
            match writer {
                None if !readers.is_empty() => return false,
                None => {}
                // A read of a value that the transaction itself writes later.
                Some(writer) if readers.contains(writer) => return false,
                Some(writer) => {
                    let ok = txns.adya.ops[*writer].kind == OpType::Ok;
                    seen |= ok && !readers.is_empty();
                }
            }
        }
        let mut ok = txns.completed(crate::history::OpType::Ok);
        seen && ok.all(|i| is_consistent(txns.mops(i)))
    }
}

impl Touch {
    /// The position of the transaction.
    fn at(&self) -> usize {
        self.txn as usize
    }

    /// Returns the edge that follows from this transaction having come before another.
    fn before(&self, later: &Touch) -> Option<Edge> {
        let (from, to) = (self.last, later.first);
        (from != to).then_some(Edge { from, to, txns: [self.txn, later.txn] })
    }
}

/// Links completed transactions to those that were invoked later and `happened`. For that there is
/// one more node for each position of the history: the transactions that were completed up to
/// there.
pub(super) fn realtime(
    history: &adya::History,
    happened: impl Fn(usize) -> bool,
    mut link: impl FnMut(usize, usize) -> Option<()>,
) -> Option<()> {
    let count = history.ops.len();
    for (i, op) in history.ops.iter().enumerate() {
        if i > 0 {
            link(count + i - 1, count + i)?;
        }
        if op.kind == OpType::Ok {
            link(i, count + i)?;
        }
        if let Some(invoked) = history.pair[i].filter(|_| happened(i)) {
            link(count + invoked, i)?;
        }
    }
    Some(())
}

/// Whether every read of a transaction sees the version that it read or wrote there before.
fn is_consistent(mops: &[Mop]) -> bool {
    let mut state: BTreeMap<Id, Option<Id>> = BTreeMap::new();
    mops.iter().all(|mop| match mop {
        Mop::Write { key, value } | Mop::Append { key, value } => {
            state.insert(*key, Some(*value));
            true
        }
        Mop::Read { key, value } => {
            let value = match value {
                ReadValue::Scalar(value) => Some(*value),
                ReadValue::Nil | ReadValue::List(_) => None,
            };
            *state.entry(*key).or_insert(value) == value
        }
    })
}
