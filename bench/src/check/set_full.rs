//! Growing sets: every element that was acknowledged or seen stays readable.
//!
//! For each element three moments are kept: when it was first *known* to be in the
//! set (its add, or a read of it, completed), and when the last read that saw it and the last
//! one that missed it were invoked. Seen last, it is stable; missed last although it was known
//! before, it is lost; otherwise it was never read. A set need not be linearizable: an
//! element may be missing for a while, which is reported as stale.
//!
//! Stricter than Jepsen's set-full on purpose:
//! * an element that occurs twice in one read makes it invalid (Jepsen means to, but tests for a
//!   frequency below 1);
//! * an element that was read before any client added it is a *phantom* and makes it invalid, under
//!   the keys `:phantom-count` and `:phantom`, which appear only then (Jepsen ignores it).
//!
//! An element that is added twice counts once, from its first add on.
//! Source: `jepsen.checker/set-full`.

mod element;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Outcome, Verdict, operations_that_repeat};
use crate::edn::Edn;
use crate::history::{Op, Pair, quantile};

use element::{Element, Elements, Fate};

/// How many of the stale elements a result explains.
const WORST: usize = 8;

/// Judges a history of the operations `add_f` (an element) and `read` (all elements).
pub fn check(history: &[Op], add_f: &str) -> Outcome {
    let operations = match operations_that_repeat(history, &[add_f, "read"], add_f) {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    let mut findings = Findings::default();
    for event in events(&operations, add_f) {
        if let Err(why) = findings.observe(event) {
            return Outcome::unknown(why);
        }
    }
    findings.outcome()
}

/// The events of a history that matter, in its order.
#[derive(Clone, Copy)]
enum Event<'a> {
    Add(&'a Op),
    Added { invoke: &'a Op, ok: &'a Op },
    Read { invoke: &'a Op, ok: &'a Op },
}

fn events<'a>(operations: &[Pair<'a>], add_f: &str) -> Vec<Event<'a>> {
    let mut events = Vec::with_capacity(2 * operations.len());
    for pair in operations {
        let invoke = pair.invoke;
        let is_add = &*invoke.f == add_f;
        if is_add {
            events.push((invoke.index, Event::Add(invoke)));
        }
        if let Some(ok) = pair.completion.filter(|_| pair.is_ok()) {
            let event =
                if is_add { Event::Added { invoke, ok } } else { Event::Read { invoke, ok } };
            events.push((ok.index, event));
        }
    }
    events.sort_by_key(|(index, _)| *index);
    events.into_iter().map(|(_, event)| event).collect()
}

#[derive(Default)]
struct Findings<'a> {
    elements: Elements<'a>,
    /// The most often that an element occurred in one read, if more than once.
    repeated: BTreeMap<&'a Edn, usize>,
    phantoms: BTreeSet<&'a Edn>,
}

impl<'a> Findings<'a> {
    fn observe(&mut self, event: Event<'a>) -> Result<(), String> {
        match event {
            Event::Add(invoke) => self.elements.track(&invoke.value),
            Event::Added { invoke, ok } => {
                if let Some(element) = self.elements.get_mut(&invoke.value) {
                    element.known.get_or_insert(ok);
                }
            }
            Event::Read { invoke, ok } => {
                let seen = match &ok.value {
                    // Go writes null for a list that was never filled.
                    Edn::Nil => &[],
                    value => value.as_seq().ok_or_else(|| {
                        format!("read {} is ok with {value}, which is not a list", ok.index)
                    })?,
                };
                self.read(seen, invoke, ok);
            }
        }
        Ok(())
    }

