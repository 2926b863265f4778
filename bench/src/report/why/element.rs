//! The life of an element of a set: when it was added, and which reads saw it.

use maud::{PreEscaped, html};

use super::anomaly::{Anomaly, Evidence, SHOWN};
use crate::edn::Edn;
use crate::history::{OpType, Pair};
use crate::plot::strip::{self, Tick};

/// The lists of elements in a result, worst first.
const KINDS: [&str; 4] = ["lost", "unexpected", "stale", "never-read"];

pub(super) fn anomalies(map: &Edn, evidence: &Evidence<'_>) -> Vec<Anomaly> {
    if map.get("lost").is_none() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for kind in KINDS {
        let elements = map.get(kind).and_then(Edn::as_seq).unwrap_or_default();
        all.extend(elements.iter().take(SHOWN).map(|element| life(kind, element, evidence)));
    }
    let twice = map.get("duplicated").and_then(Edn::entries).unwrap_or_default();
    let twice = twice.iter().take(SHOWN);
    all.extend(twice.map(|(element, _)| life("duplicated", element, evidence)));
    all
}

fn life(kind: &str, element: &Edn, evidence: &Evidence<'_>) -> Anomaly {
    let mut anomaly = Anomaly::new(kind, format!("element {element}"));
    let is_add = |pair: &&Pair<'_>| pair.invoke.f != "read" && pair.invoke.value == *element;
    let add = evidence.pairs.iter().find(is_add);
    let reads: Vec<(&Pair<'_>, bool)> = evidence
        .pairs
        .iter()
        .filter_map(|pair| {
            let end = pair.completion.filter(|end| end.kind == OpType::Ok && end.f == "read")?;
            Some((pair, end.value.as_seq()?.contains(element)))
        })
        .collect();
    let ended = add.and_then(|pair| pair.completion);
    let after = |pair: &Pair<'_>| ended.is_some_and(|end| pair.invoke.time >= end.time);
    let later = || reads.iter().filter(|(pair, _)| after(pair));
    let missed = later().filter(|(_, sees)| !sees).count();
    if let Some(pair) = add {
        let (process, f) = (pair.invoke.process.to_edn(), &pair.invoke.f);
        let how = ended.map_or("never completed", |end| end.kind.name());
        let at = pair.invoke.time as f64 / 1e9;
        anomaly.lines.push(format!("Process {process} invoked {f} {element} at {at:.3} s: {how}."));
        let later = later().count();
        anomaly.lines.push(format!("Of {later} reads that began after that, {missed} lack it."));
    }
    // The first read without it decides; then the add; then the last read with it.
    let without = later().find(|(_, sees)| !sees).map(|(pair, _)| pair.invoke.index);
    let with = reads.iter().rev().find(|(_, sees)| *sees).map(|(pair, _)| pair.invoke.index);
    let added = add.map(|pair| pair.invoke.index);
    anomaly.ops.extend([without, added, with].into_iter().flatten());
    let ticks: Vec<Tick> = reads
        .iter()
        .map(|(pair, sees)| {
            let at = pair.completion.map_or(pair.invoke.time, |end| end.time);
            Tick { at, is_up: *sees }
        })
        .collect();
    let end = evidence.history.last().map_or(0, |op| op.time);
    let svg = strip::draw(&ticks, add.map(|pair| pair.invoke.time), end);
    anomaly.picture = Some(html! {
        (PreEscaped(svg))
        p class="quiet" { "Each tick is a read: up if it saw the element, down if not. The line is the add." }
    });
    anomaly
}
