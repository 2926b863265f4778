//! Watches: a client that goes on where it ended, and the promises to it.
//!
//! Each answer is a claim: these are all events of these keys from one revision up to another. A
//! claim is *ordered* in itself. Any two that overlap must agree, whichever servers made them, so
//! events are *unique*, watches *resumable* anywhere, and the revision of an answer without
//! events a *bookmark*. And all that other operations were told they had written must be in it:
//! so events are *reliable*, and those of one transaction come together (*atomic*).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use crate::check::{Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType};
use crate::load::client::{Answer, Completion, Errors, Step};
use crate::load::{Client, Invocation};

/// The key of a completion that holds the revision of an answer.
pub(super) const REVISION: &str = "revision";
/// The name of the operations.
pub(super) const WATCH: &str = "watch";
/// The value of an operation that resumes the furthest watch of all.
const RESUME: i64 = -1;
/// The keys that are watched: all, or one kind of them.
const KEYS: [&str; 4] = ["", "register/", "list/", "held/"];
const KINDS: [&str; 3] = ["register/", "list/", "held/"];

/// Watches, from where the last answer ended.
pub(super) struct WatchClient {
    keys: usize,
    next: i64,
    /// How far any client is: a watch that was served elsewhere is resumed here.
    furthest: Arc<AtomicI64>,
}

impl WatchClient {
    /// A client that shares its knowledge of the furthest revision.
    pub(super) fn new(furthest: Arc<AtomicI64>) -> WatchClient {
        WatchClient { keys: 0, next: 0, furthest }
    }
}

impl Client for WatchClient {
    /// Goes on; or begins anew, in the past, now, or where the furthest watch of another client
    /// is, if the operation's value says so.
    fn invoke(&mut self, op: &Invocation) -> Step {
        match op.value.as_int().unwrap_or(0) {
            0 => {}
            1 => (self.keys, self.next) = ((self.keys + 1) % KEYS.len(), 0),
            RESUME => self.next = self.furthest.load(Ordering::Relaxed),
            back => self.next = (self.next - back).max(0),
        }
        let keys = KEYS[self.keys];
        Step::request(&json!({"type": WATCH, "keys": keys, "from": self.next}))
    }

    fn reply(&mut self, _op: &Invocation, body: &Answer) -> Result<Step, String> {
        body.expect("watch_ok", &[WATCH])?;
        let answer = body.edn(WATCH);
        let parts = answer.as_seq().unwrap_or_default();
        let revision = parts.get(3).and_then(Edn::as_int).ok_or("no revision")?;
        self.next = match parts[0].as_text() {
            Some("told") => revision + 1,
            // The oldest revision that can be told of.
            Some("compacted") => revision,
            _ => return Err("neither events nor a compaction".to_owned()),
        };
        self.furthest.fetch_max(self.next, Ordering::Relaxed);
        Ok(Step::Complete(Completion::ok(answer)))
    }

    fn errors(&self, _op: &Invocation) -> Errors {
        Errors::Idempotent
    }
}

/// A change as it is told: key and value, nil for a deletion.
type Change = (String, Edn);

/// The known changes of each kind of keys at each revision that was claimed.
#[derive(Default)]
struct Known {
    changes: BTreeMap<(usize, i64), (Vec<Change>, usize)>,
    claims: i64,
    events: i64,
}

/// Judges the watches of a history.
pub(super) fn check(history: &[Op]) -> Outcome {
    let mut known = Known::default();
    let is_ok = |op: &&Op| op.is_client() && op.kind == OpType::Ok;
    for op in history.iter().filter(is_ok).filter(|op| op.f == WATCH) {
        if let Err(why) = known.claim(op) {
            return Outcome::invalid(format!("operation {}: {why}", op.index));
        }
    }
    for op in history.iter().filter(is_ok) {
        if let Err(why) = known.demand(op) {
            return Outcome::invalid(why);
        }
    }
    let counts = [("claims", known.claims), ("events", known.events)];
    Outcome::new(Verdict::Valid, counts.map(|(name, count)| (name, Edn::Int(count))))
}