    fn read(&mut self, seen: &'a [Edn], invoke: &'a Op, ok: &'a Op) {
        let mut times = vec![0_usize; self.elements.len()];
        let mut foreign: BTreeMap<&Edn, usize> = BTreeMap::new();
        for value in seen {
            match self.elements.position(value) {
                Some(at) => times[at] += 1,
                None => *foreign.entry(value).or_default() += 1,
            }
        }
        for (element, &times) in self.elements.iter_mut().zip(&times) {
            element.read(times > 0, invoke, ok);
            if times > 1 {
                let most = self.repeated.entry(element.value).or_default();
                *most = times.max(*most);
            }
        }
        for (value, times) in foreign {
            self.phantoms.insert(value);
            if times > 1 {
                let most = self.repeated.entry(value).or_default();
                *most = times.max(*most);
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let mut elements: Vec<&Element<'_>> = self.elements.iter().collect();
        elements.sort_by_key(|element| element.value);
        let of = |fate| elements.iter().copied().filter(move |e| e.fate() == fate);
        let (stable, lost) = (of(Fate::Stable).count(), of(Fate::Lost).count());
        let mut stale: Vec<&Element<'_>> =
            of(Fate::Stable).filter(|e| e.stable_latency_ms() > 0).collect();
        let stale_list = values(stale.iter().copied());
        let repeated = counts(&self.repeated);
        let repeated_keys = repeated.entries().unwrap_or_default().iter().map(|(key, _)| key);
        let mut findings: Vec<Finding> = [
            Finding::counted("lost", lost, of(Fate::Lost).map(|element| element.value)),
            Finding::counted("duplicated", self.repeated.len(), repeated_keys),
            Finding::counted("phantom", self.phantoms.len(), self.phantoms.iter().copied()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if findings.is_empty() && stable == 0 {
            findings.push(Finding::new("no element was ever seen"));
        }
        let mut outcome = Outcome::new(
            self.verdict(stable, lost),
            [
                ("attempt-count", Edn::from(elements.len())),
                ("stable-count", Edn::from(stable)),
                ("lost-count", Edn::from(lost)),
                ("lost", values(of(Fate::Lost))),
                ("never-read-count", Edn::from(of(Fate::NeverRead).count())),
                ("never-read", values(of(Fate::NeverRead))),
                ("stale-count", Edn::from(stale.len())),
                ("stale", stale_list),
                ("worst-stale", worst(&mut stale)),
                ("duplicated-count", Edn::from(self.repeated.len())),
                ("duplicated", repeated.clone()),
            ],
        )
        .with(findings);
        let latencies = of(Fate::Stable).map(Element::stable_latency_ms).collect();
        outcome.details.extend(quantiles("stable-latencies", latencies));
        let latencies = of(Fate::Lost).map(Element::lost_latency_ms).collect();
        outcome.details.extend(quantiles("lost-latencies", latencies));
        if !self.phantoms.is_empty() {
            outcome.push("phantom-count", self.phantoms.len());
            outcome.push("phantom", Edn::list(self.phantoms.iter().copied().cloned()));
        }
        outcome
    }

    fn verdict(&self, stable: usize, lost: usize) -> Verdict {
        if lost > 0 || !self.repeated.is_empty() || !self.phantoms.is_empty() {
            Verdict::Invalid
        } else if stable == 0 {
            Verdict::Unknown
        } else {
            Verdict::Valid
        }
    }
}

fn values<'a>(elements: impl Iterator<Item = &'a Element<'a>>) -> Edn {
    Edn::list(elements.map(|element| element.value.clone()))
}

fn counts(counts: &BTreeMap<&Edn, usize>) -> Edn {
    Edn::Map(counts.iter().map(|(value, n)| (Edn::clone(value), Edn::from(*n))).collect())
}

/// The elements that took longest to become visible to all readers.
fn worst(stale: &mut [&Element<'_>]) -> Edn {
    stale.sort_by_key(|element| Reverse(element.stable_latency_ms()));
    Edn::list(stale.iter().take(WORST).map(|element| {
        let record = |op: Option<&Op>| op.map_or(Edn::Nil, Op::to_record);
        Edn::map([
            ("element", element.value.clone()),
            ("outcome", Edn::keyword("stable")),
            ("stable-latency", Edn::Int(element.stable_latency_ms())),
            ("lost-latency", Edn::Nil),
            ("known", record(element.known)),
            ("last-absent", record(element.last_absent)),
        ])
    }))
}

/// The distribution of some latencies, if there are any.
fn quantiles(name: &str, mut latencies_ms: Vec<i64>) -> Option<(Edn, Edn)> {
    latencies_ms.sort_unstable();
    let at = |q: f64| quantile(&latencies_ms, q).map(Edn::Int);
    let mut map = vec![(Edn::Int(0), at(0.0)?)];
    for q in [0.5, 0.95, 0.99] {
        map.push((Edn::Float(q), at(q)?));
    }
    map.push((Edn::Int(1), at(1.0)?));
    Some((Edn::keyword(name), Edn::Map(map)))
}
