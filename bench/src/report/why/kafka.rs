//! Anomalies of a log: the offsets of its key, with their messages, senders and readers.

use std::collections::{BTreeMap, BTreeSet};

use maud::html;

use super::anomaly::{Anomaly, Evidence, SHOWN, indices};
use crate::edn::Edn;
use crate::history::OpType;
use crate::report::operations::shown;

/// Offsets of a log that are shown.
const ROWS: usize = 40;

pub(super) fn anomalies(map: &Edn, evidence: &Evidence<'_>) -> Vec<Anomaly> {
    let kinds = map.get("bad-error-types").or_else(|| map.get("error-types"));
    let kinds = kinds.and_then(Edn::as_seq).unwrap_or_default();
    let mut all = Vec::new();
    for kind in kinds.iter().filter_map(Edn::as_text) {
        let Some(found) = map.get(kind) else { continue };
        let errors = found.get("errs").and_then(Edn::as_seq);
        let errors = errors.unwrap_or(std::slice::from_ref(found));
        for error in errors.iter().take(SHOWN) {
            all.push(explain(kind, error, evidence));
        }
    }
    all
}

/// An offset of a log: each value that was seen there, with the operations that saw it.
#[derive(Default)]
struct Row {
    sent: BTreeMap<String, BTreeSet<usize>>,
    polled: BTreeMap<String, BTreeSet<usize>>,
}

fn explain(kind: &str, error: &Edn, evidence: &Evidence<'_>) -> Anomaly {
    let key = error.get("key");
    let title = key.map_or_else(String::new, |key| format!("key {key}"));
    let mut anomaly = Anomaly::new(kind, title);
    anomaly.lines.push(told(kind, error).unwrap_or_else(|| shown(error)));
    anomaly.ops = indices(error);
    let Some(key) = key else { return anomaly };
    let log = log_of(key, evidence);
    let suspects = values_of(error);
    let is_suspect = |value: &String| suspects.contains(value);
    let offset = error.get("offset").and_then(Edn::as_int);
    let is_odd = |at: i64, row: &Row| {
        Some(at) == offset || row.sent.keys().chain(row.polled.keys()).any(is_suspect)
    };
    let first = log.iter().find(|(at, row)| is_odd(**at, row)).map_or(0, |(at, _)| *at);
    if anomaly.ops.is_empty() {
        let row = log.get(&first).into_iter();
        let seen = row.flat_map(|row| row.sent.values().chain(row.polled.values()));
        anomaly.ops = seen.filter_map(|ops| ops.first().copied()).collect();
    }
    let window = log.range(first.saturating_sub(ROWS as i64 / 2)..).take(ROWS);
    anomaly.picture = Some(html! {
        table class="log" {
            tr { th { "offset" } th { "sent" } th { "polled" } }
            @for (at, row) in window {
                tr class=[is_odd(*at, row).then_some("bad-row")] {
                    td { (at) }
                    @for side in [&row.sent, &row.polled] {
                        td {
                            @for (value, ops) in side {
                                @let first = ops.first().copied().unwrap_or_default();
                                button type="button" class="op" data-index=(first) {
                                    (value) @if ops.len() > 1 { " ×" (ops.len()) }
                                }
                                " "
                            }
                        }
                    }
                }
            }
        }
    });
    anomaly
}

/// The two errors that beginners make, in a sentence.
fn told(kind: &str, error: &Edn) -> Option<String> {
    let text = |name: &str| error.get(name).map(shown);
    let list = |name: &str| {
        let values = error.get(name)?.as_seq()?.iter().map(shown);
        Some(values.collect::<Vec<_>>().join(" and "))
    };
    match kind {
        "duplicate" => {
            let (value, offsets) = (text("value")?, list("offsets")?);
            Some(format!("The log has {value} more than once: at the offsets {offsets}."))
        }
        "inconsistent-offsets" => {
            let (offset, values) = (text("offset")?, list("values")?);
            Some(format!("The offset {offset} holds {values}, as different clients saw it."))
        }
        _ => None,
    }
}

/// The values that an error is about.
fn values_of(error: &Edn) -> BTreeSet<String> {
    let lists = ["values", "skipped", "value"].iter().filter_map(|name| error.get(name));
    let each = lists.flat_map(|value| value.as_seq().unwrap_or(std::slice::from_ref(value)));
    each.map(ToString::to_string).collect()
}

/// Returns the messages that were seen at each offset of a key.
fn log_of(key: &Edn, evidence: &Evidence<'_>) -> BTreeMap<i64, Row> {
    let mut log: BTreeMap<i64, Row> = BTreeMap::new();
    for pair in &evidence.pairs {
        let Some(end) = pair.completion.filter(|end| end.kind == OpType::Ok) else { continue };
        for mop in end.value.as_seq().unwrap_or_default() {
            let mut note = |message: &Edn, is_poll: bool| {
                let Some([offset, value]) = message.as_seq() else { return };
                let Some(offset) = offset.as_int() else { return };
                let row = log.entry(offset).or_default();
                let side = if is_poll { &mut row.polled } else { &mut row.sent };
                side.entry(value.to_string()).or_default().insert(pair.invoke.index);
            };
            match mop.as_seq() {
                Some([f, to, message]) if f.as_text() == Some("send") && to == key => {
                    note(message, false);
                }
                Some([f, polled]) if f.as_text() == Some("poll") => {
                    let of_key = polled.entries().unwrap_or_default().iter();
                    let of_key = of_key.filter(|(of, _)| of == key);
                    let messages = of_key.flat_map(|(_, all)| all.as_seq().unwrap_or_default());
                    messages.for_each(|message| note(message, true));
                }
                _ => {}
            }
        }
    }
    log
}
