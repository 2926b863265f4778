//! Anomalies as Elle writes them, and in words.
//!
//! Each anomaly becomes a map with Elle's keys and a few lines for people. Only the
//! shortest of each type is told in words, and only the first [`KEPT`] are kept at
//! all: a store without isolation yields a hundred thousand of them.

use std::collections::BTreeMap;

use adya::Anomaly;
use serde_json::Value as Json;

use super::edges::Edges;
use super::models;
use super::options::Flavour;
use super::read::{Sighting, Transactions};
use crate::edn::Edn;

/// Anomalies kept of each type; `:anomaly-counts` has how many there were.
pub(super) const KEPT: usize = 32;

/// Lines of a told cycle before the middle is left out.
const LINES: usize = 16;

/// One anomaly, for programs and for people.
pub(super) struct Told {
    pub(super) edn: Edn,
    pub(super) lines: Vec<String>,
}

/// Everything found, by Elle's name of the anomaly.
#[derive(Default)]
pub(super) struct Findings {
    found: BTreeMap<String, (usize, Vec<Told>)>,
}

impl Findings {
    /// Adds anomalies of one type, if there are any; those beyond [`KEPT`] are only counted.
    pub(super) fn add<A>(&mut self, kind: &str, anomalies: &[A], told: impl Fn(&A) -> Told) {
        if anomalies.is_empty() {
            return;
        }
        let entry = self.found.entry(kind.to_owned()).or_default();
        entry.0 += anomalies.len();
        let room = KEPT - entry.1.len();
        entry.1.extend(anomalies.iter().take(room).map(told));
    }

    pub(super) fn remove(&mut self, kind: &str) -> Option<Vec<Edn>> {
        let (_, told) = self.found.remove(kind)?;
        Some(told.into_iter().map(|t| t.edn).collect())
    }

    pub(super) fn has(&self, kind: &str) -> bool {
        self.found.contains_key(kind)
    }

    /// How many types there are.
    pub(super) fn kinds(&self) -> usize {
        self.found.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `:anomaly-types`, sorted.
    pub(super) fn types(&self) -> Edn {
        Edn::List(self.found.keys().map(|kind| Edn::keyword(kind)).collect())
    }

    /// `:anomaly-counts`: how many of each type there were, kept or not.
    pub(super) fn counts(&self) -> Edn {
        let count =
            |(kind, (count, _)): (&String, &(usize, _))| (Edn::keyword(kind), Edn::from(*count));
        Edn::Map(self.found.iter().map(count).collect())
    }

    /// The shortest anomaly of each type in words, a line a string.
    pub(super) fn explanation(&self) -> Edn {
        let mut lines = Vec::new();
        for (kind, (count, told)) in &self.found {
            lines.push(Edn::str(format!("{kind} ({count} found)")));
            let shortest = told.iter().min_by_key(|t| t.lines.len());
            let words = shortest.into_iter().flat_map(|t| &t.lines);
            lines.extend(words.map(|line| Edn::str(format!("  {line}"))));
        }
        Edn::Vector(lines)
    }

    /// `:anomalies`.
    pub(super) fn into_anomalies(self) -> Edn {
        let entry = |(kind, (_, told)): (String, (usize, Vec<Told>))| {
            let all = Edn::Vector(told.into_iter().map(|t| t.edn).collect());
            (Edn::keyword(&kind), all)
        };
        Edn::Map(self.found.into_iter().map(entry).collect())
    }
}

/// Translates adya's reports.
pub(super) struct Translator<'t, 'h> {
    txns: &'t Transactions<'h>,
    flavour: Flavour,
    edges: Edges<'t, 'h>,
}

impl<'t, 'h> Translator<'t, 'h> {
    pub(super) fn new(txns: &'t Transactions<'h>, flavour: Flavour) -> Translator<'t, 'h> {
        Translator { txns, flavour, edges: Edges::new(txns, flavour) }
    }

