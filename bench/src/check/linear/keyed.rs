//! Many independent objects in one history: values are tuples `[key value]`.

use std::collections::BTreeMap;

use super::model::Register;
use super::object::Object;
use super::{judge, operations};
use crate::check::{Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, Pair};

/// Judges a lin-kv history: for each key, a register with compare-and-set.
pub fn check_lin_kv(history: &[Op]) -> Outcome {
    let keys = match operations(history).and_then(|pairs| split(&pairs)) {
        Ok(keys) => keys,
        Err(why) => return Outcome::unknown(why),
    };
    let mut verdict = Verdict::Valid;
    let (mut results, mut failures, mut story) = (Vec::new(), Vec::new(), None);
    for (key, pairs) in keys {
        let object = Object::new(Box::new(Register::with_cas()), &pairs, true);
        let result = judge(object, &format!("key {key}"));
        // One story fits on a screen: the first one of the worst verdict.
        if result.verdict > verdict {
            (verdict, story) = (result.verdict, result.story.clone());
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
    let details = [("results", Edn::Map(results)), ("failures", Edn::Vector(failures))];
    Outcome { story, ..Outcome::new(verdict, details) }
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
        _ => Err(format!("malformed history: operation {} has no value [key value]", op.index)),
    }
}
