//! Long forks: two reads that saw two writes in opposite orders.
//!
//! Clients write single keys, each once, and read the keys of a group at once. Parallel
//! snapshot isolation lets one read see the first of two writes and another one only the second;
//! snapshot isolation does not. So the reads of a group must form a chain, in which each one sees
//! all that the one before it saw. Names and shapes are those of `jepsen.tests.long-fork`.
//!
//! Stricter than Jepsen's: reads of the same keys are compared whatever order they name them in,
//! and without any read that succeeded the verdict is unknown. `:forks` has one pair of
//! operations for each two states that contradict each other, where Jepsen's has all such pairs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Outcome, Verdict, operations};
use crate::edn::Edn;
use crate::history::Op;

/// Forks that are shown.
const SHOWN: usize = 32;

/// Knowledge about the groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub struct Options {
    /// How many keys each read of long-fork has; else as many as the first.
    #[arg(long, value_name = "KEYS")]
    pub group_size: Option<usize>,
}

/// Keys and the values that were read there, sorted by key.
type State<'a> = Vec<(&'a Edn, &'a Edn)>;

/// Judges the reads.
pub fn check(history: &[Op], options: Options) -> Outcome {
    let operations = match operations(history, &["txn"]) {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    let mut written = BTreeSet::new();
    for pair in &operations {
        if let Some([mop]) = pair.invoke.value.as_seq()
            && let Some(("w" | "write", key, _)) = micro_op(mop)
            && !written.insert(key)
        {
            let error = Edn::Vector(vec![Edn::keyword("multiple-writes"), key.clone()]);
            let mut outcome = Outcome::new(Verdict::Unknown, []);
            outcome.push_error(error);
            return outcome;
        }
    }
    let ok = operations.iter().filter(|pair| pair.is_ok()).filter_map(|pair| pair.completion);
    match groups(ok, options).and_then(|groups| forks(&groups)) {
        Ok(forks) if !forks.is_empty() => {
            let shown = forks
                .iter()
                .take(SHOWN)
                .map(|pair| Edn::Vector(pair.iter().map(|op| op.to_record()).collect()));
            let text = format!("{} pairs of reads saw writes in opposite orders", forks.len());
            let count = Edn::from(forks.len());
            let shown = Edn::List(shown.collect());
            Outcome::new(Verdict::Invalid, [("forks", shown), ("fork-count", count)])
                .with([Finding::new(text)])
        }
        Ok(_) => Outcome::new(Verdict::Valid, []),
        Err(why) => Outcome::unknown(why),
    }
}

/// Name, key and value of a micro-operation.
fn micro_op(mop: &Edn) -> Option<(&str, &Edn, &Edn)> {
    let [f, key, value] = mop.as_seq()? else { return None };
    Some((f.as_text()?, key, value))
}

/// By the keys that were read, the states that were seen and the first read that saw each.
type Groups<'a> = BTreeMap<Vec<&'a Edn>, BTreeMap<State<'a>, &'a Op>>;

fn groups<'a>(
    completed: impl Iterator<Item = &'a Op>,
    options: Options,
) -> Result<Groups<'a>, String> {
    let mut groups = Groups::new();
    let mut size = options.group_size;
    let mut completed: Vec<&Op> = completed.collect();
    completed.sort_by_key(|op| op.index);
    for op in completed {
        let at = |why: String| format!("operation {}: {why}", op.index);
        let mops = op.value.as_seq().unwrap_or_default();
        let Some(mops) = mops.iter().map(micro_op).collect::<Option<Vec<_>>>() else {
            return Err(at("its value is not a list of micro-operations".into()));
        };
        // Whatever does not only read says nothing about the order of writes.
        if mops.is_empty() || !mops.iter().all(|(f, ..)| matches!(*f, "r" | "read")) {
            continue;
        }
        let state: BTreeMap<&Edn, &Edn> =
            mops.iter().map(|(_, key, value)| (*key, *value)).collect();
        let expected = *size.get_or_insert(state.len());
        if state.len() != expected {
            return Err(at(format!("reads {} keys, and not {expected}", state.len())));
        }
        let keys = state.keys().copied().collect();
        groups.entry(keys).or_default().entry(state.into_iter().collect()).or_insert(op);
    }
    match groups.is_empty() {
        true => Err("no read succeeded, so nothing was compared".into()),
        false => Ok(groups),
    }
}

