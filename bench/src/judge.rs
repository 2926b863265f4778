//! The verdict on a run: the findings in its history, and those of the bench itself.
//!
//! The checkers of [`crate::check`] judge the history as Maelstrom does. The bench's own findings
//! have keys of their own, which a run without trouble does not have: `:stricter` (anomalies that
//! the reference does not look for), `:nodes` (a node broke the protocol),
//! `:responses` (replies of a structure that is not documented), `:hints` (why a node was not
//! understood; never a verdict), `:invariants` (a white-box check failed), `:members` (an answer
//! about a change of members was false) and `:progress` (no answers although all faults were
//! over).

use crate::backend::NodeFault;
use crate::challenge::Challenge;
use crate::check::net::MessageCounts;
use crate::check::{CheckOptions, Class, Finding, NetStats, Outcome, Verdict, compose, quote, txn};
use crate::config::RunConfig;
use crate::edn::Edn;
use crate::history::{Op, OpType, Process, pairs};
use crate::run::Ran;
use crate::world::net::Count;
use crate::world::{Blame, Report};

/// How long after the end of all faults a cluster may still be finding itself.
///
/// Faults are over when the last message has arrived that they delayed. From then on a
/// message takes at most twice the mean latency *l*, of which [`crate::explore`] draws at
/// most 100 ms, so a round trip takes 400 ms at most. A cluster that needs an election
/// needs, by the timeouts of our own nodes:
///
/// * an election timeout until a node stands. It is drawn between T and 2 T, where T is
///   500 ms, or 2 round trips and 2 heartbeats if that is more: 1200 ms. No client waits for
///   who draws the longest; the shorter of two is 4/3 T on average, 1600 ms;
/// * a round trip each for pre-vote, vote, and the first entry of the term: 1200 ms;
/// * once more a part of a timeout if the votes were split.
///
/// With 3 s, everything but a second split vote at the highest latency fits; a cluster
/// on a fast network has time for three elections. Where links are longer than that, all of
/// it takes longer by [`slowness`].
const GRACE_NANOS: i64 = 3_000_000_000;
/// The mean latency for which that is enough.
const GRACE_LATENCY_MS: f64 = 100.0;
/// The same if one fault remains, which has to be noticed first.
const GRACE_LASTING_NANOS: i64 = 6_000_000_000;

/// How many times as long as usual a cluster may be finding itself whose longest link takes
/// `farthest_ms` on average.
pub fn slowness(farthest_ms: f64) -> f64 {
    (farthest_ms / GRACE_LATENCY_MS).max(1.0)
}

/// Judges a run.
pub fn judge(ran: &Ran<'_>) -> Outcome {
    judge_nodes(
        ran.challenge,
        ran.config,
        &ran.report,
        CheckOptions { commits_are_shared: true, ..CheckOptions::default() },
    )
}

/// Judges a run of any binary in the way of the reference, which does not demand that all
/// nodes share one view of kafka's committed offsets: an older view is reported, and no more.
pub fn judge_binary(ran: &Ran<'_>) -> Outcome {
    judge_nodes(ran.challenge, ran.config, &ran.report, CheckOptions::default())
}

/// Judges a run of servers: as [`judge_binary`], but a run whose operations found no server that
/// could carry them out says nothing about it.
pub fn judge_servers(ran: &Ran<'_>) -> Outcome {
    let options = CheckOptions { untested_is_unknown: true, ..CheckOptions::default() };
    judge_nodes(ran.challenge, ran.config, &ran.report, options)
}

fn judge_nodes(
    challenge: &dyn Challenge,
    config: &RunConfig,
    report: &Report,
    demands: CheckOptions,
) -> Outcome {
    let mut txn = txn::Options::default();
    txn.models.clone_from(&config.models);
    let options = CheckOptions {
        txn,
        availability: config.args.availability.0,
        net: Some(net_stats(report)),
        ..demands
    };
    let judged = challenge.check(&report.history, &options);
    let mut outcome = compose(judged, &report.history, &options);
    add_nodes(&mut outcome, report);
    if let Some((count, first)) = malformed_responses(&report.history) {
        let lenient = config.args.lenient_responses;
        let verdict = if lenient { Verdict::Valid } else { Verdict::Invalid };
        let finding = first.error.as_ref().map(|error| Finding::new(quote(error)));
        let details = [("malformed-count", Edn::from(count)), ("first", first.to_edn())];
        outcome.add("responses", Outcome::new(verdict, details).with(finding));
    }
    if let Some(violation) = &report.violation {
        let finding = Finding::new(violation).of_class(Class::Invariant);
        let part = Outcome::new(Verdict::Invalid, [("broken", Edn::str(violation))]);
        outcome.add("invariants", part.with([finding.of_kind(without_numbers(violation))]));
    }
    if !report.member_lies.is_empty() {
        let lies = Edn::vector(report.member_lies.iter().map(Edn::str));
        outcome.add("members", Outcome::new(Verdict::Invalid, [("lies", lies)]));
    }
    if let Some(quiet_from) = report.quiet_from {
        let has_returned = |op: &Op| {
            let since = report.returned.get(&node_of(config, op));
            challenge.serves_when_removed() || since.is_none_or(|since| op.time >= *since)
        };
        let is_reached = |op: &Op| !report.out_of_reach.contains(&node_of(config, op));
        let may_ask = |op: &Op| is_reached(op) && has_returned(op);
        let is_quiet = report.out_of_reach.is_empty();
        let grace = if is_quiet { GRACE_NANOS } else { GRACE_LASTING_NANOS };
        // Exact for any time that a run takes.
        let grace = grace as f64 * slowness(config.args.farthest_ms());
        let from = quiet_from + grace as i64;
        outcome.add("progress", progress(&report.history, from, may_ask));
    }
    outcome
}

