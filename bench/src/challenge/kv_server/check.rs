//! The promises to clients of a served cluster.
//!
//! * `registers`: each key alone is linearizable.
//! * `lists`: transactions are strictly serializable.
//! * `revisions`: they never run backwards, from the end of one operation to the beginning of
//!   another, and no two changes have the same.
//! * `states`: servers after the same changes hold the same, the past included.
//! * `members`: servers after the same entry know the same members, those that have left included.
//! * `watches` and `leases`: see the modules of these names.

use std::collections::BTreeMap;

use super::load::MEMBERS;
use super::watch::REVISION;
use super::{lease, watch};
use crate::check::linear::check_lin_kv;
use crate::check::txn::{self, Flavour};
use crate::check::{CheckOptions, Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType, pairs};

const REGISTERS: [&str; 3] = ["read", "write", "cas"];

/// Judges a history.
pub(super) fn check(history: &[Op], options: &CheckOptions) -> Outcome {
    let of = |fs: &[&str]| -> Vec<Op> {
        history.iter().filter(|op| op.is_client() && fs.contains(&&*op.f)).cloned().collect()
    };
    let registers = check_lin_kv(&of(&REGISTERS));
    let lists = of(&["txn"]);
    let lists = match lists.iter().any(|op| op.kind == OpType::Ok) {
        true => txn::check(&lists[..], Flavour::ListAppend, &options.txn),
        // A short run may have none that succeeds.
        false => Outcome::new(Verdict::Valid, []),
    };
    let mut outcome = Outcome::new(Verdict::Valid, []);
    outcome.story = registers.story.clone().or_else(|| lists.story.clone());
    outcome.add("registers", registers);
    outcome.add("lists", lists);
    outcome.add("revisions", revisions(history));
    outcome.add("states", agreement(history, |op| Some(op.value.clone())));
    outcome.add("members", agreement(history, |op| extra(op, MEMBERS).cloned()));
    outcome.add("watches", watch::check(history));
    outcome.add("leases", lease::check(history));
    outcome
}

fn extra<'a>(op: &'a Op, key: &str) -> Option<&'a Edn> {
    op.extra.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn revision(op: &Op) -> Option<i64> {
    extra(op, REVISION).and_then(Edn::as_int)
}

/// Whether an operation that succeeded changed something.
fn changes(op: &Op) -> bool {
    match op.f.as_str() {
        // A deletion of a missing key changes nothing.
        "write" => op.value.as_seq().is_some_and(|pair| pair.len() == 2 && !pair[1].is_nil()),
        "cas" => true,
        "txn" => op
            .value
            .as_seq()
            .unwrap_or_default()
            .iter()
            .any(|mop| mop.as_seq().and_then(|mop| mop.first()?.as_text()) == Some("append")),
        _ => false,
    }
}

fn revisions(history: &[Op]) -> Outcome {
    let all = match pairs(history) {
        Ok(all) => all,
        Err(why) => return Outcome::unknown(why),
    };
    // The highest revision that was known when each operation began.
    let (mut highest, mut before) = (0, BTreeMap::new());
    for op in history.iter().filter(|op| op.is_client()) {
        match op.kind {
            OpType::Invoke => drop(before.insert(op.index, highest)),
            OpType::Ok => highest = highest.max(revision(op).unwrap_or(0)),
            OpType::Fail | OpType::Info => {}
        }
    }
    let mut changed: BTreeMap<i64, usize> = BTreeMap::new();
    for pair in all {
        let Some(op) = pair.completion.filter(|op| op.kind == OpType::Ok) else { continue };
        let Some(revision) = revision(op) else { continue };
        let known = before[&pair.invoke.index];
        let (index, changes) = (op.index, changes(op));
        if revision < known || (changes && revision == known) {
            return Outcome::invalid(format!(
                "operation {index} was answered at revision {revision}, and revision {known} was \
                 known before it began"
            ));
        }
        if changes && let Some(other) = changed.insert(revision, index) {
            return Outcome::invalid(format!(
                "operations {other} and {index} both made revision {revision}"
            ));
        }
    }
    let count = i64::try_from(changed.len()).unwrap_or(i64::MAX);
    Outcome::new(Verdict::Valid, [("changes", Edn::Int(count)), ("highest", Edn::Int(highest))])
}

