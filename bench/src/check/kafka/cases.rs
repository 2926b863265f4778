//! What was found, and how Jepsen writes it.

use std::collections::BTreeMap;

use super::log::Log;
use super::read::{Key, Msg, Steps};
use crate::edn::Edn;

/// One instance of an anomaly. Numbers of steps stand for operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// An offset with several values.
    Offset { key: Key, offset: i64, index: usize, values: Vec<Msg> },
    /// A value at several offsets.
    Duplicate { msg: Msg, offsets: Vec<i64> },
    /// A message that the reader should not have seen.
    Read { msg: Msg, reader: usize, writer: Option<usize> },
    /// A message that others after it show to be lost.
    Lost { msg: Msg, index: usize, bound: usize, writer: usize, max_read: usize },
    /// Two messages in the wrong distance, between two operations or within one.
    Order { key: Key, values: [Msg; 2], delta: i64, ops: [usize; 2] },
}

/// Cases by the name of the anomaly.
#[derive(Default)]
pub(super) struct Cases(pub(super) BTreeMap<&'static str, Vec<Case>>);

impl Cases {
    pub(super) fn add(&mut self, kind: &'static str, case: Case) {
        self.0.entry(kind).or_default().push(case);
    }

    /// What was found of one kind: how much, and the worst of it, as Jepsen
    /// selects: the largest gaps, the longest ways back, else what came first.
    pub(super) fn condensed(kind: &str, mut cases: Vec<Case>, steps: &Steps<'_>, log: &Log) -> Edn {
        let count = cases.len();
        let shown = match kind {
            kind if kind.ends_with("-skip") => {
                cases.sort_by_key(|case| std::cmp::Reverse(case.delta()));
                8
            }
            kind if kind.contains("nonmonotonic") => {
                cases.sort_by_key(Case::delta);
                8
            }
            _ => {
                // Offsets with the fewest values first: Jepsen's order. The sort is stable.
                cases.sort_by_key(|case| match case {
                    Case::Offset { values, .. } => values.len(),
                    _ => 0,
                });
                32
            }
        };
        let errs = cases.iter().take(shown).map(|case| case.to_edn(kind, steps, log)).collect();
        Edn::map([("count", count.into()), ("errs", Edn::List(errs))])
    }
}

impl Case {
    fn delta(&self) -> i64 {
        match self {
            Case::Order { delta, .. } => *delta,
            _ => 0,
        }
    }

    pub(super) fn to_edn(&self, kind: &str, steps: &Steps<'_>, log: &Log) -> Edn {
        let op = |step: usize| steps.op(step).to_record();
        let key = |msg: Msg| steps.key(steps.key_of(msg)).clone();
        let value = |msg: &Msg| steps.value(*msg).clone();
        match self {
            Case::Offset { key, offset, index, values } => Edn::map([
                ("key", steps.key(*key).clone()),
                ("offset", Edn::Int(*offset)),
                ("index", (*index).into()),
                ("values", Edn::Set(values.iter().map(value).collect())),
            ]),
            Case::Duplicate { msg, offsets } => Edn::map([
                ("key", key(*msg)),
                ("value", value(msg)),
                ("count", offsets.len().into()),
                ("offsets", Edn::vector(offsets.iter().copied())),
            ]),
            Case::Read { msg, reader, writer } => {
                let mut entries = vec![
                    (Edn::keyword("key"), key(*msg)),
                    (Edn::keyword("value"), value(msg)),
                    (Edn::keyword("reader"), op(*reader)),
                ];
                entries.extend(writer.map(|writer| (Edn::keyword("writer"), op(writer))));
                Edn::Map(entries)
            }
            Case::Lost { msg, index, bound, writer, max_read } => Edn::map([
                ("key", key(*msg)),
                ("value", value(msg)),
                ("index", (*index).into()),
                ("max-read-index", (*bound).into()),
                ("writer", op(*writer)),
                ("max-read", op(*max_read)),
            ]),
            Case::Order { key, values, delta, ops } => {
                let mut entries = vec![
                    (Edn::keyword("key"), steps.key(*key).clone()),
                    (Edn::keyword("values"), Edn::Vector(values.iter().map(value).collect())),
                    (Edn::keyword("delta"), Edn::Int(*delta)),
                ];
                if kind.ends_with("-skip") {
                    let skipped = between(log, *key, *values).iter().map(value).collect();
                    entries.push((Edn::keyword("skipped"), Edn::List(skipped)));
                }
                match ops {
                    [a, b] if a == b => entries.push((Edn::keyword("op"), op(*a))),
                    ops => {
                        let ops = Edn::Vector(ops.iter().map(|step| op(*step)).collect());
                        entries.push((Edn::keyword("ops"), ops));
                    }
                }
                Edn::Map(entries)
            }
        }
    }
}

/// The messages that lie between two of a key, at most as many as are worth printing.
fn between(log: &Log, key: Key, values: [Msg; 2]) -> &[Msg] {
    let order = &log.orders[key.0 as usize];
    match values.map(|msg| log.message(msg).index) {
        [Some(from), Some(to)] if from < to => &order[from + 1..to.min(from + 33)],
        _ => &[],
    }
}
