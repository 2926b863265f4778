//! The sections of a page.

use maud::{Markup, html};

use super::material::Material;
use super::measure::Measure;
use super::messages::Packed;
use super::operations::{Operations, shown};
use super::pack::head_of;
use super::text::{cut, lines};
use super::traffic::Traffic;
use super::why::Anomaly;
use crate::history::{Op, OpType};

/// Anomalies whose pictures are open from the start.
const OPEN: usize = 2;

/// Bytes of the result map, and of a checker's story, that a page shows.
const RESULTS_BYTES: usize = 60_000;

/// Bytes of a sentence about an anomaly, and how many sentences there are.
const LINE_BYTES: usize = 2000;
const LINES_MAX: usize = 40;

/// Bytes of all explanations, pictures included.
const WHY_BYTES: usize = 2 << 20;

/// The event with this index.
pub(super) fn event(history: &[Op], index: usize) -> Option<&Op> {
    let direct = history.get(index).filter(|op| op.index == index);
    direct.or_else(|| history.iter().find(|op| op.index == index))
}

/// Why the run is not valid, as far as there is room.
pub(super) fn why(
    material: &Material<'_>,
    anomalies: &[Anomaly],
    operations: &Operations<'_>,
    measure: Measure,
) -> Markup {
    let mut room = measure.of(WHY_BYTES);
    let mut told = Vec::new();
    for (nth, anomaly) in anomalies.iter().enumerate() {
        let one = explanation(nth, anomaly, material, operations);
        let Some(rest) = room.checked_sub(one.0.len()) else { break };
        room = rest;
        told.push(one);
    }
    html! {
        section id="why" {
            h2 { "Why" }
            @for one in &told { (one) }
            @if told.len() < anomalies.len() {
                p class="quiet" { "The page has no room for " (anomalies.len() - told.len()) " more; results.edn has them." }
            }
            @if let Some(story) = &material.outcome.story {
                details { summary { "The checker's own words" } (lines(story, measure.of(RESULTS_BYTES), "")) }
            }
        }
    }
}

fn explanation(
    nth: usize,
    anomaly: &Anomaly,
    material: &Material<'_>,
    operations: &Operations<'_>,
) -> Markup {
    html! {
        div class="anomaly" {
            h3 { (cut(&anomaly.kind, LINE_BYTES)) @if !anomaly.title.is_empty() { ": " (cut(&anomaly.title, LINE_BYTES)) } }
            @for line in anomaly.lines.iter().take(LINES_MAX) { p { (cut(line, LINE_BYTES)) } }
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
}

/// An operation on a button: its process, its name and its time, with the answer where it is known.
fn label(op: &Op, operations: &Operations<'_>) -> String {
    let row = operations.row(op.index);
    let end =
        row.and_then(|row| operations.pairs[row].completion).filter(|end| end.kind == OpType::Ok);
    let value = shown(&end.unwrap_or(op).value);
    let value = if value == "nil" { String::new() } else { value };
    let (value, is_whole) = head_of(&value, 70);
    let dots = if is_whole { "" } else { "…" };
    let seconds = op.time as f64 / 1e9;
    format!("{}: {} {value}{dots} at {seconds:.3} s", op.process.to_edn(), op.f)
}

/// The diagram of messages with its controls.
pub(super) fn diagram(packed: &Packed) -> Markup {
    html! {
        section id="messages" {
            h2 { "Messages" }
            div class="tools" {
                label { "node " select id="filter-party" { option value="" { "all" } } }
                label { "type " select id="filter-type" { option value="" { "all" } } }
                label { input type="checkbox" id="show-clients" checked; "clients" }
                label title="One event beside the other, in their order, and not by the clock" { input type="checkbox" id="even"; "by order" }
                label { "search " input type="text" id="search" placeholder="type or body"; }
                button type="button" id="search-next" { "next" }
                (window_buttons()) button type="button" id="whole" { "whole run" }
            }
            div class="chart" { canvas id="diagram" {} div class="band-mark" hidden {} }
            p class="legend" {
                span { i class="c-lost" { "→" } "decides the verdict" } span { i { "→" } "other operations of the anomaly" }
                span { i class="c-sea" { "→" } "message" } span { i class="c-lost" { "✕" } "lost" } span { i class="c-sea" { "○" } "never arrives" }
                span { i class="c-late" { "⇢" } "late" } span { i class="c-copy" { "⇢" } "arrived twice" }
                span { i class="c-kill" { "■" } "killed" } span { i class="c-pause" { "■" } "paused" } span { i class="c-sea" { "■" } "cut off or held up" }
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

/// The buttons that move the window of time, which the operations by process share.
fn window_buttons() -> Markup {
    let buttons = [
        ("earlier", "◀"),
        ("later", "▶"),
        ("closer", "+"),
        ("wider", "−"),
        ("home", "to the decisive moment"),
    ];
    html! { @for (id, text) in buttons { button type="button" id=(id) { (text) } " " } }
}

/// The controls that the script expects, of a run without messages.
pub(super) fn no_diagram() -> Markup {
    html! {
        div hidden {
            select id="filter-party" { option value="" {} } select id="filter-type" { option value="" {} }
            input type="checkbox" id="show-clients"; input type="checkbox" id="even"; input type="text" id="search";
            @for id in ["search-next", "whole"] { button type="button" id=(id) {} }
        }
        div class="tools" { (window_buttons()) }
        div hidden { canvas id="diagram" {} span id="diagram-note" {} table id="types" {} table id="heat" {} select id="traffic-type" {} }
        div id="detail" {}
    }
}

/// The operations by process.
pub(super) fn timeline() -> Markup {
    html! {
        section id="operations" {
            h2 { "Operations by process" }
            div id="timeline-scroll" class="chart" { canvas id="timeline" {} div id="timeline-space" {} div class="band-mark" hidden {} }
            p class="quiet" { "The same window of time as the messages. Click an operation to mark it." }
        }
    }
}

/// Latency and rate with their filters.
pub(super) fn latency(operations: &Operations<'_>) -> Markup {
    html! {
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

/// The traffic by sender, receiver and type.
pub(super) fn heat(traffic: &Traffic<'_>) -> Markup {
    html! {
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

/// The result map, the nodes' logs and the rare events.
pub(super) fn results(material: &Material<'_>, measure: Measure) -> Markup {
    let results = crate::check::results(material.outcome).pretty();
    let most = measure.of(RESULTS_BYTES);
    html! {
        section id="rest" {
            h2 { "Results and logs" }
            details { summary { "The result map" } (lines(&results, most, "results.edn has the rest")) }
            @for (name, text) in &material.logs {
                details { summary { "The last lines of " (cut(name, LINE_BYTES)) } (lines(text, most, "")) }
            }
            @if !material.marks.is_empty() {
                details { summary { "Rare events that came up" } ul { @for mark in &material.marks { li { (mark) } } } }
            }
        }
    }
}
