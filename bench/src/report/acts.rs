//! The acts of the nemesis, as spans of time in which a fault lasted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::edn::{Edn, printable};
use crate::history::{Op, Process};

/// A fault from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    /// The act that begins it.
    pub(crate) f: String,
    /// Nanoseconds since the operations began.
    pub(crate) from: i64,
    /// When it ended; the end of the history if it did not.
    pub(crate) to: i64,
    /// Whether an act ended it.
    pub(crate) is_over: bool,
    /// The nodes that it hits.
    pub(crate) nodes: Vec<String>,
    /// The act in words.
    pub(crate) text: String,
}

impl Span {
    /// As the page's script reads it, in microseconds.
    pub(super) fn to_json(&self) -> Value {
        let micros = |nanos: i64| nanos as f64 / 1e3;
        json!({"f": self.f, "from": micros(self.from), "to": micros(self.to),
               "over": self.is_over, "nodes": self.nodes, "text": self.text})
    }
}

/// The name of the act that ends the faults of another.
fn end_of(f: &str) -> Option<String> {
    let pairs = [
        ("kill", "start"),
        ("pause", "resume"),
        ("slow", "fast"),
        ("stall", "release"),
        ("remove-member", "restore-members"),
        ("drain", "replace"),
        ("fill-disk", "free-disk"),
    ];
    let of_start = || f.strip_prefix("start-").map(|rest| format!("stop-{rest}"));
    pairs.iter().find(|(begin, _)| *begin == f).map(|(_, end)| (*end).to_owned()).or_else(of_start)
}

/// The faults of a history, by their beginning.
pub(crate) fn spans(history: &[Op]) -> Vec<Span> {
    let last = history.last().map_or(0, |op| op.time);
    let mut spans: Vec<Span> = Vec::new();
    let acts = history.iter().filter(|op| op.process == Process::Nemesis);
    // The nemesis notes each act twice, as asked for and as done.
    for op in acts.skip(1).step_by(2) {
        for span in spans.iter_mut().filter(|span| span.to == i64::MAX) {
            if end_of(&span.f).as_deref() == Some(&*op.f) {
                (span.to, span.is_over) = (op.time, true);
            }
        }
        if end_of(&op.f).is_some() {
            let (nodes, text) = tell(&op.value);
            let (f, from) = (op.f.to_string(), op.time);
            spans.push(Span { f, from, to: i64::MAX, is_over: false, nodes, text });
        }
    }
    spans.iter_mut().filter(|span| span.to == i64::MAX).for_each(|span| span.to = last);
    spans
}

fn name(value: &Edn) -> String {
    value.as_text().map_or_else(|| value.to_string(), str::to_owned)
}

/// The senders whose links an act hits, and these links: `[["n2" "n0"] ["n2" "n1"]]`.
fn links(done: &Edn) -> Option<(Vec<String>, String)> {
    let link = |link: &Edn| match link.as_seq()? {
        [from, to] if from.entries().is_none() && to.entries().is_none() => {
            Some((name(from), name(to)))
        }
        _ => None,
    };
    let links: Option<Vec<(String, String)>> = done.as_seq()?.iter().map(link).collect();
    let links = links.filter(|links| !links.is_empty())?;
    let senders: BTreeSet<String> = links.iter().map(|(from, _)| from.clone()).collect();
    let ways: Vec<String> = links.iter().map(|(from, to)| format!("{from} → {to}")).collect();
    Some((senders.into_iter().collect(), ways.join(", ")))
}

/// The nodes that an act hits, and its effect: `n1 n2`, or who hears whom no more.
fn tell(done: &Edn) -> (Vec<String>, String) {
    if let Some((senders, ways)) = links(done) {
        return (senders, ways);
    }
    // A partition is `[:isolated {"n1" #{"n2"}}]`, and a kill `{"n1" :killed}`.
    let map = done.as_seq().and_then(<[Edn]>::last).unwrap_or(done);
    let Some(entries) = map.entries() else {
        return (Vec::new(), printable(&done.to_string()));
    };
    let mut deaf: BTreeMap<BTreeSet<String>, Vec<String>> = BTreeMap::new();
    for (node, peers) in entries {
        let peers = peers.as_seq().unwrap_or_default().iter().map(name).collect();
        deaf.entry(peers).or_default().push(name(node));
    }
    let groups: Vec<&Vec<String>> = deaf.values().collect();
    if let [only] = groups[..] {
        return (only.clone(), only.join(" "));
    }
    // The smallest side is the one that was cut off.
    let smallest = groups.iter().map(|group| group.len()).min().unwrap_or(0);
    let cut = groups.iter().filter(|group| group.len() == smallest);
    let nodes = cut.flat_map(|group| group.iter().cloned()).collect();
    let sides: Vec<String> = groups.iter().map(|group| group.join(" ")).collect();
    (nodes, sides.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    #[test]
    fn faults_last_until_they_are_ended() {
        let text = "{:time 0, :type :info, :process :nemesis, :f :kill, :value :one}
            {:time 1, :type :info, :process :nemesis, :f :kill, :value {\"n1\" :killed}}
            {:time 2, :type :info, :process :nemesis, :f :start-partition, :value :one}
            {:time 3, :type :info, :process :nemesis, :f :start-partition,
             :value [:isolated {\"a\" #{\"b\" \"c\"}, \"b\" #{\"a\"}, \"c\" #{\"a\"}}]}
            {:time 3, :type :info, :process :nemesis, :f :stall, :value nil}
            {:time 3, :type :info, :process :nemesis, :f :stall, :value [[\"a\" \"b\"] [\"a\" \"c\"]]}
            {:time 4, :type :info, :process :nemesis, :f :start, :value nil}
            {:time 5, :type :info, :process :nemesis, :f :start, :value :started}
            {:time 9, :type :invoke, :process 0, :f :read, :value nil}";
        let spans = spans(&from_text(text).unwrap());
        let told: Vec<_> = spans.iter().map(|s| (&*s.f, s.from, s.to, &*s.text)).collect();
        let expected = [
            ("kill", 1, 5, "n1"),
            ("start-partition", 3, 9, "b c | a"),
            ("stall", 3, 9, "a → b, a → c"),
        ];
        assert_eq!(told, expected);
        assert_eq!(spans.iter().map(|s| s.is_over).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(spans[2].nodes, ["a"]);
        assert_eq!(spans[1].nodes, ["a"]);
    }
}