/// Every two states of a group neither of which has all that the other has.
fn forks<'a>(groups: &Groups<'a>) -> Result<Vec<[&'a Op; 2]>, String> {
    let mut forks = Vec::new();
    for states in groups.values() {
        let states: Vec<(&State<'_>, &Op)> = states.iter().map(|(s, op)| (s, *op)).collect();
        for (i, (a, first)) in states.iter().enumerate() {
            for (b, second) in &states[i + 1..] {
                if is_fork(a, b)? {
                    let mut pair = [*first, *second];
                    pair.sort_by_key(|op| op.index);
                    forks.push(pair);
                }
            }
        }
    }
    forks.sort_by_key(|[a, b]| (a.index, b.index));
    Ok(forks)
}

fn is_fork(a: &State<'_>, b: &State<'_>) -> Result<bool, String> {
    let (mut only_a, mut only_b) = (false, false);
    for ((key, a), (_, b)) in a.iter().zip(b) {
        match (a.is_nil(), b.is_nil()) {
            (false, true) => only_a = true,
            (true, false) => only_b = true,
            (false, false) if a != b => {
                return Err(format!("key {key} was read as {a} and as {b}, but is written once"));
            }
            _ => {}
        }
    }
    Ok(only_a && only_b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    fn judged(txns: &[&str], group_size: Option<usize>) -> Edn {
        let op = |txn: &&str| {
            format!("{{:process 0, :type :invoke, :f :txn, :value {txn}}}\n")
                + &format!("{{:process 0, :type :ok, :f :txn, :value {txn}}}\n")
        };
        let text: String = txns.iter().map(op).collect();
        check(&from_text(&text).unwrap(), Options { group_size }).to_edn()
    }

    const WRITES: [&str; 2] = ["[[:w 0 1]]", "[[:w 1 1]]"];

    fn reads(reads: &[&'static str]) -> Edn {
        judged(&[&WRITES, reads].concat(), Some(2))
    }

    #[test]
    fn a_chain_of_reads_passes() {
        let told =
            reads(&["[[:r 0 nil] [:r 1 nil]]", "[[:r 1 nil] [:r 0 1]]", "[[:r 0 1] [:r 1 1]]"]);
        assert_eq!(told.to_string(), "{:valid? true}");
    }

    #[test]
    fn a_fork_is_found_in_any_order_of_keys() {
        for second in ["[[:r 0 nil] [:r 1 1]]", "[[:r 1 1] [:r 0 nil]]"] {
            let told = reads(&["[[:r 0 1] [:r 1 nil]]", second, second]);
            assert_eq!(told.get("valid?"), Some(&Edn::Bool(false)));
            assert_eq!(told.get("fork-count"), Some(&Edn::Int(1)));
            let fork = told.get("forks").unwrap().as_seq().unwrap()[0].as_seq().unwrap();
            let indices = [5, 7].map(Edn::Int);
            assert!(fork.iter().map(|op| op.get("index").unwrap()).eq(&indices));
        }
    }

    #[test]
    fn what_cannot_be_compared_is_unknown() {
        for (txns, group_size) in [
            (&["[[:w 0 1]]", "[[:w 0 2]]"][..], None),
            (&["[[:w 0 1]]"], None),
            (&["[[:r 0 1] [:r 1 1]]", "[[:r 0 1]]"], None),
            (&["[[:r 0 1] [:r 1 1]]"], Some(3)),
            (&["[[:r 0 1] [:r 1 1]]", "[[:r 0 2] [:r 1 nil]]"], None),
            (&["[[:r 0 1] 7]"], None),
        ] {
            let told = judged(txns, group_size);
            assert_eq!(told.get("valid?"), Some(&Edn::keyword("unknown")), "{txns:?}");
            assert!(told.get("error").is_some());
        }
    }
}
