//! Unique ids: no two answers are the same.
//!
//! An id may be any JSON value. An acknowledgement without an id makes the verdict
//! unknown, where Jepsen counts it as an id like any other.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Finding, Outcome, Verdict, operations};
use crate::edn::Edn;
use crate::history::{Op, Pair};

/// How many of the repeated ids a result shows.
const SHOWN: usize = 48;

/// Counts how often each id was handed out.
pub fn check(history: &[Op]) -> Outcome {
    let operations = match operations(history, &["generate"]) {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    let acknowledged: Vec<&Op> =
        operations.iter().filter(|p| p.is_ok()).filter_map(|p: &Pair<'_>| p.completion).collect();
    let mut counts: BTreeMap<&Edn, usize> = BTreeMap::new();
    for op in &acknowledged {
        *counts.entry(&op.value).or_default() += 1;
    }
    let range = [counts.first_key_value(), counts.last_key_value()]
        .map(|entry| entry.map_or(Edn::Nil, |(id, _)| Edn::clone(id)));
    let mut repeated: Vec<(&Edn, usize)> = counts.into_iter().filter(|(_, n)| *n > 1).collect();
    let repeated_count = repeated.len();
    repeated.sort_by_key(|(_, n)| Reverse(*n));
    repeated.truncate(SHOWN);
    repeated.sort();
    let duplicated =
        Finding::counted("duplicated", repeated_count, repeated.iter().map(|(id, _)| *id));
    let repeated = repeated.into_iter().map(|(id, n)| (id.clone(), Edn::from(n))).collect();

    let without_id = acknowledged.iter().find(|op| op.value.is_nil());
    let verdict = match (repeated_count, without_id) {
        (0, None) => Verdict::Valid,
        (0, Some(_)) => Verdict::Unknown,
        _ => Verdict::Invalid,
    };
    let mut outcome = Outcome::new(
        verdict,
        [
            ("attempted-count", Edn::from(operations.len())),
            ("acknowledged-count", Edn::from(acknowledged.len())),
            ("duplicated-count", Edn::from(repeated_count)),
            ("duplicated", Edn::Map(repeated)),
            ("range", Edn::vector(range)),
        ],
    )
    .with(duplicated);
    if let Some(op) = without_id {
        outcome.push_error(Edn::str(format!("operation {} is ok without an id", op.index)));
    }
    outcome
}
