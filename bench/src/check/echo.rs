//! Echo: every answer holds what was asked.
//!
//! Unlike in Maelstrom, an answer without `:echo` is wrong even if nil was asked.

use super::{Outcome, Verdict, operations};
use crate::edn::Edn;
use crate::history::{Op, Pair};

/// Compares the argument of each operation with the `:echo` of its result.
pub fn check(history: &[Op]) -> Outcome {
    let operations = match operations(history, &["echo"]) {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    let errors: Vec<Edn> = operations.iter().filter_map(mismatch).collect();
    let verdict = if errors.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    Outcome::new(verdict, [("errors", Edn::List(errors))])
}

fn mismatch(pair: &Pair<'_>) -> Option<Edn> {
    let completion = pair.completion.filter(|_| pair.is_ok())?;
    let asked = &pair.invoke.value;
    if completion.value.get("echo") == Some(asked) {
        return None;
    }
    Some(Edn::Vector(vec![
        Edn::str("Expected a message with :echo"),
        asked.clone(),
        Edn::str("But received"),
        completion.value.clone(),
    ]))
}
