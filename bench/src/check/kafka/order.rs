//! Orders: the polls and sends of one process, or of one operation, must follow the log.
//!
//! *skip*: messages in between were passed over. *nonmonotonic*: a step back, or the same
//! again. With the prefix `int-` within one operation.

use std::collections::BTreeMap;

use super::cases::{Case, Cases};
use super::log::Log;
use super::read::{Key, Kind, Msg, Step, Steps};
use crate::history::OpType;

/// Per key, the step that touched it last and the last message it saw there.
type Last = BTreeMap<Key, (usize, Option<Msg>)>;

/// Finds `poll-skip`, `nonmonotonic-poll` and `nonmonotonic-send`.
pub(super) fn between_operations(steps: &Steps<'_>, log: &Log, cases: &mut Cases) {
    let mut polled: BTreeMap<u64, Last> = BTreeMap::new();
    let mut sent: BTreeMap<u64, Last> = BTreeMap::new();
    for (i, step) in steps.all.iter().enumerate() {
        if let Kind::Assign { .. } = step.kind {
            // Jepsen's: for the keys of both, a new assignment continues where the old one was.
            // Of any other key the process forgets its polls and its sends.
            if matches!(step.outcome, OpType::Ok | OpType::Info) {
                for last in [&mut polled, &mut sent] {
                    if let Some(last) = last.get_mut(&step.process) {
                        last.retain(|key, _| step.assigned.binary_search(key).is_ok());
                    }
                }
            }
            continue;
        }
        if !step.polls.is_empty() {
            let last = polled.entry(step.process).or_default();
            polls(i, step, last, log, cases);
        }
        if !step.sends.is_empty() && step.outcome != OpType::Fail {
            sends(i, step, sent.entry(step.process).or_default(), log, cases);
        }
    }
}

fn polls(i: usize, step: &Step, last: &mut Last, log: &Log, cases: &mut Cases) {
    for (key, messages) in &step.polls {
        let first = messages.first().map(|(_, msg)| *msg);
        if let (Some((before, Some(from))), Some(to)) = (last.get(key).copied(), first) {
            let delta = log.delta(Some(from), Some(to));
            let case = Case::Order { key: *key, values: [from, to], delta, ops: [before, i] };
            match delta {
                2.. => cases.add("poll-skip", case),
                ..1 => cases.add("nonmonotonic-poll", case),
                1 => {}
            }
        }
        // Jepsen's: an empty poll of a key forgets the earlier ones.
        if step.outcome == OpType::Ok {
            last.insert(*key, (i, messages.last().map(|(_, msg)| *msg)));
        }
    }
}

fn sends(i: usize, step: &Step, last: &mut Last, log: &Log, cases: &mut Cases) {
    for (key, messages) in &step.sends {
        let first = messages.first().map(|(_, msg)| *msg);
        if let (Some((before, Some(from))), Some(to)) = (last.get(key).copied(), first) {
            let delta = log.delta(Some(from), Some(to));
            if delta < 1 {
                let case = Case::Order { key: *key, values: [from, to], delta, ops: [before, i] };
                cases.add("nonmonotonic-send", case);
            }
        }
        last.insert(*key, (i, messages.last().map(|(_, msg)| *msg)));
    }
}

/// Finds `int-poll-skip`, `int-nonmonotonic-poll`, `int-send-skip` and
/// `int-nonmonotonic-send`.
pub(super) fn within_operations(steps: &Steps<'_>, log: &Log, cases: &mut Cases) {
    for (i, step) in steps.all.iter().enumerate() {
        // While keys change hands within a poll, it may jump.
        let rebalanced: &[Key] = steps.rebalanced.get(&i).map_or(&[], |keys| keys);
        for (key, messages) in &step.polls {
            if rebalanced.contains(key) {
                continue;
            }
            for pair in messages.windows(2) {
                let names = ["int-poll-skip", "int-nonmonotonic-poll"];
                neighbours(i, *key, [pair[0].1, pair[1].1], names, log, cases);
            }
        }
        if step.outcome == OpType::Fail {
            continue;
        }
        for (key, messages) in &step.sends {
            for pair in messages.windows(2) {
                let names = ["int-send-skip", "int-nonmonotonic-send"];
                neighbours(i, *key, [pair[0].1, pair[1].1], names, log, cases);
            }
        }
    }
}

fn neighbours(
    i: usize,
    key: Key,
    values: [Msg; 2],
    [skip, back]: [&'static str; 2],
    log: &Log,
    cases: &mut Cases,
) {
    let delta = log.delta(Some(values[0]), Some(values[1]));
    let case = Case::Order { key, values, delta, ops: [i, i] };
    match delta {
        2.. => cases.add(skip, case),
        ..1 => cases.add(back, case),
        1 => {}
    }
}
