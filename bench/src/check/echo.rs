//! Echo: every answer repeats its question, and every question has an answer.
//!
//! As in Maelstrom a question that was refused is an error, and so is one without an answer.
//! Unlike there, an answer without `:echo` is wrong even if nil was asked, and a
//! question without an answer is no error in a run whose nemesis killed or stopped nodes,
//! since no node answers while it is down.

use super::{Finding, Outcome, Verdict, operations, quote};
use crate::edn::Edn;
use crate::history::{Op, OpType, Pair, Process};

/// Compares the argument of each operation with the `:echo` of its result.
pub fn check(history: &[Op]) -> Outcome {
    let operations = match operations(history, &["echo"]) {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    let stops =
        |op: &Op| op.process == Process::Nemesis && matches!(op.f.as_str(), "kill" | "pause");
    let excused = history.iter().any(stops);
    let errors: Vec<Edn> = operations.iter().filter_map(|pair| mismatch(pair, excused)).collect();
    let verdict = if errors.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    let first = errors.first().map(|error| Finding::new(quote(error)));
    Outcome::new(verdict, [("errors", Edn::List(errors))]).with(first)
}

fn mismatch(pair: &Pair<'_>, excused: bool) -> Option<Edn> {
    let asked = &pair.invoke.value;
    let fine = match pair.completion.map(|completion| completion.kind) {
        Some(OpType::Ok) => pair.completion.is_some_and(|c| c.value.get("echo") == Some(asked)),
        Some(OpType::Fail) => false,
        Some(OpType::Info | OpType::Invoke) => excused,
        // The history was cut off, as in the log of a run that was killed.
        None => true,
    };
    (!fine).then(|| {
        Edn::Vector(vec![
            Edn::str("Expected a message with :echo"),
            asked.clone(),
            Edn::str("But received"),
            pair.completion.map_or(Edn::Nil, |completion| completion.value.clone()),
        ])
    })
}
