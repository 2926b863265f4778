//! The operations of clients that hold leases.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::edn::Edn;
use crate::history::OpType;
use crate::load::client::{Answer, Client, Completion, Errors, Step, json_from_edn, list_field};
use crate::load::{Ask, Invocation, Load, Next};

/// Leases in use at a time.
const POOL: usize = 30;
/// The shortest time that is asked for, in seconds: etcd grants no shorter one by default.
const TTL_S: i64 = 2;
/// Operations of the last phase: each asks for all leases that are left.
const LAST: usize = 3;

/// The load: mostly reads. Leases with odd numbers are never renewed, so that they expire.
#[derive(Default)]
pub(super) struct LeaseLoad {
    granted: i64,
    pool: VecDeque<i64>,
    last: usize,
}

impl LeaseLoad {
    fn grant(&mut self) -> Invocation {
        self.granted += 1;
        Invocation::new("grant", Edn::vector([self.granted, TTL_S + self.granted % 2]))
    }
}

impl Load for LeaseLoad {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let chance = ask.draw.unit();
        let leases: Vec<i64> = self.pool.iter().copied().collect();
        if chance < 0.05 || leases.is_empty() {
            return Next::Invoke(ask.any(), self.grant());
        }
        let lease = *ask.draw.pick(&leases);
        let f = match chance {
            ..0.10 if lease % 10 == 0 => "revoke",
            ..0.40 if lease % 2 == 0 => "renew",
            _ => "read",
        };
        Next::Invoke(ask.any(), Invocation::new(f, Edn::vector([lease])))
    }

    fn next_last(&mut self, ask: &mut Ask<'_>) -> Next {
        if self.last == LAST {
            return Next::Done;
        }
        self.last += 1;
        Next::Invoke(ask.any(), Invocation::new("survivors", Edn::Nil).last())
    }

    fn has_last_phase(&self) -> bool {
        true
    }

    fn completed(&mut self, _worker: usize, op: &Invocation, completion: &Completion) {
        let lease = op.value.as_seq().and_then(|value| value.first()?.as_int());
        if let ("grant", OpType::Ok, Some(lease)) = (op.f.as_str(), completion.kind, lease) {
            self.pool.push_back(lease);
            if self.pool.len() > POOL {
                self.pool.pop_front();
            }
        }
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(LeaseClient)
    }
}

struct LeaseClient;

/// The field of an answer that is added to the record: the seconds that a lease has now (0: there
/// is none), or how many of its keys are there.
fn field(f: &str) -> &'static str {
    if f == "read" { "keys" } else { "ttl" }
}

impl Client for LeaseClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        let value = op.value.as_seq().unwrap_or_default();
        let part = |at: usize| value.get(at).map_or(Value::Null, json_from_edn);
        Step::request(&match op.f.as_str() {
            "grant" => json!({"type": "grant", "lease": part(0), "ttl": part(1)}),
            "survivors" => json!({"type": "survivors"}),
            f => json!({"type": f, "lease": part(0)}),
        })
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        let f = op.f.as_str();
        if f == "survivors" {
            body.expect("survivors_ok", &["leases"])?;
            return Ok(Step::Complete(Completion::ok(list_field(body, "leases")?)));
        }
        body.expect(&format!("{f}_ok"), &[field(f)])?;
        let mut completion = Completion::ok(op.value.clone());
        completion.extra.push((field(f).into(), body.edn(field(f))));
        Ok(Step::Complete(completion))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        let reads = matches!(op.f.as_str(), "read" | "survivors");
        if reads { Errors::Idempotent } else { Errors::Handled }
    }
}
