//! The checker against brute force: all orders of a handful of transactions.
//!
//! Histories are made by running transactions in some order that real time allows and then
//! falsifying a read or two, so that about as many are serializable as not. A history that brute
//! force can explain must not be called invalid. For lists the reverse holds too, because every
//! history ends with a read of all keys: the version order is then known, and with it every edge.
//! Of registers too little is known for that.

use std::collections::BTreeMap;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Flavour, Model, Options, check, models, parse_models};
use crate::check::Verdict;
use crate::edn::Edn;
use crate::history::{History, Op, OpType, to_edn_lines};

const KEYS: i64 = 2;

/// A micro-operation: a write of the value, or a read of these values (of a
/// register at most one).
#[derive(Clone, Debug)]
enum Step {
    Write(i64, i64),
    Read(i64, Vec<i64>),
}

#[derive(Clone, Debug)]
struct Txn {
    steps: Vec<Step>,
    /// Places of its invocation and completion in the history.
    interval: (usize, usize),
    /// Whether the client knows that it happened.
    ok: bool,
}

pub(super) struct Case {
    rng: Pcg64Mcg,
    flavour: Flavour,
}

impl Case {
    /// The history of one case.
    pub(super) fn of_lists(seed: u64) -> History {
        let rng = Pcg64Mcg::seed_from_u64(seed);
        let mut case = Case { rng, flavour: Flavour::ListAppend };
        let txns = case.generate();
        case.history(&txns)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n as u64) as usize
    }

    fn shuffled(&mut self, mut items: Vec<usize>) -> Vec<usize> {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
        items
    }

    fn generate(&mut self) -> Vec<Txn> {
        let count = 3 + self.below(2);
        let events = self.shuffled((0..2 * count).map(|i| i / 2).collect());
        let mut written = 0;
        let mut txns: Vec<Txn> = (0..count)
            .map(|t| {
                let places: Vec<usize> = (0..2 * count).filter(|&i| events[i] == t).collect();
                let steps = (0..1 + self.below(3)).map(|_| self.step(&mut written)).collect();
                Txn { steps, interval: (places[0], places[1]), ok: self.below(6) > 0 }
            })
            .collect();
        // Real time allows the order of any instants within the intervals.
        let mut order: Vec<(usize, usize, usize)> = (0..count)
            .map(|t| {
                let (from, to) = txns[t].interval;
                (from + self.below(to - from), self.below(1000), t)
            })
            .collect();
        order.sort_unstable();
        let keep = self.below(2) == 0;
        let order: Vec<usize> =
            order.into_iter().map(|(.., t)| t).filter(|&t| txns[t].ok || keep).collect();
        let all = (0..KEYS).map(|key| Step::Read(key, Vec::new())).collect();
        txns.push(Txn { steps: all, interval: (2 * count, 2 * count + 1), ok: true });
        let mut store = BTreeMap::new();
        for t in order.into_iter().chain([count]) {
            for step in &mut txns[t].steps {
                execute(self.flavour, &mut store, step);
            }
        }
        for _ in 0..self.below(4) {
            self.falsify(&mut txns, count);
        }
        txns
    }

    fn step(&mut self, written: &mut i64) -> Step {
        let key = self.below(KEYS as usize) as i64;
        if self.below(2) == 0 {
            return Step::Read(key, Vec::new());
        }
        *written += 1;
        Step::Write(key, *written)
    }

    /// Lets a read miss the last element, or see some element of its key too much.
    fn falsify(&mut self, txns: &mut [Txn], count: usize) {
        let other = &txns[self.below(count)].steps;
        let other = other[self.below(other.len())].clone();
        let txn = &mut txns[self.below(count)];
        let at = self.below(txn.steps.len());
        let Step::Read(key, seen) = &mut txn.steps[at] else { return };
        match other {
            Step::Write(its, value) if its == *key && self.flavour == Flavour::ListAppend => {
                seen.push(value);
            }
            Step::Write(its, value) if its == *key => *seen = vec![value],
            _ => drop(seen.pop()),
        }
    }

    fn history(&self, txns: &[Txn]) -> History {
        let mut events: Vec<(usize, usize, bool)> = Vec::new();
        for (t, txn) in txns.iter().enumerate() {
            events.push((txn.interval.0, t, true));
            events.push((txn.interval.1, t, false));
        }
        events.sort_unstable();
        let op = |(index, (_, t, begins)): (usize, (usize, usize, bool))| {
            let kind = match (begins, txns[t].ok) {
                (true, _) => OpType::Invoke,
                (false, true) => OpType::Ok,
                (false, false) => OpType::Info,
            };
            let value = self.value(&txns[t], begins || !txns[t].ok);
            Op { index, time: index as i64, ..Op::new(kind, t as u64, "txn", value) }
        };
        events.into_iter().enumerate().map(op).collect()
    }

    fn value(&self, txn: &Txn, blank: bool) -> Edn {
        let write = if self.flavour == Flavour::ListAppend { "append" } else { "w" };
        let mop = |step: &Step| match step {
            Step::Write(key, value) => {
                Edn::Vector(vec![Edn::keyword(write), Edn::Int(*key), Edn::Int(*value)])
            }
            Step::Read(key, seen) => {
                let seen = match self.flavour {
                    _ if blank => Edn::Nil,
                    Flavour::ListAppend => Edn::vector(seen.iter().copied()),
                    Flavour::RwRegister => seen.first().map_or(Edn::Nil, |&v| Edn::Int(v)),
                };
                Edn::Vector(vec![Edn::keyword("r"), Edn::Int(*key), seen])
            }
        };
        Edn::Vector(txn.steps.iter().map(mop).collect())
    }
}

