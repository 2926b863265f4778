//! Messages that were lost, never seen, or seen when they should not have been.

use std::collections::BTreeMap;

use super::cases::{Case, Cases};
use super::log::Log;
use super::read::{Msg, Steps};
use crate::edn::Edn;
use crate::history::OpType;

/// Unseen messages printed for each key.
const SHOWN: usize = 32;

/// Finds `G1a`, `G1c-realtime`, `precommitted-read` and our own `phantom`.
pub(super) fn wrong_reads(steps: &Steps<'_>, log: &Log, cases: &mut Cases) {
    for (reader, step) in steps.all.iter().enumerate() {
        for (_, msg) in step.polls.iter().flat_map(|(_, polled)| polled) {
            let writer = log.message(*msg).writer;
            let case = Case::Read { msg: *msg, reader, writer };
            let Some(writer) = writer else {
                cases.add("phantom", case);
                continue;
            };
            if writer == reader {
                cases.add("precommitted-read", case);
            } else if step.outcome != OpType::Ok {
                continue;
            } else if steps.all[writer].outcome == OpType::Fail {
                cases.add("G1a", case);
            } else if steps.end(step).index < steps.start(&steps.all[writer]).index {
                cases.add("G1c-realtime", case);
            }
        }
    }
}

/// Finds `lost-write`: a message that no ok poll returned, although one returned a later one.
///
/// "Later" is judged in favour of the system: a message that was read counts at its earliest index,
/// a lost one at its last.
pub(super) fn lost_writes(steps: &Steps<'_>, log: &Log, cases: &mut Cases) {
    let mut bounds: Vec<Option<(usize, usize)>> = vec![None; steps.keys()];
    for (msg, message) in log.all() {
        if let (Some(reader), Some((first, _))) = (message.reader, message.range) {
            let bound = &mut bounds[steps.key_of(msg).0 as usize];
            if bound.is_none_or(|(highest, _)| highest < first) {
                *bound = Some((first, reader));
            }
        }
    }
    for (msg, message) in log.all() {
        let (None, Some((_, index)), Some(writer)) =
            (message.reader, message.range, message.writer)
        else {
            continue;
        };
        if let Some((bound, max_read)) = bounds[steps.key_of(msg).0 as usize]
            && index <= bound
            && log.committed(steps, writer)
        {
            cases.add("lost-write", Case::Lost { msg, index, bound, writer, max_read });
        }
    }
}

/// `:unseen`: the messages of ok sends that no ok poll returned, as counts and values
/// by key; none if all were seen.
pub(super) fn unseen(steps: &Steps<'_>, log: &Log) -> Option<Edn> {
    let mut by_key: BTreeMap<&Edn, Vec<Msg>> = BTreeMap::new();
    for (msg, message) in log.all() {
        let sent = message.writer.is_some_and(|w| steps.all[w].outcome == OpType::Ok);
        if sent && message.reader.is_none() {
            by_key.entry(steps.key(steps.key_of(msg))).or_default().push(msg);
        }
    }
    let time = steps.all.iter().map(|step| steps.end(step).time).max()?;
    let count = |(key, all): (&&Edn, &Vec<Msg>)| ((*key).clone(), Edn::from(all.len()));
    let counts = by_key.iter().map(count).collect();
    let values = |(key, all): (&&Edn, &Vec<Msg>)| {
        let values = all.iter().take(SHOWN).map(|msg| steps.value(*msg).clone());
        ((*key).clone(), Edn::List(values.collect()))
    };
    let messages = by_key.iter().map(values).collect();
    (!by_key.is_empty()).then(|| {
        Edn::map([
            ("time", Edn::Int(time)),
            ("unseen", Edn::Map(counts)),
            ("messages", Edn::Map(messages)),
        ])
    })
}
