//! Logs in the manner of Kafka: is every acknowledged message there, once, in order?
//!
//! Follows Jepsen's `jepsen.tests.kafka` in names, shapes and rules. Clients send
//! messages to keys and learn their offsets, assign keys to themselves, and poll whatever
//! follows. From all offsets ever seen `log` puts the log of each key together. Then:
//!
//! | module | finds |
//! | --- | --- |
//! | `log` | `inconsistent-offsets`, `duplicate` |
//! | `loss` | `lost-write`, `unseen`, `G1a`, `G1c-realtime`, `precommitted-read`, `phantom` |
//! | `order` | `poll-skip`, `nonmonotonic-poll`, `nonmonotonic-send`; within one operation `int-...` |
//! | `lag` | `:worst-realtime-lag`, which is never wrong |
//! | `commits` | `lost-commit`, a finding of our own, which Jepsen's verdict does not know |
//!
//! `phantom` is our own: a polled value that was never sent. It crashes Jepsen's
//! checker, whose verdict is then unknown. `int-send-skip` is reported and allowed: others
//! may send in between.
//!
//! Of the cycles that Jepsen lets Elle look for only one kind can occur here. An operation
//! either sends or polls, so information flows from a send to a poll, and on from there only
//! by real time: send, its poll, a send invoked after that, its poll, and so round. If
//! every poll completed after its own send was invoked, the times would grow all the way round a
//! circle; so some poll completed before its send was invoked. Exactly that is looked
//! for, and called `G1c-realtime`, one for each such message. (Circles of writes are always
//! allowed, and edges from a read to the next write are left out by Jepsen, too.) Operations
//! that do both are judged by everything else, but then the verdict is at best unknown.
//!
//! A history in which any consumer subscribes is judged by Jepsen's rules for that: skips and
//! steps back between two polls of a process are reported and allowed.
//!
//! Deliberately missing: Jepsen's mode in which write-write edges count.

mod cases;
mod commits;
mod lag;
mod log;
mod loss;
mod order;
#[cfg(test)]
mod planted;
mod read;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::read::COMMITTED;

use self::cases::Cases;
use self::log::Log;
use self::read::{Kind, Steps};
use crate::check::{Finding, Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Events, OpType};

/// Anomalies that are reported and allowed.
const ALLOWED: [&str; 1] = ["int-send-skip"];

/// Those that are allowed, too, where consumers subscribe: a consumer may lose a key between
/// two polls, and get it back after others have read from it.
const ALLOWED_IF_SUBSCRIBED: [&str; 2] = ["poll-skip", "nonmonotonic-poll"];

/// Judges a history of sends and polls. Events of the nemesis are passed over.
pub fn check<'h>(history: impl Into<Events<'h>>) -> Outcome {
    match judge(history.into()) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::unknown(reason),
    }
}

fn search(history: Events<'_>) -> Result<(Steps<'_>, Log, Cases), String> {
    let steps = read::read(history)?;
    let mut cases = Cases::default();
    let log = Log::new(&steps, &mut cases)?;
    loss::wrong_reads(&steps, &log, &mut cases);
    loss::lost_writes(&steps, &log, &mut cases);
    order::between_operations(&steps, &log, &mut cases);
    order::within_operations(&steps, &log, &mut cases);
    Ok((steps, log, cases))
}

fn judge(history: Events<'_>) -> Result<Outcome, String> {
    let (steps, log, cases) = search(history)?;
    let condense = |(kind, found)| (kind, report::condensed(kind, found, &steps, &log));
    let mut errors: BTreeMap<&str, Edn> = cases.0.into_iter().map(condense).collect();
    errors.extend(loss::unseen(&steps, &log).map(|unseen| ("unseen", unseen)));

    let subscribed = steps.all.iter().any(|step| step.kind == Kind::Assign { subscribed: true });
    let allowed =
        |kind: &str| ALLOWED.contains(&kind) || subscribed && ALLOWED_IF_SUBSCRIBED.contains(&kind);
    let bad: Vec<&str> = errors.keys().copied().filter(|kind| !allowed(kind)).collect();
    let mixed = steps.all.iter().find(|step| !step.sends.is_empty() && !step.polls.is_empty());
    let verdict = match (bad.is_empty(), mixed) {
        (false, _) => Verdict::Invalid,
        (true, Some(_)) => Verdict::Unknown,
        (true, None) => Verdict::Valid,
    };
    let names = |kinds: &[&str]| Edn::List(kinds.iter().map(|kind| Edn::keyword(kind)).collect());
    let all: Vec<&str> = errors.keys().copied().collect();
    let bad = names(&bad);
    let found = Finding::anomalies(bad.as_seq().unwrap_or_default());
    let mut outcome = Outcome::new(
        verdict,
        [
            ("worst-realtime-lag", lag::worst_realtime_lag(&steps)),
            ("bad-error-types", bad),
            ("error-types", names(&all)),
            ("info-txn-causes", info_causes(&steps)),
        ],
    )
    .with(found);
    if let Some(step) = mixed {
        outcome.push_error(Edn::str(format!(
            "operation {} sends and polls: cycles among such operations are not looked for",
            steps.end(step).index
        )));
    }
    for (kind, found) in errors {
        outcome.push(kind, found);
    }
    if let Some(lost) = commits::lost_commits(&steps) {
        let kinds = names(&["lost-commit"]);
        let finding = Finding::anomalies(kinds.as_seq().unwrap_or_default());
        let found = [("anomaly-types", kinds), ("lost-commit", lost)];
        outcome.stricter = Some(Box::new(Outcome::new(Verdict::Invalid, found).with(finding)));
    }
    Ok(outcome)
}

/// The distinct errors because of which the outcome of sends and polls is unknown.
fn info_causes(steps: &Steps<'_>) -> Edn {
    let (mut causes, mut seen) = (Vec::new(), BTreeSet::new());
    for step in &steps.all {
        if step.kind == Kind::Work
            && step.outcome == OpType::Info
            && let Some(error) = &steps.end(step).error
            && seen.insert(error)
        {
            causes.push(error.clone());
        }
    }
    Edn::List(causes)
}
