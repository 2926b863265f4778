//! Realtime lag: how long a consumer has been behind, at least.
//!
//! When a poll begins, and the next message of an assigned key was known to exist before,
//! then the consumer has lagged behind by the time since.

use std::collections::BTreeMap;

use super::read::{Key, Kind, Step, Steps};
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

/// A poll: its place among the steps, and when it began.
type Poll = (usize, i64);

/// How far a consumer has come with one of its keys.
struct Position {
    /// The highest offset polled, -1 before the first.
    offset: i64,
    /// When a message behind it was first known to exist.
    since: Option<i64>,
    /// The step at which it came there.
    from: usize,
}

#[derive(Default)]
struct Consumer {
    positions: BTreeMap<Key, Position>,
    /// Keys at a position that no poll has found yet.
    fresh: Vec<Key>,
    last: Option<Poll>,
}

/// The longest lag so far, and the step and key where it was.
///
/// Jepsen looks at each key of a consumer at each of its polls. As long as the consumer stays at
/// one offset of a key the lag grows with the time of the polls, so the first and the last poll
/// of such a stay are enough: a consumer of many keys would take the square of their number.
struct Worst<'k> {
    known: &'k Known,
    found: Option<(Lag, usize)>,
}

impl Worst<'_> {
    fn look(&mut self, process: u64, key: Key, position: &Position, poll: Option<Poll>) {
        let Some((step, time)) = poll.filter(|(step, _)| *step >= position.from) else { return };
        let lag = position.since.map_or(0, |since| (time - since).max(0));
        // Of equal lags the first counts.
        let is_worse = |(worst, at): &(Lag, usize)| {
            lag > worst.lag || (lag == worst.lag && (step, key) < (*at, worst.key))
        };
        if self.found.as_ref().is_none_or(is_worse) {
            self.found = Some((Lag { time, process, key, lag }, step));
        }
    }

    fn look_at_all(&mut self, process: u64, consumer: &Consumer) {
        for (key, position) in &consumer.positions {
            self.look(process, *key, position, consumer.last);
        }
    }

    fn assign(&mut self, process: u64, consumer: &mut Consumer, at: usize, step: &Step) {
        let mut before = std::mem::take(&mut consumer.positions);
        // Jepsen's: whether a consumer that subscribes gets any of these keys is not known.
        let is_told = step.kind == Kind::Assign { subscribed: false };
        for key in step.assigned.iter().filter(|_| is_told) {
            let position = before.remove(key).unwrap_or_else(|| {
                consumer.fresh.push(*key);
                Position { offset: -1, since: self.known.since(*key, 0), from: at }
            });
            consumer.positions.insert(*key, position);
        }
        for (key, position) in &before {
            self.look(process, *key, position, consumer.last);
        }
    }

    fn poll(&mut self, process: u64, consumer: &mut Consumer, poll: Poll, step: &Step) {
        if consumer.last.is_some_and(|(_, before)| before > poll.1) {
            // The clock of this history went back, and lags with it.
            self.look_at_all(process, consumer);
        }
        for (key, polled) in &step.polls {
            let before = consumer.positions.get(key);
            let old = before.map_or(-1, |position| position.offset);
            let offset = polled.iter().map(|(offset, _)| *offset).fold(old, i64::max);
            if let Some(position) = before {
                if position.offset == offset {
                    continue;
                }
                self.look(process, *key, position, consumer.last);
            }
            let since = self.known.since(*key, offset.saturating_add(1));
            consumer.positions.insert(*key, Position { offset, since, from: poll.0 });
            consumer.fresh.push(*key);
        }
        for key in std::mem::take(&mut consumer.fresh) {
            if let Some(position) = consumer.positions.get(&key) {
                self.look(process, key, position, Some(poll));
            }
        }
        // Of polls at the same time the first counts.
        if consumer.last.is_none_or(|(_, before)| before != poll.1) {
            consumer.last = Some(poll);
        }
    }
}

fn worst(steps: &Steps<'_>) -> Option<Lag> {
    let known = Known::new(steps);
    let mut worst = Worst { known: &known, found: None };
    let mut consumers: BTreeMap<u64, Consumer> = BTreeMap::new();
    for (at, step) in steps.all.iter().enumerate() {
        let consumer = consumers.entry(step.process).or_default();
        match step.kind {
            _ if step.outcome != OpType::Ok => {}
            Kind::Assign { .. } => worst.assign(step.process, consumer, at, step),
            Kind::Work if step.is_poll => {
                worst.poll(step.process, consumer, (at, steps.start(step).time), step);
            }
            _ => {}
        }
    }
    for (process, consumer) in &consumers {
        worst.look_at_all(*process, consumer);
    }
    worst.found.map(|(lag, _)| lag)
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::check::kafka::read;
    use crate::history::{History, from_text};

    /// Jepsen's rule as it stands: each poll looks at all keys.
    fn at_each_poll(steps: &Steps<'_>) -> Option<Lag> {
        let known = Known::new(steps);
        let mut worst: Option<Lag> = None;
        let mut offsets: BTreeMap<u64, BTreeMap<Key, i64>> = BTreeMap::new();
        for step in steps.all.iter().filter(|step| step.outcome == OpType::Ok) {
            let of_process = offsets.entry(step.process).or_default();
            if let Kind::Assign { subscribed } = step.kind {
                let keys = step.assigned.iter().filter(|_| !subscribed);
                let kept = |key: &Key| (*key, of_process.get(key).copied().unwrap_or(-1));
                *of_process = keys.map(kept).collect();
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

    /// Sends, polls and assignments of three processes, with times that seldom go back.
    fn history(seed: u64) -> History {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut below = |n: u64| rng.next_u64() % n;
        let (mut text, mut time, mut sent) = (String::new(), 0, [0; 3]);
        for _ in 0..40 {
            let (process, key) = (below(3), below(3) as usize);
            time = if below(20) == 0 { time / 2 } else { time + below(5) };
            let (f, invoked, value) = match below(8) {
                0 => {
                    let keys: Vec<u64> = (0..3).filter(|_| below(2) == 0).collect();
                    let f = if below(4) == 0 { "subscribe" } else { "assign" };
                    (f, format!("{keys:?}"), format!("{keys:?}"))
                }
                1..=3 => {
                    sent[key] += 1;
                    let (offset, message) = (sent[key] - 1, sent[key]);
                    let invoked = format!("[[:send {key} {message}]]");
                    ("send", invoked, format!("[[:send {key} [{offset} {message}]]]"))
                }
                _ => {
                    let end = below(sent[key] + 1);
                    let pairs: String = (0..end).map(|n| format!("[{n} {}]", n + 1)).collect();
                    ("poll", "[[:poll]]".to_owned(), format!("[[:poll {{{key} [{pairs}]}}]]"))
                }
            };
            for (kind, value) in [("invoke", invoked), ("ok", value)] {
                text += &format!(
                    "{{:process {process} :type :{kind} :f :{f} :value {value} :time {time}}}\n"
                );
            }
        }
        from_text(&text).expect("a history")
    }

    #[test]
    fn the_ends_of_a_stay_are_enough() {
        let mut positive = 0;
        for seed in 0..2000 {
            let history = history(seed);
            let steps = read::read((&history).into()).expect("operations of kafka");
            let expected = at_each_poll(&steps);
            assert_eq!(worst(&steps), expected, "seed {seed}");
            positive += usize::from(expected.is_some_and(|lag| lag.lag > 0));
        }
        assert!(positive > 1000, "only {positive} histories have a lag");
    }
}
