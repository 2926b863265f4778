//! Anomalies of transactions: cycles drawn, the others in words.

use maud::PreEscaped;

use super::anomaly::{Anomaly, Evidence, SHOWN, indices};
use crate::edn::Edn;
use crate::plot::cycle::{self, Edge};

pub(super) fn anomalies(map: &Edn, _: &Evidence<'_>) -> Vec<Anomaly> {
    let words = map.get("explanation").and_then(Edn::as_seq).unwrap_or_default();
    let kinds = map.get("anomalies").and_then(Edn::entries).unwrap_or_default();
    let mut all = Vec::new();
    for (kind, found) in kinds {
        let name = kind.as_text().unwrap_or_default();
        let found = found.as_seq().map_or(std::slice::from_ref(found), |all| all);
        // The shortest is told in words, and drawn the most clearly.
        let mut by_length: Vec<&Edn> = found.iter().collect();
        by_length.sort_by_key(|one| indices(one).len());
        for (nth, one) in by_length.into_iter().take(SHOWN).enumerate() {
            let mut anomaly = Anomaly::new(name, format!("{} of {}", nth + 1, found.len()));
            anomaly.ops = indices(one);
            anomaly.lines = if nth == 0 { explained(words, name) } else { Vec::new() };
            anomaly.picture = picture(one).map(PreEscaped);
            all.push(anomaly);
        }
    }
    // A circle of two is understood at once, one of fourteen is not.
    all.sort_by_key(|anomaly: &Anomaly| (anomaly.picture.is_none(), anomaly.ops.len()));
    all
}

/// The cycles in the results of a run, each with the name of its kind and a number: `G1c-1`. Of
/// each kind the shortest ones are drawn.
pub fn cycles(results: &Edn) -> Vec<(String, String)> {
    let kinds = results.get("workload").and_then(|part| part.get("anomalies"));
    let mut all = Vec::new();
    for (kind, found) in kinds.and_then(Edn::entries).unwrap_or_default() {
        let name = kind.as_text().unwrap_or_default();
        let mut by_length: Vec<&Edn> = found.as_seq().unwrap_or_default().iter().collect();
        by_length.sort_by_key(|one| indices(one).len());
        let drawn = by_length.into_iter().filter_map(picture).take(SHOWN).enumerate();
        all.extend(drawn.map(|(nth, svg)| (format!("{name}-{}", nth + 1), svg)));
    }
    all
}

/// The lines below the heading of this kind.
fn explained(words: &[Edn], kind: &str) -> Vec<String> {
    let texts = words.iter().filter_map(Edn::as_text);
    let is_heading =
        |line: &&str| line.strip_prefix(kind).is_some_and(|rest| rest.starts_with(" ("));
    let below = texts.skip_while(|line| !is_heading(line)).skip(1);
    below.take_while(|line| line.starts_with(' ')).map(|line| line.trim().to_owned()).collect()
}

fn picture(anomaly: &Edn) -> Option<String> {
    let ops = anomaly.get("cycle").and_then(Edn::as_seq)?;
    let steps = anomaly.get("steps").and_then(Edn::as_seq).unwrap_or_default();
    // The first transaction stands once more at the end.
    let (_, ops) = ops.split_last()?;
    let node = |op: &Edn| {
        let index = op.get("index").and_then(Edn::as_int).unwrap_or_default();
        (format!("T{index}"), op.get("value").map_or_else(String::new, Edn::to_string))
    };
    let nodes: Vec<(String, String)> = ops.iter().map(node).collect();
    let edge = |step: &Edn| Edge {
        kind: step.get("type").and_then(Edn::as_text).unwrap_or("?").to_owned(),
        about: step.get("key").map(|key| format!("key {key}")).unwrap_or_default(),
    };
    let edges: Vec<Edge> = steps.iter().map(edge).collect();
    (!nodes.is_empty()).then(|| cycle::draw(&nodes, &edges))
}