/// Does a write, or fills in the result of a read.
fn execute(flavour: Flavour, store: &mut BTreeMap<i64, Vec<i64>>, step: &mut Step) {
    match step {
        Step::Write(key, value) => {
            let values = store.entry(*key).or_default();
            if flavour == Flavour::RwRegister {
                values.clear();
            }
            values.push(*value);
        }
        Step::Read(key, seen) => *seen = store.get(key).cloned().unwrap_or_default(),
    }
}

/// Whether some serial order explains the reads of every committed transaction.
fn explicable(flavour: Flavour, txns: &[Txn], strict: bool) -> bool {
    fn extend(
        flavour: Flavour,
        txns: &[Txn],
        strict: bool,
        left: &[usize],
        store: &BTreeMap<i64, Vec<i64>>,
    ) -> bool {
        if left.iter().all(|&t| !txns[t].ok) {
            return true;
        }
        left.iter().any(|&t| {
            let precedes = |other: usize| txns[other].interval.1 < txns[t].interval.0;
            if strict && left.iter().any(|&other| txns[other].ok && precedes(other)) {
                return false;
            }
            let mut store = store.clone();
            for step in &txns[t].steps {
                let mut replayed = step.clone();
                execute(flavour, &mut store, &mut replayed);
                if let (Step::Read(_, seen), Step::Read(_, found), true) =
                    (step, &replayed, txns[t].ok)
                    && seen != found
                {
                    return false;
                }
            }
            let rest: Vec<usize> = left.iter().copied().filter(|&other| other != t).collect();
            extend(flavour, txns, strict, &rest, &store)
        })
    }
    extend(flavour, txns, strict, &(0..txns.len()).collect::<Vec<_>>(), &BTreeMap::new())
}

/// Compares the checker with brute force, and counts the histories that were in order,
/// that were not, and of the latter those that the checker noticed.
fn compare(flavour: Flavour, model: &str, cases: u64) -> [usize; 3] {
    let models = parse_models(model).unwrap();
    let options = Options { models, fractured_reads: true, ..Options::default() };
    let mut counts = [0; 3];
    for seed in 0..cases {
        let mut case = Case { rng: Pcg64Mcg::seed_from_u64(seed), flavour };
        let txns = case.generate();
        let history = case.history(&txns);
        let outcome = check(&history, flavour, &options);
        let stricter = outcome.stricter.is_some();
        let outcome = outcome.to_edn();
        // Maelstrom's verdict on a history without any dependency is no claim about it.
        let types = outcome.get("anomaly-types").map_or(String::new(), Edn::to_string);
        let invalid = outcome.get("valid?") == Some(&Verdict::Invalid.to_edn())
            && types != "(:empty-transaction-graph)";
        let explicable = explicable(flavour, &txns, model == "strict-serializable");
        let context = || format!("seed {seed}: {types}\n{}", to_edn_lines(&history));
        assert!(!(invalid && explicable), "invalid, but explicable: {}", context());
        assert!(!(stricter && explicable), "not explicable, it says: {}", context());
        if flavour == Flavour::ListAppend {
            assert!(invalid || explicable, "valid, but inexplicable: {}", context());
        }
        counts[usize::from(!explicable)] += 1;
        counts[2] += usize::from(invalid || stricter);
    }
    counts
}

#[test]
fn lists_agree_with_brute_force() {
    for model in ["serializable", "strict-serializable"] {
        let [good, bad, noticed] = compare(Flavour::ListAppend, model, 2000);
        assert!(good > 400 && bad > 400 && noticed == bad, "{model}: {good} {bad} {noticed}");
    }
}

#[test]
fn registers_are_never_accused_falsely() {
    for model in ["serializable", "strict-serializable"] {
        let [good, bad, noticed] = compare(Flavour::RwRegister, model, 2000);
        assert!(good > 400 && noticed > bad / 2, "{model}: {good} {bad} {noticed}");
    }
}

/// A history that satisfies a model satisfies all that follow from it.
#[test]
fn a_stronger_model_accepts_no_more() {
    let known: Vec<Model> = models::known().iter().map(|name| name.parse().unwrap()).collect();
    let mut rejected = 0;
    for seed in 0..400 {
        for flavour in [Flavour::ListAppend, Flavour::RwRegister] {
            let mut case = Case { rng: Pcg64Mcg::seed_from_u64(seed), flavour };
            let txns = case.generate();
            let history = case.history(&txns);
            let accepts = |model: &&Model| {
                let options = Options {
                    models: vec![**model],
                    empty_graph_is_invalid: false,
                    ..Options::default()
                };
                let outcome = check(&history, flavour, &options);
                outcome.verdict != Verdict::Invalid && outcome.stricter.is_none()
            };
            let (good, bad): (Vec<&Model>, Vec<&Model>) = known.iter().partition(accepts);
            rejected += bad.len();
            for strong in good {
                let implied = adya::model::implied_models(&[strong.name()]);
                let weaker = bad.iter().find(|model| implied.contains(model.name()));
                let context = || format!("{flavour:?}, seed {seed}\n{}", to_edn_lines(&history));
                assert!(weaker.is_none(), "{strong:?}, but not {weaker:?}: {}", context());
            }
        }
    }
    assert!(rejected > 1000, "{rejected}");
}
