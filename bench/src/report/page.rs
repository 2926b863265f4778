//! The page itself.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::acts::spans;
use super::material::Material;
use super::measure::{Measure, PAGE_BYTES};
use super::messages;
use super::operations::Operations;
use super::pack::Pack;
use super::policy::{SCRIPT, STYLE, policy};
use super::sections::{self, event};
use super::text::cut;
use super::traffic::{Fate, Traffic};
use super::why::{Anomaly, anomalies};
use crate::check::{Verdict, reasons};
use crate::edn::Edn;
use crate::history::OpType;

/// Bytes of a text in the head of a page: a reason, a flag, a command.
const TEXT_BYTES: usize = 10_000;

/// Bytes of a node's name over the decisive moment, and operations of the decisive anomaly whose
/// messages are marked.
const NAME_BYTES: usize = 40;
const STORY_MAX: usize = 12;

/// Faults and nodes that a page knows.
const SPANS_MAX: usize = 5000;
const NODES_MAX: usize = 1000;

/// The page of a run: text in UTF-8 below 8 MiB, whatever the run was.
pub fn html(material: &mut Material<'_>) -> String {
    let anomalies = anomalies(material);
    let mut measure = Measure::default();
    loop {
        let page = page(material, &anomalies, measure);
        if page.len() < PAGE_BYTES {
            return page;
        }
        assert!(!measure.is_nothing(), "a page without contents has {} bytes", page.len());
        measure = measure.halved();
    }
}

