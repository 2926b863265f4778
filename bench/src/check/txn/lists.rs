//! Lists with which nothing is wrong.
//!
//! Of a list-append history adya builds several tables of every version of every list, and a
//! graph with an explanation for each edge: gigabytes for a million transactions, nearly all
//! of which are in order. Whether anything is wrong at all follows from less: the longest read
//! of each list begins with all the others, every element of it was written once by a transaction
//! that may have happened, each transaction is consistent in itself and saw only final
//! appends of others, and the dependencies and real time have no cycle. Where one of these does not hold,
//! adya has the last word.

use std::collections::BTreeMap;

use adya::history::{Id, Mop, OpType, ReadValue};

use super::ordered::graph::Graph;
use super::ordered::{EDGES_MAX, realtime};
use super::read::Transactions;

/// An append that may have happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Append {
    key: Id,
    value: Id,
    txn: u32,
    /// Whether its transaction appends nothing to this list afterwards.
    is_final: bool,
}

/// The known order of a list.
#[derive(Clone, Default)]
struct List<'t> {
    /// The longest read.
    elements: &'t [Id],
    /// Who appended each element of it.
    appends: Vec<Append>,
    /// Transactions whose append no read shows: they come after all that was read.
    unseen: Vec<u32>,
}

/// The knowledge that a transaction has of a list.
#[derive(Default)]
struct State<'t> {
    /// The elements that it read last.
    known: Option<&'t [Id]>,
    /// The elements that it has appended since.
    own: Vec<Id>,
    has_appended: bool,
}

/// Whether there is certainly nothing that adya would find, and at least one dependency, so that it
/// would not call the history empty either.
pub(super) fn are_sound(txns: &Transactions<'_>) -> bool {
    let mut rivals = Vec::new();
    let Some(lists) = Lists::new(txns) else { return false };
    let mut ok = txns.completed(crate::history::OpType::Ok);
    if !ok.all(|i| lists.is_consistent(txns, i, &mut rivals)) {
        return false;
    }
    // Two that saw the same version, and both replaced it: a lost update.
    rivals.sort_unstable();
    if rivals.windows(2).any(|pair| pair[0] == pair[1]) {
        return false;
    }
    lists.graph(txns).is_some_and(|graph| !graph.has_cycle())
}

/// Returns the elements that a completed transaction read of a list; none if they are not known.
fn read(kind: OpType, value: &ReadValue) -> Option<&[Id]> {
    match value {
        ReadValue::List(elements) => Some(elements),
        // A transaction in doubt has read nothing, rather than the empty list.
        ReadValue::Nil if kind == OpType::Ok => Some(&[]),
        ReadValue::Nil | ReadValue::Scalar(_) => None,
    }
}

/// All lists, by the number of their key.
struct Lists<'t>(Vec<List<'t>>);

impl<'t> Lists<'t> {
    /// None if reads contradict each other, or show something that was not appended.
    fn new(txns: &'t Transactions<'_>) -> Option<Lists<'t>> {
        let mut lists = vec![List::default(); txns.names()];
        let mut appends = Vec::new();
        for i in txns.possible() {
            let mops = txns.mops(i);
            for (at, mop) in mops.iter().enumerate() {
                match mop {
                    Mop::Read { key, value: ReadValue::List(elements) } => {
                        let list = &mut lists[*key as usize];
                        if list.elements.len() < elements.len() {
                            list.elements = elements;
                        }
                    }
                    Mop::Append { key, value } => {
                        let again =
                            |mop: &Mop| matches!(mop, Mop::Append { key: k, .. } if k == key);
                        let is_final = !mops[at + 1..].iter().any(again);
                        appends.push(Append { key: *key, value: *value, txn: i as u32, is_final });
                    }
                    Mop::Read { .. } | Mop::Write { .. } => {}
                }
            }
        }
        appends.sort_unstable();
        for appends in appends.chunk_by(|a, b| a.key == b.key) {
            lists[appends[0].key as usize].place(appends)?;
        }
        let is_placed = |list: &List<'_>| list.appends.len() == list.elements.len();
        let agrees = |mop: &Mop| match mop {
            Mop::Read { key, value: ReadValue::List(elements) } => {
                lists[*key as usize].elements.starts_with(elements)
            }
            _ => true,
        };
        let agree = txns.adya.ops.iter().flat_map(|op| &op.value).all(agrees);
        (agree && lists.iter().all(is_placed)).then_some(Lists(lists))
    }

    fn of(&self, key: Id) -> &List<'t> {
        &self.0[key as usize]
    }

    /// Whether an ok transaction agrees with itself, and saw nothing that others replaced before
    /// they committed. Adds the versions that it replaced to `rivals`.
    fn is_consistent(
        &self,
        txns: &Transactions<'_>,
        i: usize,
        rivals: &mut Vec<(Id, usize)>,
    ) -> bool {
        let mut states: BTreeMap<Id, State<'_>> = BTreeMap::new();
        for mop in txns.mops(i) {
            match mop {
                Mop::Append { key, value } => {
                    let state = states.entry(*key).or_default();
                    match state.known {
                        Some(known) if known.contains(value) => return false,
                        Some(known) if !state.has_appended => rivals.push((*key, known.len())),
                        _ => {}
                    }
                    state.has_appended = true;
                    state.own.push(*value);
                }
                Mop::Read { key, value } => {
                    let Some(seen) = read(OpType::Ok, value) else { return false };
                    let state = states.entry(*key).or_default();
                    let others = seen.strip_suffix(&*state.own);
                    if others.is_none() || state.known.is_some_and(|known| Some(known) != others) {
                        return false;
                    }
                    let last = seen.len().checked_sub(1).map(|last| self.of(*key).appends[last]);
                    if last.is_some_and(|last| !last.is_final && last.txn as usize != i) {
                        return false;
                    }
                    state.known = Some(seen);
                    state.own.clear();
                }
                Mop::Write { .. } => return false,
            }
        }
        true
    }

    /// The transactions, each before those that depend on it or were invoked after its completion;
    /// none if no data links any two of them, or if there are too many links.
    fn graph(&self, txns: &Transactions<'_>) -> Option<Graph> {
        let mut links: Vec<(u32, u32)> = Vec::new();
        let mut link = |from: usize, to: usize| {
            if from != to {
                links.push((from as u32, to as u32));
            }
            (links.len() < EDGES_MAX).then_some(())
        };
        for list in &self.0 {
            for pair in list.appends.windows(2) {
                link(pair[0].txn as usize, pair[1].txn as usize)?;
            }
            for unseen in &list.unseen {
                let last = list.appends.last().map_or(*unseen, |last| last.txn);
                link(last as usize, *unseen as usize)?;
            }
        }
        for i in txns.possible() {
            for mop in txns.mops(i) {
                let Mop::Read { key, value } = mop else { continue };
                let Some(seen) = read(txns.adya.ops[i].kind, value) else { continue };
                let list = self.of(*key);
                if let Some(last) = seen.len().checked_sub(1) {
                    link(list.appends[last].txn as usize, i)?;
                }
                match list.appends.get(seen.len()) {
                    Some(next) => link(i, next.txn as usize)?,
                    None => list.unseen.iter().try_for_each(|next| link(i, *next as usize))?,
                }
            }
        }
        if links.is_empty() {
            return None;
        }
        let count = txns.adya.ops.len();
        let possible = |i: usize| matches!(txns.adya.ops[i].kind, OpType::Ok | OpType::Info);
        let mut link = |from: usize, to: usize| {
            links.push((from as u32, to as u32));
            (links.len() < EDGES_MAX).then_some(())
        };
        realtime(&txns.adya, possible, &mut link)?;
        Some(Graph::new(2 * count, links))
    }
}

