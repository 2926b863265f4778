//! What one run came to, and whether two failures are of the same kind.
//!
//! Shrinking must not slide from one bug to another: a run that lost a write and one
//! that merely did not answer in time are different stories. A [`Symptom`] is what
//! a failing run keeps while everything else is taken from it: the class of the
//! failure, and in it the names of what was found (the anomaly, the invariant, the
//! place of the panic), without the numbers.

use std::collections::BTreeSet;

use seaworthy::mark::Marks;

use crate::backend::NodeFault;
use crate::check::{self, Verdict};
use crate::edn::Edn;
use crate::history::OpType;
use crate::judge::{judge, reason};
use crate::run::Ran;
use crate::world::Report;

/// How a run failed, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A node panicked.
    Crash,
    /// A white-box invariant broke.
    Invariant,
    /// A node broke the protocol.
    Protocol,
    /// The clients saw what they never may.
    Safety,
    /// All faults were over, and still there were no answers.
    Progress,
    /// The checkers could not tell.
    Unknown,
}

impl Class {
    /// Its name in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Class::Crash => "crash",
            Class::Invariant => "invariant",
            Class::Protocol => "protocol",
            Class::Safety => "safety",
            Class::Progress => "progress",
            Class::Unknown => "unknown",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Class> {
        use Class::{Crash, Invariant, Progress, Protocol, Safety, Unknown};
        let all = [Crash, Invariant, Protocol, Safety, Progress, Unknown];
        all.into_iter().find(|class| class.name() == name)
    }
}

/// What a failure has in common with another of its kind; see the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symptom {
    /// The most telling class of all that was found.
    pub class: Class,
    /// What was found in that class.
    pub kinds: BTreeSet<String>,
}

impl Symptom {
    /// Whether `other` fails for one of the same reasons.
    pub fn is_shown_by(&self, other: Option<&Symptom>) -> bool {
        other.is_some_and(|o| o.class == self.class && !self.kinds.is_disjoint(&o.kinds))
    }
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not valid, in a few words.
    pub why: String,
    /// What the checker has to tell about it.
    pub story: Option<String>,
    /// How it failed, if it did.
    pub symptom: Option<Symptom>,
    /// How long the run took, on the world's clock.
    pub simulated_seconds: f64,
    /// Operations in the history.
    pub operations: usize,
    /// Those of them that succeeded.
    pub succeeded: usize,
    /// Acts of the nemesis, those that end a fault included.
    pub acts: u64,
    /// Which rare events came up.
    pub marks: Marks,
}

impl Trial {
    /// Judges a run.
    pub fn of(ran: &Ran<'_>) -> Trial {
        let report = &ran.report;
        // A short run may well have no cas that succeeds. That answers keep coming is
        // what `:progress` is for, so the statistics have no say here.
        let outcome = judge(ran).without("stats");
        Trial {
            verdict: outcome.verdict,
            why: reason(&outcome, report),
            symptom: symptom(&outcome, report),
            simulated_seconds: report.duration.as_nanos() as f64 / 1e9,
            operations: report.history.len() / 2,
            succeeded: report.history.iter().filter(|op| op.kind == OpType::Ok).count(),
            acts: report.acts,
            marks: ran.marks,
            story: outcome.story,
        }
    }
}

fn symptom(outcome: &check::Outcome, report: &Report) -> Option<Symptom> {
    let mut found: Vec<(Class, String)> = Vec::new();
    found.extend(report.violation.iter().map(|text| (Class::Invariant, without_numbers(text))));
    for blame in report.blames.iter().filter(|blame| blame.fault.condemns()) {
        found.push(match &blame.fault {
            NodeFault::Panicked { message } => (Class::Crash, without_numbers(message)),
            fault => (Class::Protocol, kind_of_fault(fault).to_owned()),
        });
    }
    for (name, part) in &outcome.details {
        let name = name.as_text().unwrap_or_default();
        match part.get("valid?") {
            Some(Edn::Bool(true)) | None => {}
            _ if matches!(name, "nodes" | "invariants") => {}
            Some(Edn::Bool(false)) if name == "progress" => {
                found.push((Class::Progress, "no answer".into()));
            }
            Some(Edn::Bool(false)) => {
                found.extend(findings(name, part).into_iter().map(|kind| (Class::Safety, kind)));
            }
            Some(_) => found.push((Class::Unknown, name.to_owned())),
        }
    }
    let class = found.iter().map(|(class, _)| *class).min()?;
    let kinds = found.into_iter().filter(|(c, _)| *c == class).map(|(_, kind)| kind).collect();
    Some(Symptom { class, kinds })
}

/// What a part of the result found wrong, by name.
fn findings(name: &str, part: &Edn) -> Vec<String> {
    let mut kinds = Vec::new();
    for key in ["anomaly-types", "bad-error-types"] {
        let types = part.get(key).and_then(Edn::as_seq).unwrap_or_default();
        kinds.extend(types.iter().map(|t| format!("{name} {t}")));
    }
    for what in ["lost", "duplicated", "phantom", "unexpected"] {
        let count = part.get(&format!("{what}-count")).and_then(Edn::as_int).unwrap_or(0);
        if count > 0 {
            kinds.push(format!("{name} {what}"));
        }
    }
    if kinds.is_empty() { vec![name.to_owned()] } else { kinds }
}

fn kind_of_fault(fault: &NodeFault) -> &'static str {
    match fault {
        NodeFault::Garbage { .. } => "garbage",
        NodeFault::UnknownDestination { .. } => "unknown destination",
        NodeFault::UnknownSource { .. } => "unknown source",
        NodeFault::LateReply { .. } => "late reply",
        NodeFault::Exited { .. } => "exited",
        NodeFault::ClosedStdout { .. } => "closed stdout",
        NodeFault::Panicked { .. } => "panicked",
        NodeFault::NotStarted { .. } => "not started",
        NodeFault::NoInit { .. } => "no init",
        NodeFault::Flood { .. } => "flood",
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
