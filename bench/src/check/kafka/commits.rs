//! Committed offsets: an offset that was acknowledged, or told before, is not forgotten.
//!
//! Our own, for Jepsen's checker does not look at them, and Maelstrom's histories do not have
//! them. Our client records the answer to `list_committed_offsets` under `:committed` of the
//! assignment that asked for it. The commits follow from the polls: a client completes a poll as ok
//! only when the last offset of each key that it brought is acknowledged.
//!
//! `lost-commit`: an answer that lacks a key, or has a smaller offset for it, although a larger
//! one was acknowledged or told to any client before the question was asked. A commit that runs
//! concurrently with the question proves nothing, and neither does one in doubt.

use super::read::{Key, Kind, Steps};
use crate::edn::Edn;
use crate::history::OpType;

/// How many cases a result shows.
const SHOWN: usize = 32;

/// An answer that forgets.
struct Lost {
    key: Key,
    /// The step whose answer it is.
    list: usize,
    found: Option<i64>,
    /// The least offset that the answer should have had, and the step that proves it.
    expected: i64,
    proof: usize,
}

/// Per key the largest offset that was certain, with when (an index of the history) and by which
/// step; both rise.
struct Certain(Vec<Vec<(usize, i64, usize)>>);

impl Certain {
    fn add(&mut self, key: Key, offset: i64, at: usize, step: usize) {
        let known = &mut self.0[key.0 as usize];
        if known.last().is_none_or(|(_, highest, _)| *highest < offset) {
            known.push((at, offset, step));
        }
    }

    /// The largest offset that was certain before the event at an index.
    fn before(&self, key: Key, index: usize) -> Option<(i64, usize)> {
        let known = &self.0[key.0 as usize];
        let later = known.partition_point(|(at, ..)| *at < index);
        later.checked_sub(1).map(|last| (known[last].1, known[last].2))
    }
}

/// `:lost-commit`: how many there are and the first of them; none if nothing was forgotten.
pub(super) fn lost_commits(steps: &Steps<'_>) -> Option<Edn> {
    let mut certain = Certain(vec![Vec::new(); steps.keys()]);
    let mut lost = Vec::new();
    // Steps are in the order of their completions, so certain offsets are added in order.
    for (i, step) in steps.all.iter().enumerate() {
        if step.outcome != OpType::Ok {
            continue;
        }
        if let (Kind::Assign { .. }, Some(told)) = (step.kind, steps.committed.get(&i)) {
            for key in &step.assigned {
                let found = told.iter().find(|(name, _)| name == key).map(|(_, offset)| *offset);
                if let Some((expected, proof)) = certain.before(*key, steps.start(step).index)
                    && found < Some(expected)
                {
                    lost.push(Lost { key: *key, list: i, found, expected, proof });
                }
                if let Some(found) = found {
                    certain.add(*key, found, steps.end(step).index, i);
                }
            }
        }
        for (key, polled) in &step.polls {
            if let Some(last) = polled.iter().map(|(offset, _)| *offset).max() {
                certain.add(*key, last, steps.end(step).index, i);
            }
        }
    }
    let case = |lost: &Lost| {
        Edn::map([
            ("key", steps.key(lost.key).clone()),
            ("committed", lost.found.map_or(Edn::Nil, Edn::Int)),
            ("expected", Edn::Int(lost.expected)),
            ("list", steps.op(lost.list).to_record()),
            ("proof", steps.op(lost.proof).to_record()),
        ])
    };
    let shown = lost.iter().take(SHOWN).map(case).collect();
    let count = Edn::from(lost.len());
    (!lost.is_empty()).then(|| Edn::map([("count", count), ("errs", Edn::List(shown))]))
}
