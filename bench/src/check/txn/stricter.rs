//! Findings of our own about registers: the consequences of real time, or of sessions, for each,
//! and reads of half a transaction.
//!
//! Of the latter Elle sees the cycle only if the transaction is known to have committed. But one in
//! doubt of which a value was read has happened, and is the one that is torn most easily.
//!
//! They are a part of their own beside the reference's verdict, see [`Outcome::stricter`].

use super::fractured::fractured_reads;
use super::options::{Flavour, Fracture, Options};
use super::ordered::{Examined, Order, Step, Version, examine};
use super::read::Transactions;
use super::report::{Told, Translator};
use crate::check::{Finding, Outcome, Verdict};
use crate::edn::Edn;

/// Cases that are shown of each kind.
const SHOWN: usize = 8;

/// Lines of one case that are told.
const LINES: usize = 16;

/// Judges by the models that go beyond the reference's findings; none if none of them is broken.
/// `realtime` holds the findings by the order of real time.
pub(super) fn judge(
    txns: &Transactions<'_>,
    realtime: Examined,
    options: &Options,
) -> Option<Box<Outcome>> {
    let (mut types, mut found, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |kind: &str, cases: Vec<(Edn, Vec<String>)>| {
        let Some((_, shortest)) = cases.first() else { return };
        types.push(Edn::keyword(kind));
        lines.push(format!("{kind} ({} shown)", cases.len()));
        lines.extend(shortest.iter().take(LINES).map(|line| format!("  {line}")));
        let cases = cases.into_iter().map(|(case, _)| case);
        found.push((Edn::keyword(kind), Edn::Vector(cases.collect())));
    };
    if let Some((examined, teller, worst)) = in_order(txns, realtime, options) {
        add("stale-read", examined.stale.iter().take(SHOWN).map(|c| teller.circle(c)).collect());
        // Other models permit some cycles, and these are not told apart.
        if options.forbid(worst) {
            let cycles = examined.cycles.iter().take(SHOWN);
            add(teller.kind(), cycles.map(|cycle| teller.cycle(cycle)).collect());
        }
    }
    // Below, they count by themselves or not at all.
    if options.forbid("G-single-item") {
        add("fractured-read", torn(txns));
    }
    if types.is_empty() {
        return None;
    }
    let finding = Finding::anomalies(&types);
    let mut outcome = Outcome::new(
        Verdict::Invalid,
        [
            ("anomaly-types", Edn::List(types)),
            ("explanation", Edn::Vector(lines.into_iter().map(Edn::str).collect())),
        ],
    )
    .with(finding);
    outcome.details.extend(found);
    Some(Box::new(outcome))
}

/// The findings by the order that the models demand, and the worst cycle by it.
fn in_order<'t, 'h>(
    txns: &'t Transactions<'h>,
    realtime: Examined,
    options: &Options,
) -> Option<(Examined, Teller<'t, 'h>, &'static str)> {
    let (examined, order, worst) = if options.forbid("G-single-item-realtime") {
        (realtime, Order::Realtime, "G2-item-realtime")
    } else if options.forbid("G-single-item-process") {
        (examine(txns, Order::Process), Order::Process, "G2-item-process")
    } else {
        return None;
    };
    Some((examined, Teller { txns, order }, worst))
}

/// Reads of half a transaction.
fn torn(txns: &Transactions<'_>) -> Vec<(Edn, Vec<String>)> {
    let fractured = fractured_reads(txns, Flavour::RwRegister, Fracture::Any);
    if fractured.is_empty() {
        return Vec::new();
    }
    let translator = Translator::new(txns, Flavour::RwRegister);
    let told = fractured.iter().take(SHOWN).map(|read| read.tell(&translator, txns));
    told.map(|Told { edn, lines }| (edn, lines)).collect()
}

struct Teller<'t, 'h> {
    txns: &'t Transactions<'h>,
    order: Order,
}

impl Teller<'_, '_> {
    fn kind(&self) -> &'static str {
        match self.order {
            Order::Realtime => "cycle-with-linearizable-keys",
            Order::Process => "cycle-with-sequential-keys",
        }
    }

    fn t(&self, txn: usize) -> String {
        format!("T{}", self.txns.head(txn).index)
    }

    fn value(&self, version: Version) -> Edn {
        version.1.map_or(Edn::Nil, |value| self.txns.name(value).clone())
    }

    /// Versions of a key each of which comes before the next.
    fn circle(&self, steps: &[Step]) -> (Edn, Vec<String>) {
        let key = steps.first().map_or(Edn::Nil, |s| self.txns.name(s.versions[0].0).clone());
        let line = |step: &Step| {
            let [from, to] = step.versions.map(|version| self.value(version));
            let [a, b] = step.txns.map(|txn| self.t(txn));
            match (self.order, from.is_nil() && a == b) {
                (_, true) => format!("key {key} has no value before {to} is written"),
                _ if a == b => format!("{a} read {from} of key {key} and wrote {to}"),
                (Order::Realtime, _) => format!(
                    "{a} knew {from} of key {key} and completed before {b}, which knew {to}, began"
                ),
                (Order::Process, _) => {
                    format!("{a} knew {from} of key {key}, and {b} of the same process later {to}")
                }
            }
        };
        let lines = steps.iter().map(line).collect();
        let versions = steps.iter().map(|step| self.value(step.versions[0])).collect();
        let mut txns: Vec<usize> = steps.iter().flat_map(|step| step.txns).collect();
        txns.dedup();
        let ops = txns.into_iter().map(|txn| self.txns.op(txn).to_record()).collect();
        let edn = [("key", key), ("versions", Edn::Vector(versions)), ("ops", Edn::Vector(ops))];
        (Edn::map(edn), lines)
    }

    /// Transactions each of which comes before the next.
    fn cycle(&self, cycle: &[usize]) -> (Edn, Vec<String>) {
        let txn = |txn: &usize| format!("{} = {}", self.t(*txn), self.txns.op(*txn).value);
        let mut lines: Vec<String> = cycle.iter().map(txn).collect();
        lines.push("each comes before the next, and the last before the first".to_owned());
        let ops = cycle.iter().map(|txn| self.txns.op(*txn).to_record()).collect();
        (Edn::map([("cycle", Edn::Vector(ops))]), lines)
    }
}
