//! Many independent objects in one history: values are tuples `[key value]`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::judge::{judge, operations};
use super::model::Register;
use super::object::Object;
use crate::check::{Finding, Outcome, Verdict, quote};
use crate::edn::Edn;
use crate::history::{Op, Pair};

/// Histories of fewer events are not worth a thread.
const PARALLEL_FROM: usize = 20_000;

/// Judges a lin-kv history: for each key, a register with compare-and-set.
pub fn check_lin_kv(history: &[Op]) -> Outcome {
    let keys = match operations(history).and_then(|pairs| split(&pairs)) {
        Ok(keys) => keys,
        Err(why) => return Outcome::unknown(why),
    };
    let (mut verdict, mut unknown) = (Verdict::Valid, None);
    let (mut results, mut failures, mut story) = (Vec::new(), Vec::new(), None);
    let is_large = history.len() >= PARALLEL_FROM;
    for (key, result) in judge_all(&keys.into_iter().collect::<Vec<_>>(), is_large) {
        // One story fits on a screen: the first one of the worst verdict.
        if result.verdict > verdict {
            (verdict, story) = (result.verdict, result.story.clone());
        }
        if let Some(finding) = result.findings.first().filter(|_| result.verdict != Verdict::Valid)
        {
            unknown
                .get_or_insert_with(|| Finding::new(format!("{}: {}", quote(key), finding.text)));
        }
        // Unknown is no failure here, as in jepsen.independent.
        if result.verdict == Verdict::Invalid {
            failures.push(key.clone());
        }
        let both = [
            ("linearizable", result.to_edn()),
            ("timeline", Edn::map([("valid?", Edn::Bool(true))])),
            ("valid?", result.verdict.to_edn()),
        ];
        results.push((key.clone(), Edn::map(both)));
    }
    let finding = Finding::listed("not linearizable: keys", &failures).or(unknown);
    let details = [("results", Edn::Map(results)), ("failures", Edn::Vector(failures))];
    Outcome { story, ..Outcome::new(verdict, details).with(finding) }
}

/// The operations on one key.
type Keyed<'h> = (&'h Edn, Vec<Pair<'h>>);

/// Judges the keys, in their order. Each is judged alone, so that the results depend
/// neither on the number of threads nor on which of them is first.
fn judge_all<'h>(keys: &[Keyed<'h>], is_large: bool) -> Vec<(&'h Edn, Outcome)> {
    let judged = |(key, pairs): &Keyed<'h>| {
        let object = Object::new(Box::new(Register::with_cas()), pairs, true);
        (*key, judge(object, &format!("key {key}")))
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if is_large { cores.min(keys.len()) } else { 1 };
    if threads < 2 {
        return keys.iter().map(judged).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<OnceLock<(&Edn, Outcome)>> = keys.iter().map(|_| OnceLock::new()).collect();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((keyed, result)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    keys.get(at).zip(results.get(at))
                } {
                    result.get_or_init(|| judged(keyed));
                }
            });
        }
    });
    let results = results.into_iter().zip(keys);
    results.map(|(result, keyed)| result.into_inner().unwrap_or_else(|| judged(keyed))).collect()
}

/// The operations on each key, in the order of keys.
fn split<'h>(pairs: &[Pair<'h>]) -> Result<BTreeMap<&'h Edn, Vec<Pair<'h>>>, String> {
    let mut keys: BTreeMap<&Edn, Vec<Pair<'h>>> = BTreeMap::new();
    for pair in pairs {
        let key = key_of(pair.invoke)?;
        if pair.completion.map_or(Ok(key), key_of)? != key {
            let index = pair.invoke.index;
            return Err(format!("malformed history: operation {index} completed on another key"));
        }
        keys.entry(key).or_default().push(*pair);
    }
    Ok(keys)
}

fn key_of(op: &Op) -> Result<&Edn, String> {
    match op.value.as_seq() {
        Some([key, _]) => Ok(key),
        _ => Err(format!(
            "malformed history: operation {} has no value [key value]. A history of one object is \
             judged with --model, for instance --model cas-register",
            op.index
        )),
    }
}
