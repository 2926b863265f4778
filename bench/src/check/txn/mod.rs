//! Transactions: which isolation a history of transactions rules out.
//!
//! Two workloads, as in Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
//! Experimental Observations", 2020). In *list-append* a transaction appends unique values to lists
//! and reads whole lists, so every read tells the order of all writes before it. In *rw-register*
//! it writes unique values to registers, and only little of the order is known: nil is first, and a
//! value that a transaction overwrites after reading it comes earlier (writes follow reads;
//! Maelstrom assumes no more).
//!
//! The inference and the search for cycles are crate `adya`. Around it, here:
//!
//! * `read` refuses histories from which nothing follows, and finds *phantoms*, values
//!   that no client ever tried to write, and registers read before they were written by the
//!   same transaction (Elle says nothing about either);
//! * `models` refuses names that would enforce nothing;
//! * `report` and `edges` give results Elle's names and shapes, and tell the shortest anomaly of
//!   each type in words, under `:explanation`;
//! * `fractured` looks for fractured reads, when asked to or when one of the two models that
//!   are defined by their absence is demanded.
//!
//! * `ordered` and `stricter` find the contradictions of real time, or sessions, to the order of a
//!   register's versions, which Maelstrom does not use: a part of the result of its own,
//!   `:stricter`;
//! * `ordered` and `lists` recognize most of the histories with which nothing is wrong, for
//!   which adya is then not asked.
//!
//! A search is given up after [`Options::timeout`] of real time in each component of
//! the graph, as in Elle, and the verdict is then `unknown` unless a forbidden anomaly was
//! found anyway. Maelstrom calls such a register history valid; we do not.
//!
//! Deliberately missing: predicates (G1-predicate, G2), and pictures of the cycles.

#[cfg(test)]
mod brute;
mod edges;
mod fractured;
mod lists;
pub mod models;
mod options;
mod ordered;
mod read;
mod report;
mod stricter;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use adya::{Report, Valid, Workload};

pub use models::{Model, parse_models};
pub use options::{Flavour, Options};

use self::ordered::Order;
use self::read::{Sighting, Transactions};
use self::report::{Findings, Translator};
use crate::check::{Finding, Outcome, Verdict};
use crate::edn::Edn;
use crate::history::Events;

/// Types under which adya says that it could not analyse a history. It leaves
/// them out of its verdict, which would then be "valid".
const FATAL: [&str; 3] = ["duplicate-appends", "duplicate-writes", "unexpected-txn-micro-op-types"];

const TIMEOUT: &str = "cycle-search-timeout";
const EMPTY_GRAPH: &str = "empty-transaction-graph";

/// Judges the transactions of a history. Events of the nemesis are passed over.
pub fn check<'h>(history: impl Into<Events<'h>>, flavour: Flavour, options: &Options) -> Outcome {
    if options.models.is_empty() {
        return Outcome::unknown("no consistency model is demanded, so nothing can be wrong");
    }
    let txns = match read::read(history.into(), flavour) {
        Ok(txns) => txns,
        Err(reason) => return Outcome::unknown(reason),
    };
    let examined = match flavour {
        Flavour::ListAppend => None,
        Flavour::RwRegister => Some(ordered::examine(&txns, Order::Realtime)),
    };
    // More is looked for than adya does, in a fraction of its time and memory.
    let is_sound = match &examined {
        Some(examined) => examined.is_sound,
        None => lists::are_sound(&txns),
    };
    let report = if is_sound { sound() } else { run(&txns, flavour, options) };
    let phantoms = if is_sound { Vec::new() } else { read::phantoms(&txns) };
    if let Some(fatal) = FATAL.iter().find_map(|kind| report.anomalies.get(*kind)?.first()) {
        return Outcome::unknown(&fatal.explanation);
    }
    let findings = findings(&txns, flavour, options, &report, &phantoms);
    let mut outcome = conclude(flavour, findings, &report, options);
    // A history that the reference rejects needs no further reason.
    if let Some(examined) = examined.filter(|e| !e.is_sound && outcome.verdict != Verdict::Invalid)
    {
        outcome.stricter = stricter::judge(&txns, examined, options);
    }
    outcome
}

/// adya's report on a history with which nothing is wrong.
fn sound() -> Report {
    Report {
        valid: Valid::True,
        anomaly_types: Vec::new(),
        anomalies: BTreeMap::new(),
        not: Vec::new(),
        also_not: Vec::new(),
    }
}

