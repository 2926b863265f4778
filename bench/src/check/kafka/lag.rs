//! Realtime lag: how long a consumer has been behind, at least.
//!
//! When a poll begins, and the next message of an assigned key was known to exist before,
//! then the consumer has lagged behind by the time since.

use std::collections::BTreeMap;

use super::read::{Key, Kind, Steps};
use crate::edn::Edn;
use crate::history::OpType;

/// The longest lag, in nanoseconds, and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lag {
    time: i64,
    process: u64,
    key: Key,
    lag: i64,
}

/// Per key, rising offsets, each with the time at which it was first known to exist.
struct Known(Vec<Vec<(i64, i64)>>);

impl Known {
    fn new(steps: &Steps<'_>) -> Known {
        let mut known = Known(vec![Vec::new(); steps.keys()]);
        for step in steps.all.iter().filter(|step| step.outcome == OpType::Ok) {
            let time = steps.end(step).time;
            for (key, sent) in &step.sends {
                let highest = sent.iter().filter_map(|(offset, _)| *offset).max();
                known.add(*key, highest, time);
            }
            for (key, polled) in &step.polls {
                known.add(*key, polled.iter().map(|(offset, _)| *offset).max(), time);
            }
        }
        known
    }

    fn add(&mut self, key: Key, offset: Option<i64>, time: i64) {
        let Some(offset) = offset else { return };
        let known = &mut self.0[key.0 as usize];
        if known.last().is_none_or(|(highest, _)| *highest < offset) {
            known.push((offset, time));
        }
    }

    /// When this offset, or a later one, was first known.
    fn since(&self, key: Key, offset: i64) -> Option<i64> {
        let known = &self.0[key.0 as usize];
        known.get(known.partition_point(|(its, _)| *its < offset)).map(|(_, time)| *time)
    }
}

/// `:worst-realtime-lag`, times in seconds.
pub(super) fn worst_realtime_lag(steps: &Steps<'_>) -> Edn {
    let seconds = |ns: i64| Edn::Float(ns as f64 / 1e9);
    match worst(steps) {
        Some(worst) => Edn::map([
            ("time", seconds(worst.time)),
            ("process", Edn::Int(i64::try_from(worst.process).unwrap_or(i64::MAX))),
            ("key", steps.key(worst.key).clone()),
            ("lag", seconds(worst.lag)),
        ]),
        None => Edn::map([
            ("time", Edn::Int(0)),
            ("process", Edn::Nil),
            ("key", Edn::Nil),
            ("lag", Edn::Int(0)),
        ]),
    }
}

fn worst(steps: &Steps<'_>) -> Option<Lag> {
    let known = Known::new(steps);
    let mut worst: Option<Lag> = None;
    // Per process the highest offset polled of each of its keys, -1 before the first.
    let mut offsets: BTreeMap<u64, BTreeMap<Key, i64>> = BTreeMap::new();
    for step in steps.all.iter().filter(|step| step.outcome == OpType::Ok) {
        let of_process = offsets.entry(step.process).or_default();
        if let Kind::Assign { subscribed } = step.kind {
            if subscribed {
                // Jepsen's: whether the consumer gets any of these keys is not known.
                of_process.clear();
                continue;
            }
            let kept = |key: &Key| (*key, of_process.get(key).copied().unwrap_or(-1));
            *of_process = step.assigned.iter().map(kept).collect();
            continue;
        }
        if step.kind != Kind::Work || !step.is_poll {
            continue;
        }
        for (key, polled) in &step.polls {
            let highest = of_process.entry(*key).or_insert(-1);
            *highest = polled.iter().map(|(offset, _)| *offset).fold(*highest, i64::max);
        }
        let time = steps.start(step).time;
        for (key, offset) in of_process {
            let since = known.since(*key, offset.saturating_add(1));
            let lag = since.map_or(0, |since| (time - since).max(0));
            if worst.is_none_or(|worst| worst.lag < lag) {
                worst = Some(Lag { time, process: step.process, key: *key, lag });
            }
        }
    }
    worst
}
