//! How Jepsen writes anomalies.

use super::cases::Case;
use super::log::Log;
use super::read::{Key, Msg, Steps};
use crate::edn::Edn;

/// Condenses the cases of one kind to their count and the worst of them, as Jepsen selects: the
/// largest gaps, the longest ways back, else the first.
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
    let errs = cases.iter().take(shown).map(|case| case_to_edn(case, kind, steps, log)).collect();
    Edn::map([("count", count.into()), ("errs", Edn::List(errs))])
}

/// One case as a map.
pub(super) fn case_to_edn(case: &Case, kind: &str, steps: &Steps<'_>, log: &Log) -> Edn {
    let op = |step: usize| steps.op(step).to_record();
    let key = |msg: Msg| steps.key(steps.key_of(msg)).clone();
    let value = |msg: &Msg| steps.value(*msg).clone();
    match case {
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

/// The messages that lie between two of a key, at most as many as are worth printing.
fn between(log: &Log, key: Key, values: [Msg; 2]) -> &[Msg] {
    let order = &log.orders[key.0 as usize];
    match values.map(|msg| log.message(msg).index) {
        [Some(from), Some(to)] if from < to => &order[from + 1..to.min(from + 33)],
        _ => &[],
    }
}
