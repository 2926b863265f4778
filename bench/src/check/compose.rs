//! The verdict on a whole test: all checkers, the worst of them counts.

use std::collections::BTreeSet;

use super::{CheckOptions, Outcome, Verdict, availability, exceptions, net, stats};
use crate::edn::Edn;
use crate::history::{Events, Op};

/// Operations in which nothing can be seen unless others are made: kafka's, of which nothing was
/// sent.
const IDLE: [&str; 5] = ["assign", "crash", "debug-topic-partitions", "poll", "subscribe"];

/// Judges a history with every checker but the workload's own, which has `judged` it; the
/// result has the keys of Maelstrom's `results.edn`.
pub fn compose<'h>(
    mut judged: Outcome,
    history: impl Into<Events<'h>>,
    options: &CheckOptions,
) -> Outcome {
    // They look at operations and how these ended, not at values.
    let history = history.into().heads();
    let (story, stricter) = (judged.story.take(), judged.stricter.take());
    let mut parts = vec![
        ("perf", perf()),
        ("timeline", Outcome::new(Verdict::Valid, [])),
        ("exceptions", exceptions::check(history)),
        ("stats", stats::check(history, untested(options))),
        ("availability", availability::check(history, options.availability)),
        ("net", net::check(history, options.net.as_ref())),
        ("workload", judged),
    ];
    if let Some(mut stricter) = stricter {
        if options.reference {
            stricter.verdict = Verdict::Valid;
        }
        parts.push(("stricter", *stricter));
    }
    // Maelstrom calls this valid: no kind of operation was made, so none never succeeded.
    if let Some(idleness) = idleness(history) {
        parts.push(("operations", Outcome::unknown(idleness)));
    }
    let mut outcome = Outcome { story, ..Outcome::new(Verdict::Valid, []) };
    parts.into_iter().for_each(|(name, part)| outcome.add(name, part));
    outcome
}

/// Returns why nothing was tested, if clients did nothing that could have shown a fault.
fn idleness(history: &[Op]) -> Option<String> {
    let clients = || history.iter().filter(|op| op.is_client());
    if clients().any(|op| !IDLE.contains(&&*op.f)) {
        return None;
    }
    let made: BTreeSet<&str> = clients().map(|op| &*op.f).collect();
    if made.is_empty() {
        return Some("no client did anything".to_owned());
    }
    let made: Vec<String> = made.into_iter().map(|f| Edn::keyword(f).to_string()).collect();
    Some(format!("clients did nothing but {}", made.join(" ")))
}

/// The verdict on a kind of operation that never succeeded.
fn untested(options: &CheckOptions) -> Verdict {
    if options.untested_is_unknown { Verdict::Unknown } else { Verdict::Invalid }
}

/// Jepsen reports here that it has drawn its graphs, which is all there is to say.
fn perf() -> Outcome {
    let graph = || Outcome::new(Verdict::Valid, []).to_edn();
    Outcome::new(Verdict::Valid, [("latency-graph", graph()), ("rate-graph", graph())])
}

/// The result map of a whole test, `:valid?` last as in `results.edn`, where
/// people look for it.
pub fn results(outcome: &Outcome) -> Edn {
    let mut entries = outcome.details.clone();
    entries.push((Edn::keyword("valid?"), outcome.verdict.to_edn()));
    Edn::Map(entries)
}
