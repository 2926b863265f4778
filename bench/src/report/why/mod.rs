//! Why a run is not valid: each anomaly with its operations, its moment and a picture.
//!
//! The results list the findings of the checkers; here they are told with the operations around
//! them. Of each kind the first few are shown, and the result map has the rest.

mod anomaly;
mod counter;
mod element;
mod kafka;
mod linear;
mod transactions;

use std::collections::BTreeSet;

use crate::check::Verdict;
use crate::edn::Edn;

pub(super) use anomaly::Anomaly;
use anomaly::{Evidence, SHOWN, indices};
pub use transactions::cycles;

use super::material::Material;
use super::operations::shown;

/// Explains the findings of a run that is not valid.
pub(super) fn anomalies(material: &Material<'_>) -> Vec<Anomaly> {
    let Material { outcome, history, model, .. } = *material;
    if outcome.verdict == Verdict::Valid {
        return Vec::new();
    }
    let pairs = crate::history::pairs(history).unwrap_or_default();
    let evidence = Evidence { history, pairs, model };
    let mut all = Vec::new();
    // The parts that decide come before those that only could not be judged.
    for is_wanted in [is_wrong, is_unsure] {
        for (name, map) in outcome.details.iter().filter(|(_, map)| is_wanted(map)) {
            all.extend(name.as_text().into_iter().flat_map(|name| of_part(name, map, &evidence)));
        }
    }
    for anomaly in &mut all {
        let mut seen = BTreeSet::new();
        anomaly.ops.retain(|index| seen.insert(*index));
    }
    all
}

fn is_wrong(part: &Edn) -> bool {
    part.get("valid?") == Some(&Edn::Bool(false))
}

fn is_unsure(part: &Edn) -> bool {
    matches!(part.get("valid?"), Some(Edn::Keyword(_)))
}

fn of_part(name: &str, map: &Edn, evidence: &Evidence<'_>) -> Vec<Anomaly> {
    let readers = [
        linear::anomalies,
        transactions::anomalies,
        kafka::anomalies,
        element::anomalies,
        counter::anomalies,
    ];
    let is_special = matches!(name, "workload" | "linearizable");
    let found = readers.iter().filter(|_| is_special).map(|read| read(map, evidence));
    let found = found.into_iter().find(|found| !found.is_empty());
    found.unwrap_or_else(|| plain(name, map, evidence))
}

/// An anomaly of a part that has no picture of its own.
fn plain(name: &str, map: &Edn, evidence: &Evidence<'_>) -> Vec<Anomaly> {
    let mut anomaly = Anomaly::new(name, "");
    match (name, map.get("errors").and_then(Edn::as_seq)) {
        // An echo that was wrong: the errors quote the request.
        (_, Some(errors)) => {
            for error in errors.iter().take(SHOWN) {
                anomaly.lines.push(shown(error));
                anomaly.ops.extend(quoted(error, evidence));
            }
        }
        _ => anomaly.ops = indices(map),
    }
    if let Some(twice) = map.get("duplicated").and_then(Edn::entries) {
        for (value, count) in twice.iter().take(SHOWN) {
            anomaly.lines.push(format!("{value} was given {count} times"));
            anomaly.ops.extend(with_value(value, evidence).take(8));
        }
    }
    for key in ["broken", "error"] {
        let told = map.get(key).map(|e| e.as_text().map_or_else(|| e.to_string(), str::to_owned));
        anomaly.lines.extend(told.map(shown));
    }
    vec![anomaly]
}

/// The operations that an error quotes by their argument.
fn quoted(error: &Edn, evidence: &Evidence<'_>) -> Option<usize> {
    let parts = error.as_seq().unwrap_or_default();
    let pair = evidence.pairs.iter().find(|pair| parts.contains(&pair.invoke.value))?;
    Some(pair.invoke.index)
}

/// Operations that succeeded with this value.
fn with_value<'h>(value: &'h Edn, evidence: &'h Evidence<'_>) -> impl Iterator<Item = usize> + 'h {
    let ends = evidence.pairs.iter().filter_map(|pair| pair.completion);
    ends.filter(move |end| end.value == *value).map(|end| end.index)
}