    pub(super) fn anomaly(&self, anomaly: &Anomaly) -> Told {
        let detail = &anomaly.detail;
        let ops = || anomaly.ops.iter().map(|&i| self.op(i as usize));
        let (edn, line) = match anomaly.kind.as_str() {
            "G1a" | "G1b" => return self.read_of_writer(anomaly),
            "internal" | "future-read" | "duplicate-elements" => self.odd_read(anomaly),
            "incompatible-order" => {
                let (key, values) = (self.name(&detail["key"]), self.value(&detail["values"]));
                let line = format!(
                    "key {key} was read as two lists neither of which begins the other: {values}"
                );
                (map([("key", key), ("values", values)]), line)
            }
            "dirty-update" => {
                let (key, values) = (self.name(&detail["key"]), self.value(&detail["values"]));
                let line = format!(
                    "{} appended to key {key} after {}, which failed: {values}",
                    self.t(anomaly, 1),
                    self.t(anomaly, 0)
                );
                (
                    map([("key", key), ("values", values), ("txns", Edn::List(ops().collect()))]),
                    line,
                )
            }
            "lost-update" => {
                let key = self.name(&detail["key"]);
                let value = match self.value(&detail["value"]) {
                    Edn::Vector(list) if list.is_empty() => Edn::Nil,
                    value => value,
                };
                let all: Vec<String> =
                    (0..anomaly.ops.len().min(8)).map(|i| self.t(anomaly, i)).collect();
                let line =
                    format!("{} all read key {key} as {value} and then wrote it", all.join(", "));
                (
                    map([("key", key), ("value", value), ("txns", Edn::Vector(ops().collect()))]),
                    line,
                )
            }
            "cyclic-versions" => self.cyclic_versions(detail),
            "empty-transaction-graph" => {
                (Edn::Bool(true), "no transaction is known to precede another".into())
            }
            "cycle-search-timeout" => self.timeout(detail),
            kind if kind.ends_with("-cycle-exists") => self.cycle_exists(anomaly),
            _ => return self.cycle(anomaly),
        };
        Told { edn, lines: vec![line] }
    }

    /// Our own: a value that cannot have been there, with the reason in words.
    pub(super) fn sighting(&self, sighting: &Sighting, why: &str) -> Told {
        let (reader, element) = (sighting.reader, self.txns.name(sighting.element));
        let mop = self.show_mop(reader, sighting.mop);
        let line = format!("{} has {mop}: {element}, {why}", self.edges.t(reader));
        let edn = map([("op", self.op(reader)), ("mop", mop), ("element", element.clone())]);
        Told { edn, lines: vec![line] }
    }

    /// The micro-operation as the history has it.
    pub(super) fn show_mop(&self, position: usize, mop: usize) -> Edn {
        let op = self.txns.op(position);
        op.value.as_seq().and_then(|mops| mops.get(mop)).cloned().unwrap_or_default()
    }

    /// The operation as results quote it.
    pub(super) fn op(&self, position: usize) -> Edn {
        self.txns.op(position).to_record()
    }

    fn first(&self, anomaly: &Anomaly) -> Edn {
        anomaly.ops.first().map_or(Edn::Nil, |&i| self.op(i as usize))
    }

    fn t(&self, anomaly: &Anomaly, i: usize) -> String {
        anomaly.ops.get(i).map_or_else(String::new, |&op| self.edges.t(op as usize))
    }

    /// A read that contradicts its own transaction, or itself.
    fn odd_read(&self, anomaly: &Anomaly) -> (Edn, String) {
        let detail = &anomaly.detail;
        let (t, mop) = (self.t(anomaly, 0), self.mop(&detail["mop"]));
        let (key, value, line) = match anomaly.kind.as_str() {
            "internal" => {
                let expected = self.expected(&detail["expected"]);
                let line = format!("{t} has {mop} where its own mops imply {expected}");
                ("expected", expected, line)
            }
            "future-read" => {
                let element = self.name(&detail["element"]);
                let line = format!("{t} has {mop}, and appends {element} only later");
                ("element", element, line)
            }
            _ => {
                let pairs = detail["duplicates"].as_array().into_iter().flatten();
                let times = |pair: &Json| Edn::Int(pair[1].as_i64().unwrap_or(0));
                let twice = pairs.map(|pair| (self.name(&pair[0]), times(pair))).collect();
                let line = format!("{t} has {mop}, with an element more than once");
                ("duplicates", Edn::Map(twice), line)
            }
        };
        (map([("op", self.first(anomaly)), ("mop", mop), (key, value)]), line)
    }

    fn read_of_writer(&self, anomaly: &Anomaly) -> Told {
        let mop = self.mop(&anomaly.detail["mop"]);
        let element = match &anomaly.detail["element"] {
            // adya names the element for lists only; of a register it is the value read.
            Json::Null => mop.as_seq().and_then(|m| m.get(2)).cloned().unwrap_or_default(),
            element => self.name(element),
        };
        let (reader, writer) = (self.t(anomaly, 0), self.t(anomaly, 1));
        let why = match anomaly.kind.as_str() {
            "G1a" => format!("which {writer} wrote, and {writer} failed"),
            _ => format!("which {writer} itself changed again before it committed"),
        };
        let line = format!("{reader} has {mop}: it saw {element}, {why}");
        let writer = anomaly.ops.get(1).map_or(Edn::Nil, |&i| self.op(i as usize));
        let edn = map([
            ("op", self.first(anomaly)),
            ("mop", mop),
            ("writer", writer),
            ("element", element),
        ]);
        Told { edn, lines: vec![line] }
    }