impl Known {
    /// Takes up an answer.
    fn claim(&mut self, op: &Op) -> Result<(), String> {
        let parts = op.value.as_seq().unwrap_or_default();
        let number = |place: usize| parts.get(place).and_then(Edn::as_int);
        let text = |place: usize| parts.get(place).and_then(Edn::as_text);
        let (Some(what), Some(keys), Some(from), Some(revision)) =
            (text(0), text(1), number(2), number(3))
        else {
            return Err("it is no answer to a watch".to_owned());
        };
        if what == "compacted" {
            return match from < revision {
                true => Ok(()),
                false => Err(format!("{from} is not compacted by a compaction at {revision}")),
            };
        }
        let mut told: BTreeMap<(usize, i64), Vec<Change>> = BTreeMap::new();
        let mut last = from;
        for event in parts.get(4).and_then(Edn::as_seq).unwrap_or_default() {
            let (at, kind, change) = read(event).ok_or("it holds something else than events")?;
            if at < last || at > revision {
                return Err(format!("revision {at} after {last}, in an answer up to {revision}"));
            }
            if !keys.is_empty() && keys != KINDS[kind] {
                return Err(format!("{} is told to a watch of {keys}", change.0));
            }
            last = at;
            let changes = told.entry((kind, at)).or_default();
            if changes.iter().any(|(key, _)| *key == change.0) {
                return Err(format!("{} is told twice at revision {at}", change.0));
            }
            changes.push(change);
            self.events += 1;
        }
        self.claims += 1;
        let watched = (0..KINDS.len()).filter(|kind| keys.is_empty() || keys == KINDS[*kind]);
        for kind in watched {
            for at in from..=revision {
                let changes = told.remove(&(kind, at)).unwrap_or_default();
                let (first, by) =
                    self.changes.entry((kind, at)).or_insert_with(|| (changes.clone(), op.index));
                if *first != changes {
                    let kind = KINDS[kind];
                    return Err(format!(
                        "at revision {at} of {kind} it tells {changes:?}, and operation {by} {first:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Looks for the changes that an operation was told it had made.
    fn demand(&self, op: &Op) -> Result<(), String> {
        let revision = op.extra.iter().find(|(name, _)| name == REVISION);
        let Some(revision) = revision.and_then(|(_, value)| value.as_int()) else { return Ok(()) };
        let Some((kind, made)) = made(op) else { return Ok(()) };
        let Some((changes, by)) = self.changes.get(&(kind, revision)) else { return Ok(()) };
        let keys: BTreeSet<&String> = changes.iter().map(|(key, _)| key).collect();
        let is_told = made.len() == keys.len()
            && made.iter().all(|(key, values)| {
                let told = changes.iter().find(|(told, _)| told == key).map(|(_, value)| value);
                told.is_some_and(|told| ends_with(told, values, kind))
            });
        if is_told {
            return Ok(());
        }
        Err(format!(
            "operation {} made {made:?} at revision {revision}, of which operation {by} tells \
             {changes:?}",
            op.index
        ))
    }
}

/// An event: revision, kind of key, change.
fn read(event: &Edn) -> Option<(i64, usize, Change)> {
    let [revision, key, value] = event.as_seq()? else { return None };
    let key = key.as_text()?;
    let kind = KINDS.iter().position(|kind| key.starts_with(kind))?;
    Some((revision.as_int()?, kind, (key.to_owned(), value.clone())))
}

/// The keys that an operation changed, and what it wrote to each: a value, or elements at the end
/// of a list. `None` if it changed nothing, or a register that may not have been there.
fn made(op: &Op) -> Option<(usize, BTreeMap<String, Vec<Edn>>)> {
    let name = |kind: &str, key: &Edn| format!("{kind}{}", key.to_json());
    let mut made: BTreeMap<String, Vec<Edn>> = BTreeMap::new();
    match op.f.as_str() {
        "write" | "cas" => {
            let [key, value] = op.value.as_seq()? else { return None };
            let value = match op.f.as_str() {
                "cas" => value.as_seq()?.get(1)?,
                _ => value,
            };
            made.insert(name(KINDS[0], key), vec![value.clone()]);
            (!value.is_nil()).then_some((0, made))
        }
        "txn" => {
            for mop in op.value.as_seq()? {
                let [f, key, value] = mop.as_seq()? else { return None };
                if f.as_text() == Some("append") {
                    made.entry(name(KINDS[1], key)).or_default().push(value.clone());
                }
            }
            (!made.is_empty()).then_some((1, made))
        }
        _ => None,
    }
}

fn ends_with(told: &Edn, values: &[Edn], kind: usize) -> bool {
    match kind {
        0 => values == std::slice::from_ref(told),
        _ => told.as_seq().is_some_and(|list| list.ends_with(values)),
    }
}

/// The requests to a watch: to go on, to begin anew, to go back, or to resume another client's.
pub(super) fn invocation(draw: usize, back: usize) -> Invocation {
    let value = match draw {
        0 => 1,
        1 => 2 + back as i64,
        2 => RESUME,
        _ => 0,
    };
    Invocation::new(WATCH, Edn::Int(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    fn is_valid(claims: &[&str]) -> bool {
        let mut history = String::from(
            "{:type :invoke :process 0 :f :write :value [1 5]}
             {:type :ok :process 0 :f :write :value [1 5] :revision 7}
             {:type :invoke :process 0 :f :txn :value [[:append 3 1] [:append 4 2]]}
             {:type :ok :process 0 :f :txn :value [[:append 3 1] [:append 4 2]] :revision 8}",
        );
        for claim in claims {
            history.push_str(&format!(
                "\n{{:type :invoke :process 1 :f :watch :value 0}}
                 {{:type :ok :process 1 :f :watch :value {claim}}}"
            ));
        }
        check(&from_text(&history).unwrap()).verdict == Verdict::Valid
    }

    const TXN: &str = r#"[8 "list/3" [0 1]] [8 "list/4" [2]]"#;
    const WRITE: &str = r#"[7 "register/1" 5]"#;

    fn claim(keys: &str, from: i64, upto: i64, events: &str) -> String {
        format!("[\"told\" \"{keys}\" {from} {upto} [{events}]]")
    }

    #[test]
    fn what_is_told_is_all_that_happened_in_order() {
        let all = format!("{WRITE} {TXN}");
        assert!(is_valid(&[&claim("", 5, 9, &all)]));
        assert!(is_valid(&[&claim("register/", 5, 9, WRITE), &claim("list/", 8, 8, TXN)]));
        assert!(is_valid(&[&claim("", 5, 6, ""), &claim("list/", 5, 7, "")]));
        // Missing, parted, out of order, twice, of another kind, another value.
        assert!(!is_valid(&[&claim("", 5, 9, TXN)]));
        assert!(!is_valid(&[&claim("", 5, 9, &format!("{WRITE} [8 \"list/3\" [0 1]]"))]));
        assert!(!is_valid(&[&claim("", 5, 9, &format!("{TXN} {WRITE}"))]));
        assert!(!is_valid(&[&claim("", 5, 9, &format!("{WRITE} {WRITE} {TXN}"))]));
        assert!(!is_valid(&[&claim("list/", 5, 9, &all)]));
        assert!(!is_valid(&[&claim("register/", 5, 9, r#"[7 "register/1" 6]"#)]));
    }

    #[test]
    fn watches_of_different_servers_tell_the_same() {
        let held = |value: &str| claim("held/", 9, 9, &format!("[9 \"held/1\" {value}]"));
        assert!(is_valid(&[&held("1"), &held("1")]) && !is_valid(&[&held("1"), &held("nil")]));
        assert!(!is_valid(&[&held("1"), &claim("", 9, 12, "")]), "a bookmark beyond an event");
        assert!(is_valid(&[r#"["compacted" "" 3 4]"#]) && !is_valid(&[r#"["compacted" "" 4 4]"#]));
    }
}