fn run(txns: &Transactions<'_>, flavour: Flavour, options: &Options) -> Report {
    let (workload, wfr_keys) = match flavour {
        Flavour::ListAppend => (Workload::ListAppend, false),
        Flavour::RwRegister => (Workload::RwRegister, true),
    };
    let options = adya::Opts {
        models: options.models.iter().map(|m| m.name().to_owned()).collect(),
        // Asked for, or they would not be reported.
        anomalies: FATAL.iter().map(|kind| (*kind).to_owned()).collect(),
        timeout: options.timeout,
        wfr_keys,
        ..adya::Opts::default()
    };
    adya::check(&txns.adya, workload, &options)
}

fn findings(
    txns: &Transactions<'_>,
    flavour: Flavour,
    options: &Options,
    report: &Report,
    phantoms: &[Sighting],
) -> Findings {
    let fractured = fractured::fractured_reads(txns, flavour, options.fractured());
    let future = match options.forbid("future-read") {
        true => read::future_reads(txns),
        false => Vec::new(),
    };
    let told = report.anomalies.get("future-read").map_or(&[][..], Vec::as_slice);
    let is_new = |seen: &Sighting| !told.iter().any(|known| known.ops == [seen.reader as u64]);
    let future: Vec<Sighting> = future.into_iter().filter(is_new).collect();
    let mut findings = Findings::default();
    if report.anomalies.is_empty() && [phantoms.len(), fractured.len(), future.len()] == [0; 3] {
        return findings;
    }
    let translator = Translator::new(txns, flavour);
    for (kind, anomalies) in &report.anomalies {
        findings.add(kind, anomalies, |anomaly| translator.anomaly(anomaly));
    }
    let phantom = "which was never written";
    findings.add("phantom", phantoms, |seen| translator.sighting(seen, phantom));
    let later = "which it writes only later";
    findings.add("future-read", &future, |seen| translator.sighting(seen, later));
    findings.add("fractured-read", &fractured, |read| read.tell(&translator, txns));
    findings
}

fn conclude(
    flavour: Flavour,
    mut findings: Findings,
    report: &Report,
    options: &Options,
) -> Outcome {
    let mut timeouts = None;
    // Below read committed a transaction may read a value that is never committed, and one from
    // nowhere is no worse than one that was taken back.
    let phantoms = (!options.forbid("G1a")).then(|| findings.remove("phantom")).flatten();
    let verdict = match flavour {
        Flavour::ListAppend => {
            let ours = ["phantom", "fractured-read", "future-read"];
            let ours = ours.iter().any(|kind| findings.has(kind));
            match report.valid {
                _ if ours => Verdict::Invalid,
                Valid::False => Verdict::Invalid,
                Valid::Unknown => Verdict::Unknown,
                Valid::True => Verdict::Valid,
            }
        }
        // Maelstrom strikes the time-outs and then tolerates no anomaly type at all.
        Flavour::RwRegister => {
            timeouts = findings.remove(TIMEOUT);
            let empty = usize::from(findings.has(EMPTY_GRAPH));
            match (findings.kinds() - empty, empty, &timeouts) {
                (1.., ..) => Verdict::Invalid,
                (0, 1, _) if options.empty_graph_is_invalid => Verdict::Invalid,
                (0, 0, None) => Verdict::Valid,
                _ => Verdict::Unknown,
            }
        }
    };
    let found = findings.types();
    let found = Finding::anomalies(found.as_seq().unwrap_or_default());
    let mut outcome = Outcome::new(verdict, []).with(found);
    let mut say = |key: &str, value: Edn| outcome.details.push((Edn::keyword(key), value));
    if let Some(phantoms) = phantoms {
        say("warnings", Edn::Map(vec![(Edn::keyword("phantom"), Edn::Vector(phantoms))]));
    }
    if findings.is_empty() && timeouts.is_none() {
        if flavour == Flavour::RwRegister {
            say("anomaly-types", Edn::List(Vec::new()));
            say("anomalies", Edn::Nil);
        }
        return outcome;
    }
    let models = |names: &[String]| {
        let mut names: Vec<&str> = names.iter().map(|name| models::printed(name)).collect();
        names.sort_unstable();
        Edn::Set(names.into_iter().map(Edn::keyword).collect())
    };
    say("anomaly-types", findings.types());
    say("anomaly-counts", findings.counts());
    say("explanation", findings.explanation());
    say("anomalies", findings.into_anomalies());
    say("not", models(&report.not));
    say("also-not", models(&report.also_not));
    if let Some(timeouts) = timeouts {
        say(TIMEOUT, Edn::Vector(timeouts));
    }
    outcome
}