    fn cycle(&self, anomaly: &Anomaly) -> Told {
        let mut ops: Vec<usize> = anomaly.ops.iter().map(|&i| i as usize).collect();
        let txn = |i: &usize| format!("{} = {}", self.edges.t(*i), self.txns.op(*i).value);
        // Of a long cycle only the edges are told; they name their keys.
        let short = 2 * ops.len() <= LINES;
        let mut lines: Vec<String> = ops.iter().filter(|_| short).map(txn).collect();
        let mut steps = Vec::new();
        let count = ops.len();
        for (i, step) in anomaly.detail["steps"].as_array().into_iter().flatten().enumerate() {
            let kind = step["rel"].as_str().unwrap_or_default();
            let (from, to) = (ops[i % count], ops[(i + 1) % count]);
            let (edn, why) = self.edges.explain(from, to, kind);
            let (a, b) = (self.edges.t(from), self.edges.t(to));
            let closing = if i + 1 == count { ": a circle" } else { "" };
            lines.push(format!("{a} before {b} ({kind}): {why}{closing}"));
            steps.push(edn);
        }
        // As Elle does: the first transaction once more at the end.
        ops.extend(ops.first().copied());
        let edn = map([
            ("cycle", Edn::Vector(ops.into_iter().map(|i| self.op(i)).collect())),
            ("steps", Edn::List(steps)),
            ("type", Edn::keyword(&anomaly.kind)),
        ]);
        Told { edn, lines: shortened(lines) }
    }

    fn cycle_exists(&self, anomaly: &Anomaly) -> (Edn, String) {
        let model = models::printed(anomaly.detail["not"].as_str().unwrap_or_default());
        let index = |&i: &u64| Edn::from(self.txns.head(i as usize).index);
        let edn = map([
            ("type", Edn::keyword(&anomaly.kind)),
            ("not", Edn::keyword(model)),
            ("scc-size", Edn::from(anomaly.ops.len())),
            ("scc", Edn::Set(anomaly.ops.iter().take(KEPT).map(index).collect())),
        ]);
        let line =
            format!("{} transactions lie on a cycle that {model} forbids", anomaly.ops.len());
        (edn, line)
    }

    fn timeout(&self, detail: &Json) -> (Edn, String) {
        let spec = detail["anomaly_spec_type"].as_str().unwrap_or_default();
        let size = detail["scc_size"].as_i64().unwrap_or_default();
        let edn = map([
            ("type", Edn::keyword("cycle-search-timeout")),
            ("anomaly-spec-type", Edn::keyword(spec)),
            ("scc-size", Edn::Int(size)),
        ]);
        (edn, format!("gave up the search for {spec} among {size} transactions"))
    }

    fn cyclic_versions(&self, detail: &Json) -> (Edn, String) {
        // adya prints versions as text; the number in it is ours. It
        // lists them in no particular order.
        let version = |text: &Json| {
            let id = text.as_str().and_then(|t| t.parse::<u64>().ok());
            id.map_or(Edn::Nil, |id| self.name(&Json::from(id)))
        };
        let mut scc: Vec<Edn> =
            detail["scc"].as_array().into_iter().flatten().map(version).collect();
        scc.sort_unstable();
        let key = self.name(&detail["key"]);
        let sources = [Edn::keyword("initial-state"), Edn::keyword("wfr-keys")];
        let scc = Edn::Set(scc);
        let line = format!("of key {key} each of {scc} was overwritten by the next, in a circle");
        let edn = map([("key", key), ("scc", scc), ("sources", Edn::Vector(sources.into()))]);
        (edn, line)
    }

    fn mop(&self, mop: &Json) -> Edn {
        let f = mop[0].as_str().unwrap_or_default();
        Edn::Vector(vec![Edn::keyword(f), self.name(&mop[1]), self.value(&mop[2])])
    }

    fn expected(&self, value: &Json) -> Edn {
        match (self.flavour, value) {
            (Flavour::ListAppend, Json::Array(items)) => {
                let item = |item: &Json| match item {
                    Json::String(dots) => Edn::Symbol(dots.as_str().into()),
                    item => self.name(item),
                };
                Edn::Vector(items.iter().map(item).collect())
            }
            (_, value) => self.value(value),
        }
    }

    /// A number, or lists of numbers, translated back.
    fn value(&self, value: &Json) -> Edn {
        match value {
            Json::Array(items) => Edn::Vector(items.iter().map(|item| self.value(item)).collect()),
            value => self.name(value),
        }
    }

    fn name(&self, id: &Json) -> Edn {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map_or(Edn::Nil, |id| self.txns.name(id).clone())
    }
}

/// A map in the order Elle prints.
fn map<const N: usize>(entries: [(&str, Edn); N]) -> Edn {
    Edn::map(entries)
}

/// Leaves out the middle of a text that would not fit on a screen.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > LINES {
        let left_out = lines.len() + 1 - LINES;
        let middle = LINES / 2;
        lines.splice(middle..middle + left_out, [format!("... {left_out} lines ...")]);
    }
    lines
}
