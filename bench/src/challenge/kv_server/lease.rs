//! Leases: a client that holds one at a time, and the promises to it.
//!
//! * *Never early*: from the moment at which a client asked for a lease, or gave a sign of life,
//!   it lives for its time, if the client was answered.
//! * *With its key*: the key that is attached to it is there as long as the lease, and no longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use crate::check::{Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType, pairs};
use crate::load::client::{Answer, Completion, Errors, Step};
use crate::load::{Client, Invocation};

/// The name of the operations; their value is an id that no other operation has.
pub(super) const LEASE: &str = "lease";
/// How long a lease lives, in seconds.
const SECONDS: i64 = 3;

/// Holds a lease until it is seen to be gone, and looks at those of other clients.
pub(super) struct LeaseClient {
    /// The lease that it was told it has. One that may have been granted is not counted.
    held: Option<i64>,
    /// The lease that the operation under way is about.
    lease: i64,
    /// The lease that any client was promised last.
    latest: Arc<AtomicI64>,
    /// How much faster than time a server's clock may run.
    skew: f64,
    asked: &'static str,
}

impl LeaseClient {
    pub(super) fn new(skew: f64, latest: Arc<AtomicI64>) -> LeaseClient {
        LeaseClient { held: None, lease: 0, latest, skew, asked: "" }
    }
}

impl Client for LeaseClient {
    /// Asks for a lease, looks at the one that it has, or keeps it alive: then it is kept by two
    /// of three operations. Or it looks at the one that another client has.
    fn invoke(&mut self, op: &Invocation) -> Step {
        let new = op.value.as_int().unwrap_or(0);
        let latest = self.latest.load(Ordering::Relaxed);
        if new % 4 == 1 && latest != 0 {
            (self.asked, self.lease) = ("look", latest);
            return Step::request(&json!({"type": "look", LEASE: latest}));
        }
        self.asked = match self.held {
            None => "hold",
            Some(_) if new % 3 == 0 => "look",
            Some(_) => "keep",
        };
        let lease = self.held.unwrap_or(new);
        self.lease = lease;
        match self.asked {
            "hold" => Step::request(&json!({"type": "hold", LEASE: lease, "seconds": SECONDS})),
            asked => Step::request(&json!({"type": asked, LEASE: lease})),
        }
    }

    fn reply(&mut self, _op: &Invocation, body: &Answer) -> Result<Step, String> {
        let lease = self.lease;
        // By a clock that is too fast the time is over sooner.
        let promised = (SECONDS as f64 * 1e9 / (1.0 + self.skew)) as i64;
        let mut value = vec![Edn::keyword(self.asked), Edn::Int(lease)];
        let is_gone = match self.asked {
            "hold" => {
                body.expect("hold_ok", &[])?;
                value.push(Edn::Int(promised));
                false
            }
            "keep" => {
                body.expect("keep_ok", &["left"])?;
                let left = body.edn("left");
                value.push(if left.is_nil() { Edn::Nil } else { Edn::Int(promised) });
                left.is_nil()
            }
            _ => {
                body.expect("look_ok", &["lease", "key"])?;
                let is_there = body.edn("lease");
                value.extend([is_there.clone(), body.edn("key")]);
                is_there.as_bool() == Some(false)
            }
        };
        if self.asked != "look" || self.held == Some(lease) {
            self.held = (!is_gone).then_some(lease);
        }
        if self.asked != "look" && !is_gone {
            self.latest.store(lease, Ordering::Relaxed);
        }
        Ok(Step::Complete(Completion::ok(Edn::Vector(value))))
    }

    fn errors(&self, _op: &Invocation) -> Errors {
        match self.asked {
            "hold" => Errors::Handled,
            _ => Errors::Idempotent,
        }
    }
}

/// Judges the leases of a history.
pub(super) fn check(history: &[Op]) -> Outcome {
    let all = match pairs(history) {
        Ok(all) => all,
        Err(why) => return Outcome::unknown(why),
    };
    // Each lease: until when it was promised to live, and by which operation.
    let mut promised: BTreeMap<i64, (i64, usize)> = BTreeMap::new();
    let (mut promises, mut ends) = (0, 0);
    for pair in all.iter().filter(|pair| pair.invoke.f == LEASE) {
        let Some(op) = pair.completion.filter(|op| op.kind == OpType::Ok) else { continue };
        let parts = op.value.as_seq().unwrap_or_default();
        let (Some(what), Some(lease)) =
            (parts.first().and_then(Edn::as_text), parts.get(1).and_then(Edn::as_int))
        else {
            return Outcome::unknown(format!("operation {} tells of no lease", op.index));
        };
        if what == "look" && parts.get(2) != parts.get(3) {
            return Outcome::invalid(format!(
                "operation {} saw lease {lease} without its key, or the key without it",
                op.index
            ));
        }
        let nanos = parts.get(2).and_then(Edn::as_int);
        let is_gone = match what {
            "look" => parts.get(2).and_then(Edn::as_bool) == Some(false),
            _ => nanos.is_none(),
        };
        let known = promised.get(&lease).copied();
        if let Some((until, by)) = known.filter(|(until, _)| is_gone && op.time < *until) {
            return Outcome::invalid(format!(
                "operation {} found lease {lease} gone at {} ns, and operation {by} was promised \
                 that it lives until {until} ns",
                op.index, op.time
            ));
        }
        ends += i64::from(is_gone);
        if let Some(nanos) = nanos {
            promises += 1;
            let until = pair.invoke.time + nanos;
            let known = promised.entry(lease).or_insert((until, op.index));
            *known = (*known).max((until, op.index));
        }
    }
    Outcome::new(Verdict::Valid, [("promises", Edn::Int(promises)), ("ends", Edn::Int(ends))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    fn is_valid(rest: &str) -> bool {
        let history = format!(
            "{{:type :invoke :process 0 :f :lease :value 5 :time 1000}}
             {{:type :ok :process 0 :f :lease :value [:hold 5 3000] :time 1900}}
             {rest}"
        );
        check(&from_text(&history).unwrap()).verdict == Verdict::Valid
    }

    #[test]
    fn a_lease_lives_as_long_as_it_was_promised() {
        let look = |time: i64, found: &str| {
            format!(
                "{{:type :invoke :process 0 :f :lease :value 6 :time 2000}}
                 {{:type :ok :process 0 :f :lease :value [:look 5 {found}] :time {time}}}"
            )
        };
        assert!(is_valid(&look(3999, "true true")) && is_valid(&look(4000, "false false")));
        assert!(!is_valid(&look(3999, "false false")));
        assert!(!is_valid(&look(4000, "false true")) && !is_valid(&look(3999, "true false")));
        let keep = |left: &str, time: i64| {
            format!(
                "{{:type :invoke :process 0 :f :lease :value 7 :time 3000}}
                 {{:type :ok :process 0 :f :lease :value [:keep 5 {left}] :time {time}}}"
            )
        };
        assert!(is_valid(&keep("nil", 4000)) && !is_valid(&keep("nil", 3999)));
        let then = format!("{}\n{}", keep("3000", 3500), look(5000, "false false"));
        assert!(!is_valid(&then), "the sign of life was answered");
    }
}