/// Adds the faults of nodes, and the hints why nodes were not understood.
fn add_nodes(outcome: &mut Outcome, report: &Report) {
    if !report.blames.is_empty() {
        let faults = Edn::vector(report.blames.iter().map(tell_blame));
        let condemned: Vec<&Blame> =
            report.blames.iter().filter(|blame| blame.fault.condemns()).collect();
        let verdict = if condemned.is_empty() { Verdict::Valid } else { Verdict::Invalid };
        let part = Outcome::new(verdict, [("faults", faults)]);
        outcome.add("nodes", part.with(condemned.into_iter().map(finding)));
    }
    if !report.hints.is_empty() {
        let hints = report.hints.iter().map(|hint| {
            let node = ("node", Edn::str(hint.node.as_str()));
            Edn::map([node, ("hint", Edn::str(&hint.text))])
        });
        outcome.add("hints", Outcome::new(Verdict::Valid, [("hints", Edn::vector(hints))]));
    }
}

fn finding(blame: &Blame) -> Finding {
    let finding = Finding::new(format!("{} {}", blame.node, blame.fault));
    match &blame.fault {
        NodeFault::Panicked { message } => {
            finding.of_class(Class::Crash).of_kind(without_numbers(message))
        }
        fault => finding.of_class(Class::Protocol).of_kind(fault.kind()),
    }
}

/// A text that is the same for another node, term or index.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

/// How many replies were not of the structure that the protocol documents, and the first
/// of these operations. For Maelstrom each is an exception in its client that leaves the
/// operation's fate unknown, and a run of nothing else looks good to it.
fn malformed_responses(history: &[Op]) -> Option<(usize, &Op)> {
    let is_malformed = |op: &&Op| {
        let name = op.error.as_ref().and_then(Edn::as_seq).and_then(<[Edn]>::first);
        name.and_then(Edn::as_text) == Some("malformed-rpc-response")
    };
    let mut malformed = history.iter().filter(is_malformed);
    let first = malformed.next()?;
    Some((1 + malformed.count(), first))
}

fn net_stats(report: &Report) -> NetStats {
    // A message counts once it was sent, whether it arrived or not.
    let counts = |c: Count| MessageCounts { send: c.sent, recv: c.received, msg: c.sent };
    NetStats {
        all: counts(report.counts.all),
        clients: counts(report.counts.clients),
        servers: counts(report.counts.servers),
    }
}

fn tell_blame(blame: &Blame) -> Edn {
    let lines = |lines: &[String]| Edn::vector(lines.iter().map(Edn::str));
    let mut entries = vec![
        (Edn::keyword("node"), Edn::str(blame.node.as_str())),
        (Edn::keyword("fault"), Edn::str(blame.fault.to_string())),
        (Edn::keyword("last-lines"), lines(&blame.last_lines)),
    ];
    if !blame.last_printed.is_empty() {
        entries.push((Edn::keyword("last-printed"), lines(&blame.last_printed)));
    }
    Edn::Map(entries)
}

/// The index of the node that was asked.
fn node_of(config: &RunConfig, op: &Op) -> usize {
    match op.process {
        Process::Client(process) => process as usize % config.concurrency % config.nodes.len(),
        Process::Nemesis => usize::MAX,
    }
}

/// Operations invoked after the grace period must end with an answer: `ok`, or a
/// refusal that is about the operation and not about the cluster.
fn progress(history: &[Op], from: i64, may_ask: impl Fn(&Op) -> bool) -> Outcome {
    let Ok(pairs) = pairs(history) else {
        return Outcome::unknown("the history is malformed");
    };
    let late = pairs.iter().filter(|pair| pair.invoke.time >= from);
    let late = late.filter(|pair| may_ask(pair.invoke));
    let (mut asked, mut unanswered) = (0_usize, Vec::new());
    for pair in late {
        asked += 1;
        let answered = pair.completion.is_some_and(is_answer);
        if !answered {
            unanswered.push(pair.invoke.to_edn());
        }
    }
    let verdict = if unanswered.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    let count = unanswered.len();
    unanswered.truncate(8);
    let finding = Finding::new(format!("{count} of {asked} operations unanswered"));
    Outcome::new(
        verdict,
        [
            ("asked-count", Edn::from(asked)),
            ("unanswered-count", Edn::from(count)),
            ("unanswered", Edn::Vector(unanswered)),
        ],
    )
    .with([finding.of_class(Class::Progress).of_kind("no answer")])
}

fn is_answer(completion: &Op) -> bool {
    let unavailable = ["net-timeout", "timeout", "temporarily-unavailable"];
    let named = |e: &Edn| e.as_text().is_some_and(|name| unavailable.contains(&name));
    let excuse = completion.error.as_ref().is_some_and(|error| {
        named(error) || error.as_seq().and_then(<[Edn]>::first).is_some_and(named)
    });
    match completion.kind {
        OpType::Ok => true,
        OpType::Fail => !excuse,
        // Kafka's crash is not a question, so it needs no answer.
        OpType::Info | OpType::Invoke => completion.f == "crash",
    }
}