fn page(material: &mut Material<'_>, anomalies: &[Anomaly], measure: Measure) -> String {
    let mut spans = spans(material.history);
    let focus = Focus::of(material, anomalies, spans.first().map(|span| span.from));
    spans.truncate(measure.of(SPANS_MAX));
    let operations = Operations::of(material.history, focus.at, measure);
    let mut pack = Pack::default();
    operations.pack(measure, &mut pack);
    let (origin, traffic) = (material.origin, &mut material.traffic);
    let packed = messages::pack(traffic, &material.nodes, origin, focus.at, measure, &mut pack);
    let end = material.history.last().map_or(0, |op| op.time);
    let all = operations.pairs.len() + operations.left_out;
    let nodes = material.nodes.iter().take(NODES_MAX);
    pack.put("nodes", nodes.map(|node| messages::name(node)).collect::<Vec<_>>());
    pack.put("concurrency", material.concurrency);
    pack.put("spans", spans.iter().map(super::acts::Span::to_json).collect::<Vec<_>>());
    pack.put("end", end as f64 / 1e3);
    pack.put("operations", all);
    pack.put("focus", focus.at as f64 / 1e3);
    pack.put("focusLabel", focus.label);
    pack.put("focusIsInput", focus.is_input);
    pack.put("focusRow", focus.index.and_then(|index| operations.row(index)));
    pack.put("story", story(anomalies, &operations));
    let data = pack.finish();
    let has_messages = packed.total > 0;
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title(material)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (verdict(material, all))
                @if !anomalies.is_empty() { (sections::why(material, anomalies, &operations, measure)) }
                @if has_messages { (sections::diagram(&packed)) } @else {
                    section id="messages" {
                        h2 { "Messages" }
                        p class="quiet" { "The messages of this run were not recorded." }
                        (sections::no_diagram())
                    }
                }
                (sections::timeline())
                (sections::latency(&operations))
                @if has_messages { (sections::heat(&material.traffic)) }
                (sections::results(material, measure))
                div id="tip" hidden {}
                script id="data" type="application/octet-stream" { (PreEscaped(data)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The rows of the operations that the decisive anomaly names.
fn story(anomalies: &[Anomaly], operations: &Operations<'_>) -> Vec<usize> {
    let first = anomalies.iter().find(|anomaly| !anomaly.ops.is_empty());
    let named = first.into_iter().flat_map(|anomaly| &anomaly.ops).take(STORY_MAX);
    named.filter_map(|index| operations.row(*index)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The moment at which the page opens.
struct Focus {
    /// Nanoseconds since the operations began.
    at: i64,
    /// The event, if it is one.
    index: Option<usize>,
    label: String,
    /// Whether it is the arrival of the last message.
    is_input: bool,
}

impl Focus {
    fn of(material: &Material<'_>, anomalies: &[Anomaly], first_fault: Option<i64>) -> Focus {
        let decisive = anomalies.iter().find_map(|anomaly| anomaly.ops.first().copied());
        if let Some(index) = decisive
            && let Some(op) = event(material.history, index)
        {
            let label = "decides the verdict".to_owned();
            return Focus { at: op.time, index: Some(index), label, is_input: false };
        }
        let last = material.history.last().map_or(0, |op| op.time);
        let (at, label) = match (material.outcome.verdict, first_fault) {
            (Verdict::Valid, Some(at)) => (at, "the first fault"),
            (Verdict::Valid, None) => (0, "the beginning"),
            _ => return Focus::of_break(material, anomalies, last),
        };
        Focus { at, index: None, label: label.to_owned(), is_input: false }
    }

    /// The end of a run that no operation decides. A run whose invariant broke ends there: the
    /// message that arrived last led to it, unless a node did something of itself later.
    fn of_break(material: &Material<'_>, anomalies: &[Anomaly], last: i64) -> Focus {
        let at_end = |at, label| Focus { at, index: None, label, is_input: false };
        if anomalies.iter().all(|anomaly| anomaly.kind != "invariants") {
            return at_end(last, "the end".to_owned());
        }
        let Traffic { messages, kinds, parties, .. } = &material.traffic;
        let sent = messages.iter().map(|message| message.at).max().unwrap_or(material.origin);
        let heard = messages.iter().filter_map(|message| {
            let Fate::Arrived(nanos) = message.fate else { return None };
            let node = &parties[kinds[message.kind as usize].dest as usize];
            let at = message.at.saturating_add(i64::try_from(nanos).ok()?);
            material.nodes.contains(node).then_some((at, node))
        });
        match heard.max_by_key(|(at, _)| *at).filter(|(at, _)| *at >= sent) {
            Some((at, node)) => Focus {
                is_input: true,
                ..at_end(
                    at - material.origin,
                    format!("{} breaks an invariant", cut(node, NAME_BYTES)),
                )
            },
            None => at_end(last.max(sent - material.origin), "an invariant breaks".to_owned()),
        }
    }
}

fn word(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Valid => ("valid", "Valid"),
        Verdict::Invalid => ("invalid", "Invalid"),
        Verdict::Unknown => ("unknown", "Unknown"),
    }
}

fn title(material: &Material<'_>) -> String {
    let workload = cut(material.workload, TEXT_BYTES);
    format!("{workload}: {} - seaworthy", word(material.outcome.verdict).1)
}

fn verdict(material: &Material<'_>, operations: usize) -> Markup {
    let outcome = material.outcome;
    let (class, word) = word(outcome.verdict);
    let ok = material.history.iter().filter(|op| op.is_client() && op.kind == OpType::Ok).count();
    let why = match outcome.verdict {
        Verdict::Valid => format!(
            "{operations} operations, {ok} of them ok, and no checker found anything wrong."
        ),
        _ => cut(&reasons(&outcome.findings).join("; "), TEXT_BYTES),
    };
    let parts = outcome
        .details
        .iter()
        .filter_map(|(name, map)| Some((name.as_text()?, map.get("valid?")?)));
    markup! {
        header {
            h1 { "seaworthy test of " strong { (cut(material.workload, TEXT_BYTES)) } }
            p class={ "verdict " (class) } id="verdict" data-verdict=(class) { b { (word) } span { (why) } }
            p class="parts" {
                @for (name, is_valid) in parts {
                    @let class = match is_valid { Edn::Bool(true) => "yes", Edn::Bool(false) => "no", _ => "unsure" };
                    span class=(class) { (name) @if class == "yes" { " ✓" } @else if class == "no" { " ✗" } @else { " ?" } }
                }
            }
            @if !material.facts.is_empty() {
                dl class="facts" { @for (name, value) in &material.facts { div { dt { (name) } dd { (cut(value, TEXT_BYTES)) } } } }
            }
            @if let Some(command) = &material.reproduce { pre id="reproduce" { (cut(command, 4 * TEXT_BYTES)) } }
            nav {
                a href="#messages" { "Messages" } a href="#operations" { "Operations" } a href="#times" { "Latency" }
                a href="#traffic" { "Traffic" } a href="#rest" { "Results and logs" }
            }
        }
    }
}