impl List<'_> {
    /// Puts the appends to this list, sorted by their values, in the order of the longest read.
    fn place(&mut self, sorted: &[Append]) -> Option<()> {
        let mut is_seen = vec![false; sorted.len()];
        self.appends.reserve_exact(self.elements.len());
        for element in self.elements {
            let at = sorted.binary_search_by_key(element, |append| append.value).ok()?;
            // An element that occurs twice.
            if std::mem::replace(&mut is_seen[at], true) {
                return None;
            }
            self.appends.push(sorted[at]);
        }
        let unseen = sorted.iter().zip(&is_seen).filter(|(_, is_seen)| !**is_seen);
        self.unseen = unseen.map(|(append, _)| append.txn).collect();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::super::brute::Case;
    use super::super::{Flavour, Options, parse_models, read, run};
    use super::*;
    use crate::edn::Edn;
    use crate::history::{self, Op, to_edn_lines};

    /// Falsifies a history in ways of which the order of whole transactions knows nothing.
    fn spoil(history: &mut Vec<Op>, rng: &mut Pcg64Mcg) {
        let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
        if below(2) == 0 {
            // The last read of everything.
            history.truncate(history.len() - 2);
        }
        for op in history.iter_mut().filter(|op| op.kind != history::OpType::Invoke) {
            match below(24) {
                0 => op.kind = history::OpType::Fail,
                1 => op.kind = history::OpType::Info,
                2 => (op.kind, op.value) = (history::OpType::Info, Edn::Nil),
                _ => {}
            }
            let Edn::Vector(mops) = &mut op.value else { continue };
            for mop in mops {
                let Edn::Vector(mop) = mop else { continue };
                let [_, _, Edn::Vector(list)] = &mut mop[..] else { continue };
                match below(24) {
                    0 => list.reverse(),
                    1 => list.extend(list.first().cloned()),
                    2 => list.push(Edn::Int(99)),
                    3 => list.clear(),
                    _ => {}
                }
            }
        }
    }

    /// In histories recognized as sound adya finds nothing, whatever is forbidden; and most of
    /// those in which it finds nothing are recognized.
    #[test]
    fn adya_finds_nothing_in_what_is_sound() {
        let models = parse_models("strict-serializable").unwrap();
        let options = Options { models, ..Options::default() };
        let [mut clean, mut sound] = [0; 2];
        for seed in 0..6000 {
            let mut history = Case::of_lists(seed);
            if seed % 4 > 0 {
                spoil(&mut history, &mut Pcg64Mcg::seed_from_u64(seed));
            }
            let Ok(txns) = read::read((&history).into(), Flavour::ListAppend) else { continue };
            let report = run(&txns, Flavour::ListAppend, &options);
            let is_clean = report.anomalies.is_empty() && read::phantoms(&txns).is_empty();
            let is_sound = are_sound(&txns);
            assert!(
                is_clean || !is_sound,
                "seed {seed}: {:?}\n{}",
                report.anomaly_types,
                to_edn_lines(&history)
            );
            clean += usize::from(is_clean);
            sound += usize::from(is_sound);
        }
        assert!(clean > 1500 && sound * 10 > clean * 9, "{sound} of {clean}");
    }
}
