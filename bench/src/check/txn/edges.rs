//! Why one transaction comes before another.
//!
//! adya says that there is an edge and of which kind. This finds the two
//! micro-operations behind it again, for Elle's `:steps` and to tell it in words.
//! The version order is reconstructed by adya's (and Elle's) rule: the longest
//! read of a list; for registers, the value that one transaction itself read and then overwrote.

use std::collections::{BTreeMap, BTreeSet};

use adya::history::{Id, Mop, OpType, ReadValue};

use super::options::Flavour;
use super::read::Transactions;
use crate::edn::Edn;

/// Version orders, to explain edges by.
pub(super) struct Edges<'t, 'h> {
    txns: &'t Transactions<'h>,
    flavour: Flavour,
    /// The known order of each list; empty for registers.
    orders: BTreeMap<Id, Vec<Id>>,
}

/// The two micro-operations that make an edge.
struct Link {
    key: Id,
    /// The version that the earlier one wrote or read; `None` is the initial state.
    value: Option<Id>,
    /// The version that the later one wrote, where that is another.
    next: Option<Id>,
    from_mop: usize,
    to_mop: usize,
}

impl<'t, 'h> Edges<'t, 'h> {
    pub(super) fn new(txns: &'t Transactions<'h>, flavour: Flavour) -> Edges<'t, 'h> {
        let orders = match flavour {
            Flavour::ListAppend => list_orders(txns),
            Flavour::RwRegister => BTreeMap::new(),
        };
        Edges { txns, flavour, orders }
    }

    /// The step from one transaction to the next, as Elle prints it and in words.
    pub(super) fn explain(&self, from: usize, to: usize, kind: &str) -> (Edn, String) {
        let link = match (kind, self.flavour) {
            ("realtime", _) => return self.realtime(from, to),
            ("process", _) => return self.process(from, to),
            ("ww", Flavour::ListAppend) => self.append_after(from, to),
            ("rw", Flavour::ListAppend) => self.append_unseen(from, to),
            ("wr", Flavour::ListAppend) => self.list_read(from, to),
            ("ww", Flavour::RwRegister) => self.overwritten_write(from, to),
            ("rw", Flavour::RwRegister) => self.overwritten_read(from, to),
            (_, Flavour::RwRegister) => self.register_read(from, to),
            (_, Flavour::ListAppend) => None,
        };
        let mut step = vec![(Edn::keyword("type"), Edn::keyword(kind))];
        let Some(link) = link else {
            return (Edn::Map(step), format!("{} precedes {}", self.t(from), self.t(to)));
        };
        step.push((Edn::keyword("key"), self.txns.name(link.key).clone()));
        step.push((Edn::keyword("value"), self.version(link.value)));
        if let Some(next) = link.next {
            step.push((Edn::keyword("value'"), self.txns.name(next).clone()));
        }
        step.push((Edn::keyword("a-mop-index"), link.from_mop.into()));
        step.push((Edn::keyword("b-mop-index"), link.to_mop.into()));
        (Edn::Map(step), self.words(&link, from, to, kind))
    }

    /// How a transaction is called in words: by the index of its event.
    pub(super) fn t(&self, position: usize) -> String {
        format!("T{}", self.txns.head(position).index)
    }

    fn version(&self, value: Option<Id>) -> Edn {
        match (value, self.flavour) {
            (Some(id), _) => self.txns.name(id).clone(),
            (None, Flavour::RwRegister) => Edn::Nil,
            (None, Flavour::ListAppend) => Edn::keyword("elle.list-append/init"),
        }
    }

