//! The operations of a run, as columns.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use serde_json::json;

use super::measure::Measure;
use super::pack::{Pack, head_of};
use crate::edn::printable;
use crate::history::{Op, OpType, Pair, Process, pairs};

/// Bytes of a value that a page shows.
const VALUE_BYTES: usize = 160;

/// Bytes of all values that a page holds, before compression.
const VALUES_BYTES: usize = 6 << 20;

/// Bytes of an operation's name that a page shows.
const NAME_BYTES: usize = 100;

/// Operations of a page; those beyond are counted only.
const OPERATIONS_MAX: usize = 200_000;

/// The operations that a page shows, by invocation.
pub(super) struct Operations<'h> {
    pub(super) pairs: Vec<Pair<'h>>,
    /// How many there are beyond those.
    pub(super) left_out: usize,
    /// Index of an event and row of its operation, by index.
    rows: Vec<(usize, usize)>,
}

impl<'h> Operations<'h> {
    /// Pairs the operations of a history; none of one that no clients can have produced. If there
    /// are too many, those around `focus` (nanoseconds) are kept.
    pub(super) fn of(history: &'h [Op], focus: i64, measure: Measure) -> Operations<'h> {
        let mut pairs = pairs(history).unwrap_or_default();
        let most = measure.of(OPERATIONS_MAX);
        let left_out = pairs.len().saturating_sub(most);
        if left_out > 0 {
            let at = pairs.partition_point(|pair| pair.invoke.time < focus);
            let first = at.saturating_sub(most / 2).min(left_out);
            pairs = pairs.split_off(first);
            pairs.truncate(most);
        }
        let indices =
            |pair: &Pair<'_>| [Some(pair.invoke.index), pair.completion.map(|op| op.index)];
        let rows = pairs.iter().enumerate();
        let rows = rows.flat_map(|(row, pair)| {
            indices(pair).into_iter().flatten().map(move |index| (index, row))
        });
        let mut rows: Vec<(usize, usize)> = rows.collect();
        rows.sort_unstable();
        Operations { pairs, left_out, rows }
    }

    /// The row of the operation of which an event has this index.
    pub(super) fn row(&self, index: usize) -> Option<usize> {
        let at = self.rows.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(self.rows[at].1)
    }

    /// Adds the columns to a pack.
    pub(super) fn pack(&self, measure: Measure, pack: &mut Pack) {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for pair in &self.pairs {
            let next = names.len();
            names.entry(&pair.invoke.f).or_insert(next);
        }
        let mut fs = vec![""; names.len()];
        names.iter().for_each(|(name, number)| fs[*number] = head_of(name, NAME_BYTES).0);
        let first = self.pairs.first().map_or(0, |pair| pair.invoke.time);
        pack.put("fs", json!(fs));
        pack.put("opsFrom", first as f64 / 1e3);
        pack.put("opsLeftOut", self.left_out);
        let mut last = first;
        pack.column(
            "opAt",
            self.pairs.iter().map(|pair| micros_since(pair.invoke.time, &mut last)),
        );
        pack.column("opTook", self.pairs.iter().map(took));
        pack.column("opProcess", self.pairs.iter().map(process));
        // Name, outcome and whether it is one of the last reads, in one number.
        let kind = |pair: &Pair<'_>| {
            let outcome = match pair.outcome() {
                OpType::Ok => 0,
                OpType::Fail => 1,
                OpType::Info | OpType::Invoke => 2,
            };
            let name = names[&*pair.invoke.f] as u64;
            (name * 3 + outcome) * 2 + u64::from(pair.invoke.is_final)
        };
        pack.column("opKind", self.pairs.iter().map(kind));
        pack.column("opIndex", self.pairs.iter().map(|pair| pair.invoke.index as u64));
        pack.block("opText", self.texts(measure.of(VALUES_BYTES)).as_bytes());
    }

    /// For each operation a line: the value of its invocation, that of its completion if it
    /// differs, and the error. Beyond `most` bytes lines are empty.
    fn texts(&self, most: usize) -> String {
        let mut all = String::new();
        for pair in &self.pairs {
            if all.len() < most {
                let asked = shown(&pair.invoke.value);
                all += &asked;
                if let Some(end) = pair.completion {
                    let is_same = end.value == pair.invoke.value;
                    let answer = if is_same { asked.clone() } else { shown(&end.value) };
                    let error = end.error.as_ref().map(shown);
                    if answer != asked || error.is_some() {
                        all.push('\u{1f}');
                        all += &answer;
                    }
                    if let Some(error) = error {
                        all.push('\u{1f}');
                        all += &error;
                    }
                }
            }
            all.push('\n');
        }
        all
    }
}

/// A value on one line, cut.
pub(super) fn shown(value: impl Display) -> String {
    let mut beginning = Beginning(String::new());
    // An error says that there was more than fits.
    let _ = write!(beginning, "{value}");
    let (head, is_whole) = head_of(&beginning.0, VALUE_BYTES);
    let mut head = printable(head);
    if !is_whole {
        head.push('…');
    }
    head
}

/// The beginning of a text: lists grow with a run, and writing all of each to show its head
/// would take the square of that.
struct Beginning(String);

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Room for one more character tells a text that just fits from a longer one.
        let (head, is_whole) = head_of(text, VALUE_BYTES + 4 - self.0.len());
        self.0.push_str(head);
        if is_whole && self.0.len() <= VALUE_BYTES { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Microseconds since `last`, which becomes this time: sums do not drift.
pub(super) fn micros_since(nanos: i64, last: &mut i64) -> u64 {
    let micros = (nanos - *last).max(0) / 1000;
    *last += micros * 1000;
    micros as u64
}

/// Microseconds until the completion and one more; 0 for none.
fn took(pair: &Pair<'_>) -> u64 {
    pair.completion.map_or(0, |end| 1 + (end.time - pair.invoke.time).max(0) as u64 / 1000)
}

fn process(pair: &Pair<'_>) -> u64 {
    match pair.invoke.process {
        Process::Client(process) => process,
        Process::Nemesis => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_value_is_that_of_its_text() {
        for text in ["é", "ab", "\u{1F6A2}", "\n"] {
            for bytes in VALUE_BYTES - 5..VALUE_BYTES + 9 {
                let fill = "x".repeat(bytes) + text + "y";
                for pieces in [1, 3, 50, 300] {
                    let whole: String = fill.chars().take(pieces).collect();
                    let rest = &fill[whole.len()..];
                    let (head, is_whole) = head_of(&fill, VALUE_BYTES);
                    let dots = if is_whole { "" } else { "…" };
                    let expected = printable(head) + dots;
                    assert_eq!(shown(format_args!("{whole}{rest}")), expected);
                }
            }
        }
    }
}
