//! The result of one explored run.

use seaworthy::coverage::Marks;

use crate::check::{Decision, Symptom, Verdict};
use crate::history::OpType;
use crate::judge::judge;
use crate::run::Ran;

/// The result of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not valid, in a few words.
    pub why: String,
    /// The checker's story of the failure, if it has one.
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
        // A short run may well have no cas that succeeds. `:progress` sees to it that answers keep
        // coming, so the statistics have no say here.
        let outcome = judge(ran).without("stats");
        let Decision { verdict, symptom, why } = outcome.decide();
        Trial {
            verdict,
            why,
            symptom,
            simulated_seconds: report.duration.as_nanos() as f64 / 1e9,
            operations: report.history.len() / 2,
            succeeded: report.history.iter().filter(|op| op.kind == OpType::Ok).count(),
            acts: report.acts,
            marks: ran.marks,
            story: outcome.story,
        }
    }
}
