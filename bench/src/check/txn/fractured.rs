//! Fractured reads: some, but not all, writes of one transaction.
//!
//! The phenomenon that read atomic isolation forbids (Bailis et al., "Scalable Atomic
//! Visibility with RAMP Transactions", 2014): a transaction sees a write of another
//! to one key, and of a second key that the same transaction wrote, an older version.
//! Elle's `read-atomic` does not look for it: it forbids only `internal`, `G1a` and
//! `future-read`. Two transactions alone make a `G-single-item` of it, which is forbidden from
//! `consistent-view` upwards; but that forbids longer cycles as well, which read
//! committed with atomic visibility permits. Hence this direct check.
//!
//! Only certain ones are reported. "Older" is known of a list that lacks an element, of the initial
//! state, and of versions in a chain in which each transaction overwrote a value that it had read
//! or written itself. Registers in any other relation may be newer.

use std::collections::{BTreeMap, BTreeSet};

use adya::history::{Id, Mop, OpType, ReadValue};

use super::edges::{first_reads, last_writes};
use super::options::{Flavour, Fracture};
use super::read::Transactions;
use super::report::{Told, Translator};
use crate::edn::Edn;

/// A transaction that saw half of another's writes.
pub(super) struct Fractured {
    reader: usize,
    writer: usize,
    /// The micro-operation of the reader that saw the writer's write.
    saw: usize,
    /// The one that missed another.
    missed: usize,
    key: Id,
    /// The element that it should have seen, or a newer one.
    element: Id,
}

impl Fractured {
    /// As a map in the style of Elle's, and in words. `:monotonic?` tells whether the reader
    /// missed the write only *before* it saw the other, which monotonic atomic view permits.
    pub(super) fn tell(&self, translator: &Translator<'_, '_>, txns: &Transactions<'_>) -> Told {
        let (saw, missed) = (
            translator.show_mop(self.reader, self.saw),
            translator.show_mop(self.reader, self.missed),
        );
        let (key, element) = (txns.name(self.key), txns.name(self.element));
        let (r, w) = (txns.head(self.reader).index, txns.head(self.writer).index);
        let line =
            format!("T{r} saw T{w} in {saw}, but not its {element} of key {key} in {missed}");
        let edn = Edn::map([
            ("op", translator.op(self.reader)),
            ("writer", translator.op(self.writer)),
            ("saw", saw),
            ("missed", missed),
            ("key", key.clone()),
            ("element", element.clone()),
            ("monotonic?", (self.missed < self.saw).into()),
        ]);
        Told { edn, lines: vec![line] }
    }
}

/// All fractured reads that are certain, at most one for each reader and writer.
pub(super) fn fractured_reads(
    txns: &Transactions<'_>,
    flavour: Flavour,
    fracture: Fracture,
) -> Vec<Fractured> {
    if fracture == Fracture::None {
        return Vec::new();
    }
    let writers = writers(txns);
    let chains = match flavour {
        Flavour::ListAppend => BTreeMap::new(),
        Flavour::RwRegister => predecessors(txns),
    };
    let search = Search { txns, flavour, fracture, chains };
    let mut found = Vec::new();
    for reader in txns.completed(crate::history::OpType::Ok) {
        let reads = external_reads(txns.mops(reader));
        // One key alone cannot show a fracture.
        if reads.len() < 2 {
            continue;
        }
        let mut reported = BTreeSet::from([reader]);
        for (key, (saw, elements)) in &reads {
            for element in elements {
                let Some(&writer) = writers.get(&(*key, *element)) else { continue };
                if reported.contains(&writer) {
                    continue;
                }
                if let Some((missed, key, element)) = search.missed(&reads, writer, *key, *saw) {
                    reported.insert(writer);
                    found.push(Fractured { reader, writer, saw: *saw, missed, key, element });
                }
            }
        }
    }
    found
}

/// External reads by key: place, and the elements seen.
type Reads = BTreeMap<Id, (usize, Vec<Id>)>;

struct Search<'t, 'h> {
    txns: &'t Transactions<'h>,
    flavour: Flavour,
    fracture: Fracture,
    chains: BTreeMap<(Id, Id), Id>,
}

impl Search<'_, '_> {
    /// Of a writer that was seen in one key, another write that these reads certainly miss: the
    /// place of the read that does, key and value.
    fn missed(&self, reads: &Reads, writer: usize, key: Id, saw: usize) -> Option<(usize, Id, Id)> {
        let writes = last_writes(self.txns.mops(writer));
        writes.into_iter().filter(|(other, _)| *other != key).find_map(|(other, (_, last))| {
            let (missed, seen) = reads.get(&other)?;
            if self.fracture == Fracture::NotMonotonic && *missed < saw {
                return None;
            }
            let older = match self.flavour {
                Flavour::ListAppend => !seen.contains(&last),
                Flavour::RwRegister => is_older(&self.chains, other, seen.first().copied(), last),
            };
            older.then_some((*missed, other, last))
        })
    }
}

/// The writers of values, of the transactions that committed or may have.
fn writers(txns: &Transactions<'_>) -> BTreeMap<(Id, Id), usize> {
    let mut writers = BTreeMap::new();
    for position in txns.possible() {
        for mop in txns.mops(position) {
            if let Mop::Append { key, value } | Mop::Write { key, value } = mop {
                writers.insert((*key, *value), position);
            }
        }
    }
    writers
}

/// Per key, the first read before any own write: its place, and the elements it saw.
fn external_reads(mops: &[Mop]) -> Reads {
    let elements = |mop: &Mop| match mop {
        Mop::Read { value: ReadValue::List(list), .. } => list.clone(),
        Mop::Read { value: ReadValue::Scalar(id), .. } => vec![*id],
        _ => Vec::new(),
    };
    first_reads(mops).into_iter().map(|(key, (i, _))| (key, (i, elements(&mops[i])))).collect()
}

/// Of each version, the one its writer knew to be there when it wrote. Writes are
/// unique, so there is at most one, and versions form chains.
fn predecessors(txns: &Transactions<'_>) -> BTreeMap<(Id, Id), Id> {
    let mut before = BTreeMap::new();
    for position in txns.possible() {
        let ok = txns.adya.ops[position].kind == OpType::Ok;
        let mut current: BTreeMap<Id, Id> = BTreeMap::new();
        for mop in txns.mops(position) {
            match mop {
                Mop::Read { key, value: ReadValue::Scalar(value) } if ok => {
                    current.insert(*key, *value);
                }
                Mop::Write { key, value } => {
                    if let Some(previous) = current.insert(*key, *value) {
                        before.insert((*key, *value), previous);
                    }
                }
                _ => {}
            }
        }
    }
    before
}

/// Whether `seen` is certainly an older version than `last`.
fn is_older(before: &BTreeMap<(Id, Id), Id>, key: Id, seen: Option<Id>, last: Id) -> bool {
    let Some(seen) = seen else { return true };
    let mut visited = BTreeSet::from([last]);
    let mut version = last;
    while let Some(&previous) = before.get(&(key, version)) {
        // In a circle, before and after mean nothing.
        if !visited.insert(previous) {
            return false;
        }
        version = previous;
    }
    // The whole chain is walked first, so that a circle further up is noticed too.
    seen != last && visited.contains(&seen)
}
