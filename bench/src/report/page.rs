//! The page itself.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::acts::spans;
use super::journal::Traffic;
use super::material::Material;
use super::messages::{self, Packed};
use super::operations::{Operations, shown};
use super::pack::Pack;
use super::policy::{SCRIPT, STYLE, policy};
use super::why::{Anomaly, anomalies};
use crate::check::{Verdict, reasons};
use crate::edn::{Edn, printable};
use crate::history::{Op, OpType};

/// Anomalies whose pictures are open from the start.
const OPEN: usize = 2;

/// Bytes of the result map that a page shows.
const RESULTS_BYTES: usize = 60_000;

/// The page of a run, which is text in UTF-8 below 8 MiB.
pub fn html(material: &Material<'_>) -> String {
    let anomalies = anomalies(material);
    let spans = spans(material.history);
    let focus = Focus::of(material, &anomalies, spans.first().map(|span| span.from));
    let operations = Operations::of(material.history, focus.at);
    let traffic = &material.traffic;
    let mut pack = Pack::default();
    operations.pack(&mut pack);
    let packed = messages::pack(traffic, material.origin, focus.at, &mut pack);
    let end = material.history.last().map_or(0, |op| op.time);
    let all = operations.pairs.len() + operations.left_out;
    pack.put("nodes", material.nodes.clone());
    pack.put("concurrency", material.concurrency);
    pack.put("spans", spans.iter().map(super::acts::Span::to_json).collect::<Vec<_>>());
    pack.put("end", end as f64 / 1e3);
    pack.put("operations", all);
    pack.put("focus", focus.at as f64 / 1e3);
    pack.put("focusLabel", focus.label);
    pack.put("focusRow", focus.index.and_then(|index| operations.row(index)));
    let data = pack.finish();
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
                @if !anomalies.is_empty() { (why(material, &anomalies, &operations)) }
                @if traffic.messages.is_empty() {
                    section id="messages" {
                        h2 { "Messages" }
                        p class="quiet" { "The messages of this run were not recorded." }
                        (no_diagram())
                    }
                } @else { (diagram(&packed)) }
                (timeline())
                (latency(&operations))
                @if !traffic.messages.is_empty() { (heat(traffic)) }
                (rest(material))
                div id="tip" hidden {}
                script id="data" type="application/octet-stream" { (PreEscaped(data)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The moment at which the page opens.
struct Focus {
    /// Nanoseconds since the operations began.
    at: i64,
    /// The event, if it is one.
    index: Option<usize>,
    label: &'static str,
}

impl Focus {
    fn of(material: &Material<'_>, anomalies: &[Anomaly], first_fault: Option<i64>) -> Focus {
        let decisive = anomalies.iter().find_map(|anomaly| anomaly.ops.first().copied());
        if let Some(index) = decisive
            && let Some(op) = event(material.history, index)
        {
            return Focus { at: op.time, index: Some(index), label: "decides the verdict" };
        }
        let last = material.history.last().map_or(0, |op| op.time);
        match (material.outcome.verdict, first_fault) {
            (Verdict::Valid, Some(at)) => Focus { at, index: None, label: "the first fault" },
            (Verdict::Valid, None) => Focus { at: 0, index: None, label: "the beginning" },
            _ => Focus { at: last, index: None, label: "the end" },
        }
    }
}

/// The event with this index.
fn event(history: &[Op], index: usize) -> Option<&Op> {
    let direct = history.get(index).filter(|op| op.index == index);
    direct.or_else(|| history.iter().find(|op| op.index == index))
}

fn word(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Valid => ("valid", "Valid"),
        Verdict::Invalid => ("invalid", "Invalid"),
        Verdict::Unknown => ("unknown", "Unknown"),
    }
}

fn title(material: &Material<'_>) -> String {
    format!("{}: {} - seaworthy", material.workload, word(material.outcome.verdict).1)
}

fn verdict(material: &Material<'_>, operations: usize) -> Markup {
    let outcome = material.outcome;
    let (class, word) = word(outcome.verdict);
    let ok = material.history.iter().filter(|op| op.is_client() && op.kind == OpType::Ok).count();
    let why = match outcome.verdict {
        Verdict::Valid => format!(
            "{operations} operations, {ok} of them ok, and no checker found anything wrong."
        ),
        _ => printable(&reasons(&outcome.findings).join("; ")),
    };
    let parts = outcome
        .details
        .iter()
        .filter_map(|(name, map)| Some((name.as_text()?, map.get("valid?")?)));
    markup! {
        header {
            h1 { "seaworthy test of " strong { (material.workload) } }
            p class={ "verdict " (class) } id="verdict" data-verdict=(class) { b { (word) } span { (why) } }
            p class="parts" {
                @for (name, is_valid) in parts {
                    @let class = match is_valid { Edn::Bool(true) => "yes", Edn::Bool(false) => "no", _ => "unsure" };
                    span class=(class) { (name) @if class == "yes" { " ✓" } @else if class == "no" { " ✗" } @else { " ?" } }
                }
            }
            @if !material.facts.is_empty() {
                dl class="facts" { @for (name, value) in &material.facts { div { dt { (name) } dd { (value) } } } }
            }
            @if let Some(command) = &material.reproduce { pre id="reproduce" { (command) } }
            nav {
                a href="#messages" { "Messages" } a href="#operations" { "Operations" } a href="#times" { "Latency" }
                a href="#traffic" { "Traffic" } a href="#rest" { "Results and logs" }
            }
        }
    }
}

fn why(material: &Material<'_>, anomalies: &[Anomaly], operations: &Operations<'_>) -> Markup {
    markup! {
        section id="why" {
            h2 { "Why" }
            @for (nth, anomaly) in anomalies.iter().enumerate() {
                div class="anomaly" {
                    h3 { (anomaly.kind) @if !anomaly.title.is_empty() { ": " (printable(&anomaly.title)) } }
                    @for line in &anomaly.lines { p { (printable(line)) } }
                    p class="ops" {
                        @for index in anomaly.ops.iter().take(12) {
                            @if let Some(op) = event(material.history, *index) {
                                button type="button" class="op" data-index=(index) data-row=[operations.row(*index)] {
                                    (label(op, operations))
                                }
                            }
                        }
                    }
                    @if let Some(picture) = &anomaly.picture {
                        @if nth < OPEN { div class="wide" { (picture) } }
                        @else { details { summary { "Show" } div class="wide" { (picture) } } }
                    }
                }
            }
            @if let Some(story) = &material.outcome.story {
                details { summary { "The checker's own words" } pre { (printable_lines(story)) } }
            }
        }
    }
}

/// An operation on a button: its process, its name and its time, with the answer where it is known.
fn label(op: &Op, operations: &Operations<'_>) -> String {
    let row = operations.row(op.index);
    let end =
        row.and_then(|row| operations.pairs[row].completion).filter(|end| end.kind == OpType::Ok);
    let value = shown(&end.unwrap_or(op).value.to_string());
    let value = if value == "nil" { String::new() } else { value };
    let (value, is_whole) = super::pack::head_of(&value, 70);
    let dots = if is_whole { "" } else { "…" };
    let seconds = op.time as f64 / 1e9;
    format!("{}: {} {value}{dots} at {seconds:.3} s", op.process.to_edn(), op.f)
}

/// A text of several lines, with every other control character shown.
fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn diagram(packed: &Packed) -> Markup {
    markup! {
        section id="messages" {
            h2 { "Messages" }
            div class="tools" {
                label { "node " select id="filter-party" { option value="" { "all" } } }
                label { "type " select id="filter-type" { option value="" { "all" } } }
                label { input type="checkbox" id="show-clients" checked; "clients" }
                label title="One event beside the other, in their order, and not by the clock" { input type="checkbox" id="even"; "by order" }
                label { "search " input type="text" id="search" placeholder="type or body"; }
                button type="button" id="search-next" { "next" }
                button type="button" id="earlier" { "◀" } button type="button" id="later" { "▶" }
                button type="button" id="closer" { "+" } button type="button" id="wider" { "−" }
                button type="button" id="home" { "to the decisive moment" } button type="button" id="whole" { "whole run" }
            }
            div class="chart" { canvas id="diagram" {} div class="band-mark" hidden {} }
            p class="legend" {
                span { i class="c-sea" { "→" } "message" } span { i class="c-lost" { "✕" } "lost" }
                span { i class="c-late" { "⇢" } "late" } span { i class="c-copy" { "⇢" } "arrived twice" }
                span { i class="c-kill" { "■" } "killed" } span { i class="c-pause" { "■" } "paused" } span { i class="c-sea" { "■" } "cut off" }
            }
            p class="quiet" id="diagram-note" {}
            p class="quiet" {
                "Drag to zoom, click a message to follow its causes backwards. "
                @if packed.kept < packed.total { "The page holds the " (packed.kept) " of " (packed.total) " messages around the decisive moment. " }
                @if packed.with_body < packed.kept { "Of " (packed.kept) " messages, the " (packed.with_body) " around the decisive moment have their bodies here; messages.jsonl has all." }
            }
            div id="detail" {}
        }
    }
}

/// The controls that the script expects, of a run without messages.
fn no_diagram() -> Markup {
    markup! {
        div hidden {
            select id="filter-party" { option value="" {} } select id="filter-type" { option value="" {} }
            input type="checkbox" id="show-clients"; input type="checkbox" id="even"; input type="text" id="search";
            @for id in ["search-next", "whole"] { button type="button" id=(id) {} }
        }
        div class="tools" {
            button type="button" id="earlier" { "◀" } button type="button" id="later" { "▶" }
            button type="button" id="closer" { "+" } button type="button" id="wider" { "−" }
            button type="button" id="home" { "to the decisive moment" }
        }
        div hidden { canvas id="diagram" {} span id="diagram-note" {} table id="types" {} table id="heat" {} select id="traffic-type" {} }
        div id="detail" {}
    }
}

fn timeline() -> Markup {
    markup! {
        section id="operations" {
            h2 { "Operations by process" }
            div id="timeline-scroll" class="chart" { canvas id="timeline" {} div id="timeline-space" {} div class="band-mark" hidden {} }
            p class="quiet" { "The same window of time as the messages. Click an operation to mark it." }
        }
    }
}

fn latency(operations: &Operations<'_>) -> Markup {
    markup! {
        section id="times" {
            h2 { "Latency and rate" }
            div class="tools" {
                label { "function " select id="filter-f" { option value="" { "all" } } }
                label { "node " select id="filter-node" { option value="" { "all" } } }
                label { "process " input type="text" id="filter-process" placeholder="all"; }
                @for (name, class) in [("ok", "c-ok"), ("fail", "c-fail"), ("info", "c-info")] {
                    label class=(class) { input type="checkbox" id={ "show-" (name) } checked; (name) }
                }
                button type="button" id="view-all" { "whole run" }
            }
            div class="chart" { canvas id="latency" {} div class="band-mark" hidden {} }
            div class="chart" { canvas id="rate" {} div class="band-mark" hidden {} }
            p class="quiet" {
                "Lines are the quantiles 0.5 (solid), 0.95 (dashed) and 0.99 (dotted) of those that are ok; shades are faults. "
                "Click an operation to see its messages."
                @if operations.left_out > 0 { " The page leaves out " (operations.left_out) " operations far from the decisive moment." }
            }
        }
    }
}

fn heat(traffic: &Traffic<'_>) -> Markup {
    markup! {
        section id="traffic" {
            h2 { "Traffic" }
            div class="tools" { label { "type " select id="traffic-type" { option value="" { "all" } } } }
            div class="wide" { table id="heat" {} }
            div class="wide" {
                table id="types" { tr { @for name in ["type", "messages", "lost", "bytes of bodies", "mean", "per operation"] { th { (name) } } } }
            }
            @if traffic.odd_lines > 0 { p class="quiet" { (traffic.odd_lines) " lines of the journal could not be read." } }
        }
    }
}

fn rest(material: &Material<'_>) -> Markup {
    let results = crate::check::results(material.outcome).pretty();
    let (head, is_whole) = super::pack::head_of(&results, RESULTS_BYTES);
    markup! {
        section id="rest" {
            h2 { "Results and logs" }
            details { summary { "The result map" } pre { (printable_lines(head)) @if !is_whole { "\n… results.edn has the rest" } } }
            @for (name, text) in &material.logs {
                details { summary { "The last lines of " (name) } pre { (text) } }
            }
            @if !material.marks.is_empty() {
                details { summary { "Rare events that came up" } ul { @for mark in &material.marks { li { (mark) } } } }
            }
        }
    }
}
