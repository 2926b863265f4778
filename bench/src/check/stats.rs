//! How many operations of each kind succeeded, failed, or are in doubt.
//!
//! A kind of which no operation ever succeeded was not tested. For Maelstrom that is invalid; of
//! servers, whose clients may be without a quorum for a whole run, it is unknown: no promise was
//! seen broken. As in Maelstrom, `crash` and `debug-topic-partitions` are exempt, for they never
//! succeed.

use std::collections::BTreeMap;

use super::{Finding, Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType};

/// Operations that exist to be lost, or only to be looked at.
const EXEMPT: [&str; 2] = ["crash", "debug-topic-partitions"];

/// Completions by their type.
#[derive(Clone, Copy, Default)]
struct Counts {
    ok: usize,
    fail: usize,
    info: usize,
}

impl Counts {
    fn add(&mut self, kind: OpType) {
        match kind {
            OpType::Invoke => {}
            OpType::Ok => self.ok += 1,
            OpType::Fail => self.fail += 1,
            OpType::Info => self.info += 1,
        }
    }

    fn verdict(self, untested: Verdict) -> Verdict {
        if self.ok > 0 { Verdict::Valid } else { untested }
    }

    fn outcome(self, verdict: Verdict) -> Outcome {
        Outcome::new(
            verdict,
            [
                ("count", Edn::from(self.ok + self.fail + self.info)),
                ("ok-count", Edn::from(self.ok)),
                ("fail-count", Edn::from(self.fail)),
                ("info-count", Edn::from(self.info)),
            ],
        )
    }
}

/// Counts the completions of client operations, in all and by `f`. A kind that never succeeded has
/// the verdict `untested`.
pub fn check(history: &[Op], untested: Verdict) -> Outcome {
    let mut all = Counts::default();
    let mut by_f: BTreeMap<&str, Counts> = BTreeMap::new();
    for op in history.iter().filter(|op| op.is_client() && op.kind != OpType::Invoke) {
        all.add(op.kind);
        by_f.entry(&op.f).or_default().add(op.kind);
    }
    let judged = by_f.iter().filter(|(f, _)| !EXEMPT.contains(*f));
    let verdict =
        judged.map(|(_, counts)| counts.verdict(untested)).max().unwrap_or(Verdict::Valid);
    let of_f = |(f, counts): (&&str, &Counts)| {
        (Edn::keyword(f), counts.outcome(counts.verdict(untested)).to_edn())
    };
    let mut outcome = all.outcome(verdict);
    let never = by_f.iter().filter(|(_, counts)| counts.ok == 0);
    outcome
        .findings
        .extend(never.map(|(f, _)| Finding::new(format!("no {} succeeded", Edn::keyword(f)))));
    outcome.push("by-f", Edn::Map(by_f.iter().map(of_f).collect()));
    outcome
}
