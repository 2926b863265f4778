//! Exceptions that clients did not expect. They inform, and never fail a test.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType};

/// Collects the exceptions of indeterminate operations by class, the frequent ones first.
///
/// Jepsen keeps an exception as data: `{:via [{:type java.net.SocketException ...}] ...}`.
pub fn check(history: &[Op]) -> Outcome {
    let mut by_class: BTreeMap<Edn, Vec<&Op>> = BTreeMap::new();
    for op in history.iter().filter(|op| op.kind == OpType::Info) {
        if let Some((_, exception)) = op.extra.iter().find(|(key, _)| key == "exception") {
            by_class.entry(class(exception)).or_default().push(op);
        }
    }
    let mut outcome = Outcome::new(Verdict::Valid, []);
    if !by_class.is_empty() {
        let mut classes: Vec<_> = by_class.into_iter().collect();
        classes.sort_by_key(|(_, ops)| Reverse(ops.len()));
        let shown = classes.into_iter().map(|(class, ops)| {
            let count = Edn::from(ops.len());
            Edn::map([("count", count), ("class", class), ("example", ops[0].to_record())])
        });
        outcome.push("exceptions", Edn::list(shown));
    }
    outcome
}

fn class(exception: &Edn) -> Edn {
    let cause = exception.get("via").and_then(Edn::as_seq).and_then(<[Edn]>::first);
    cause.and_then(|cause| cause.get("type")).cloned().unwrap_or_default()
}