/// Digests of different servers agree where the counts before them do.
fn agreement(history: &[Op], part: impl Fn(&Op) -> Option<Edn>) -> Outcome {
    let digests = history.iter().filter(|op| op.f == "hash" && op.kind == OpType::Ok);
    let mut seen: BTreeMap<Vec<i64>, (i64, usize)> = BTreeMap::new();
    let mut compared = 0;
    for op in digests {
        let Some(told) = part(op) else { continue };
        let parts = told.as_seq().unwrap_or_default().iter().map(Edn::as_int);
        let parts: Option<Vec<i64>> = parts.collect();
        // All changes that are counted, and the digest.
        let Some((&digest, counts)) = parts.as_ref().and_then(|parts| parts.split_last()) else {
            return Outcome::unknown(format!("operation {} holds no digest", op.index));
        };
        let (known, other) = *seen.entry(counts.to_vec()).or_insert((digest, op.index));
        compared += i64::from(other != op.index);
        if known != digest {
            return Outcome::invalid(format!(
                "operations {other} and {} were answered after the same changes, {counts:?}, by \
                 servers that hold different states",
                op.index
            ));
        }
    }
    Outcome::new(Verdict::Valid, [("compared", Edn::Int(compared))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    fn judged(history: &str) -> Outcome {
        check(&from_text(history).unwrap(), &CheckOptions::default())
    }

    fn part(outcome: &Outcome, name: &str) -> bool {
        outcome.get(name).and_then(|part| part.get("valid?")?.as_bool()) == Some(true)
    }

    const WRITE: &str = "
        {:type :invoke :process 0 :f :write :value [1 5]}
        {:type :ok :process 0 :f :write :value [1 5] :revision 7}";

    #[test]
    fn revisions_do_not_run_backwards_and_belong_to_one_change() {
        let then = |rest: &str| part(&judged(&format!("{WRITE}\n{rest}")), "revisions");
        let read = |revision: i64| {
            format!(
                "{{:type :invoke :process 1 :f :read :value [1 nil]}}
                 {{:type :ok :process 1 :f :read :value [1 5] :revision {revision}}}"
            )
        };
        assert!(then(&read(7)) && then(&read(8)) && !then(&read(6)));
        let append = |revision: i64| {
            format!(
                "{{:type :invoke :process 1 :f :txn :value [[:append 3 1]]}}
                 {{:type :ok :process 1 :f :txn :value [[:append 3 1]] :revision {revision}}}"
            )
        };
        assert!(then(&append(8)) && !then(&append(7)));
        // Both under way at once: only a shared revision is wrong.
        let beside = |revision: i64| {
            let both = format!(
                "{{:type :invoke :process 1 :f :cas :value [2 [1 2]]}}
                 {WRITE}
                 {{:type :ok :process 1 :f :cas :value [2 [1 2]] :revision {revision}}}"
            );
            part(&judged(&both), "revisions")
        };
        assert!(beside(6) && !beside(7));
    }

    #[test]
    fn servers_at_one_revision_hold_the_same() {
        let two = |first: &str, second: &str| {
            let digest = |process: u64, state: &str| {
                format!(
                    "{{:type :invoke :process {process} :f :hash :value nil}}
                     {{:type :ok :process {process} :f :hash :value {state}}}"
                )
            };
            part(&judged(&format!("{}\n{}", digest(0, first), digest(1, second))), "states")
        };
        assert!(two("[5 1 99]", "[5 1 99]") && two("[5 1 99]", "[6 1 98]"));
        assert!(two("[5 1 99]", "[5 3 98]") && !two("[5 1 99]", "[5 1 98]"));
    }

    #[test]
    fn servers_after_one_entry_know_the_same_members() {
        let two = |first: &str, second: &str| {
            let digest = |process: u64, members: &str| {
                format!(
                    "{{:type :invoke :process {process} :f :hash :value nil}}
                     {{:type :ok :process {process} :f :hash :value [{process}5 1 9]
                       :members {members}}}"
                )
            };
            part(&judged(&format!("{}\n{}", digest(1, first), digest(2, second))), "members")
        };
        assert!(two("[7 4]", "[7 4]") && two("[7 4]", "[8 5]") && !two("[7 4]", "[7 5]"));
    }

    #[test]
    fn registers_and_lists_are_judged_each_by_their_own_law() {
        let stale = format!(
            "{WRITE}
             {{:type :invoke :process 1 :f :read :value [1 nil]}}
             {{:type :ok :process 1 :f :read :value [1 nil] :revision 7}}"
        );
        let outcome = judged(&stale);
        assert!(!part(&outcome, "registers") && part(&outcome, "revisions"));
        assert_eq!(outcome.verdict, Verdict::Invalid);
    }
}