    fn words(&self, link: &Link, from: usize, to: usize, kind: &str) -> String {
        let (a, b) = (self.t(from), self.t(to));
        let key = self.txns.name(link.key);
        let name = |id: Option<Id>| id.map_or("nil".into(), |id| self.txns.name(id).to_string());
        let (value, next) = (name(link.value), name(link.next));
        match (kind, self.flavour, link.value) {
            ("ww", Flavour::ListAppend, _) => {
                format!("{b} appended {next} to key {key} after {a}'s {value}")
            }
            ("ww", Flavour::RwRegister, _) => {
                format!("{b} read {a}'s {value} of key {key} and overwrote it with {next}")
            }
            ("rw", Flavour::ListAppend, None) => {
                format!("{a} read key {key} as empty, without {b}'s first element {next}")
            }
            ("rw", Flavour::ListAppend, Some(_)) => {
                format!(
                    "{a} read key {key} up to {value}, without the {next} that {b} appended next"
                )
            }
            ("rw", Flavour::RwRegister, _) => {
                format!("{a} read key {key} = {value}, which {b} replaced by {next}")
            }
            (_, Flavour::ListAppend, _) => {
                format!("{b} read the {value} that {a} appended to key {key}")
            }
            (_, Flavour::RwRegister, _) => format!("{b} read key {key} = {value}, which {a} wrote"),
        }
    }

    /// `to` appended right after the element of `from`.
    fn append_after(&self, from: usize, to: usize) -> Option<Link> {
        self.appends(to).find_map(|(to_mop, key, next)| {
            let value = self.before(key, next)?;
            let from_mop =
                self.appends(from).find(|(_, k, v)| (*k, *v) == (key, value)).map(|(i, ..)| i)?;
            Some(Link { key, value: Some(value), next: Some(next), from_mop, to_mop })
        })
    }

    /// `to` appended right after the state that `from` read.
    fn append_unseen(&self, from: usize, to: usize) -> Option<Link> {
        self.appends(to).find_map(|(to_mop, key, next)| {
            let value = self.before(key, next);
            let from_mop = self.list_reads(from).find(|(_, k, v)| (*k, *v) == (key, value))?.0;
            Some(Link { key, value, next: Some(next), from_mop, to_mop })
        })
    }

    /// The last element that `to` read is one that `from` appended.
    fn list_read(&self, from: usize, to: usize) -> Option<Link> {
        self.list_reads(to).find_map(|(to_mop, key, value)| {
            let from_mop = self.appends(from).find(|(_, k, v)| *k == key && Some(*v) == value)?.0;
            Some(Link { key, value, next: None, from_mop, to_mop })
        })
    }

    fn overwritten_write(&self, from: usize, to: usize) -> Option<Link> {
        let (wrote, saw, set) = (
            last_writes(self.txns.mops(from)),
            first_reads(self.txns.mops(to)),
            last_writes(self.txns.mops(to)),
        );
        saw.iter().find_map(|(key, (_, value))| {
            let (from_mop, written) = wrote.get(key)?;
            let (to_mop, next) = set.get(key)?;
            (Some(*written) == *value).then_some(Link {
                key: *key,
                value: *value,
                next: Some(*next),
                from_mop: *from_mop,
                to_mop: *to_mop,
            })
        })
    }

    fn overwritten_read(&self, from: usize, to: usize) -> Option<Link> {
        let (saw, seen_by_to) =
            (first_reads(self.txns.mops(from)), first_reads(self.txns.mops(to)));
        last_writes(self.txns.mops(to)).into_iter().find_map(|(key, (to_mop, next))| {
            let (from_mop, value) = *saw.get(&key)?;
            // Known to come later: everything after nil, and a version that a transaction wrote
            // after one that it read.
            let later = value.is_none() || seen_by_to.get(&key).is_some_and(|(_, v)| *v == value);
            later.then_some(Link { key, value, next: Some(next), from_mop, to_mop })
        })
    }

    fn register_read(&self, from: usize, to: usize) -> Option<Link> {
        let wrote = last_writes(self.txns.mops(from));
        first_reads(self.txns.mops(to)).into_iter().find_map(|(key, (to_mop, value))| {
            let (from_mop, written) = *wrote.get(&key)?;
            (Some(written) == value).then_some(Link { key, value, next: None, from_mop, to_mop })
        })
    }

    /// The element before `value` in the order of its list.
    fn before(&self, key: Id, value: Id) -> Option<Id> {
        let order = self.orders.get(&key)?;
        match order.iter().position(|v| *v == value) {
            Some(i) => i.checked_sub(1).map(|i| order[i]),
            // Never observed: it came after everything that was.
            None => order.last().copied(),
        }
    }

    fn appends(&self, position: usize) -> impl Iterator<Item = (usize, Id, Id)> + '_ {
        self.txns.mops(position).iter().enumerate().filter_map(|(i, mop)| match mop {
            Mop::Append { key, value } => Some((i, *key, *value)),
            _ => None,
        })
    }

    /// The reads of a transaction, each with the last element it saw.
    fn list_reads(&self, position: usize) -> impl Iterator<Item = (usize, Id, Option<Id>)> + '_ {
        let info = self.txns.adya.ops[position].kind == OpType::Info;
        self.txns.mops(position).iter().enumerate().filter_map(move |(i, mop)| match mop {
            // An unknown outcome has read nothing rather than the empty list.
            Mop::Read { value: ReadValue::Nil, .. } if info => None,
            Mop::Read { key, value: ReadValue::List(list) } => {
                Some((i, *key, list.last().copied()))
            }
            Mop::Read { key, .. } => Some((i, *key, None)),
            _ => None,
        })
    }

    fn realtime(&self, from: usize, to: usize) -> (Edn, String) {
        let invoked = self.txns.adya.pair[to].map_or(to, |invocation| invocation);
        let step = Edn::map([
            ("type", Edn::keyword("realtime")),
            ("a'", self.txns.op(from).to_record()),
            ("b", self.txns.op(invoked).to_record()),
        ]);
        let gap = self.txns.head(invoked).time - self.txns.head(from).time;
        let words = format!(
            "{} completed {:.3} ms before {} was invoked",
            self.t(from),
            gap as f64 / 1e6,
            self.t(to)
        );
        (step, words)
    }

    fn process(&self, from: usize, to: usize) -> (Edn, String) {
        let process = self.txns.adya.ops[from].process.unwrap_or_default();
        let step = Edn::map([("type", Edn::keyword("process")), ("process", Edn::Int(process))]);
        let words = format!("process {process} ran {} before {}", self.t(from), self.t(to));
        (step, words)
    }
}

/// Per key the first read before any write: mop index and value.
pub(super) fn first_reads(mops: &[Mop]) -> BTreeMap<Id, (usize, Option<Id>)> {
    let mut reads = BTreeMap::new();
    let mut written = BTreeSet::new();
    for (i, mop) in mops.iter().enumerate() {
        match mop {
            Mop::Read { key, value } if !written.contains(key) => {
                let value = match value {
                    ReadValue::Scalar(id) => Some(*id),
                    ReadValue::Nil | ReadValue::List(_) => None,
                };
                reads.entry(*key).or_insert((i, value));
            }
            Mop::Read { .. } => {}
            Mop::Write { key, .. } | Mop::Append { key, .. } => {
                written.insert(*key);
            }
        }
    }
    reads
}

/// Per key the last write: mop index and value.
pub(super) fn last_writes(mops: &[Mop]) -> BTreeMap<Id, (usize, Id)> {
    let write = |(i, mop): (usize, &Mop)| match mop {
        Mop::Write { key, value } | Mop::Append { key, value } => Some((*key, (i, *value))),
        Mop::Read { .. } => None,
    };
    mops.iter().enumerate().filter_map(write).collect()
}

/// The longest list read of each key, without repetitions; among equally long
/// ones the greatest, as adya picks it.
fn list_orders(txns: &Transactions<'_>) -> BTreeMap<Id, Vec<Id>> {
    let mut longest: BTreeMap<Id, &[Id]> = BTreeMap::new();
    let mut appended: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for mop in txns.possible().flat_map(|i| txns.mops(i)) {
        match mop {
            Mop::Read { key, value: ReadValue::List(list) } if !list.is_empty() => {
                let known = longest.entry(*key).or_default();
                if (list.len(), list.as_slice()) > (known.len(), known) {
                    *known = list;
                }
            }
            Mop::Append { key, value } => appended.entry(*key).or_default().push(*value),
            _ => {}
        }
    }
    let distinct = |list: &[Id]| {
        let mut seen = BTreeSet::new();
        list.iter().copied().filter(|v| seen.insert(*v)).collect::<Vec<_>>()
    };
    let mut orders: BTreeMap<Id, Vec<Id>> =
        longest.into_iter().map(|(key, list)| (key, distinct(list))).collect();
    // A key with a single append needs no read to know its order.
    for (key, values) in appended {
        if values.len() == 1 {
            orders.entry(key).or_insert(values);
        }
    }
    orders
}
