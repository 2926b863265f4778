//! The operations of clients that share locks.

use serde_json::{Value, json};

use crate::edn::Edn;
use crate::load::client::{Answer, Client, Completion, Errors, Step, json_from_edn, list_field};
use crate::load::{Ask, Invocation, Load, Next};

/// Locks that are in use at a time, and elements of a list before another one takes its place.
const LOCKS: i64 = 2;
const ELEMENTS: i64 = 100;
/// How long a holder takes between its read and its write, at most, in milliseconds.
const HOLD_MS: i64 = 100;
/// How likely a holder is held up for longer than its lease of 2 s, where there are pauses: its
/// garbage is collected, its machine is moved. And how long, in milliseconds.
const HELD_UP: f64 = 0.03;
const HELD_UP_MS: (i64, i64) = (2200, 3500);

/// The load: mostly additions.
pub(super) struct LockLoad {
    elements: i64,
    pauses: bool,
}

impl LockLoad {
    /// The load of a run; `pauses` stop clients, too.
    pub(super) fn new(pauses: bool) -> LockLoad {
        LockLoad { elements: 0, pauses }
    }
}

impl Load for LockLoad {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let lock = LOCKS * (self.elements / (LOCKS * ELEMENTS)) + self.elements % LOCKS;
        if ask.draw.chance(0.1) {
            return Next::Invoke(ask.any(), Invocation::new("read", Edn::vector([lock])));
        }
        let mut add = Invocation::new("add", Edn::vector([lock, self.elements]));
        let hold_ms = match self.pauses && ask.draw.chance(HELD_UP) {
            true => ask.draw.between(HELD_UP_MS.0, HELD_UP_MS.1),
            false => ask.draw.between(0, HOLD_MS),
        };
        add.extra.push(("hold-ms".into(), Edn::Int(hold_ms)));
        self.elements += 1;
        Next::Invoke(ask.any(), add)
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(LockClient)
    }
}

struct LockClient;

impl Client for LockClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        let value = op.value.as_seq().unwrap_or_default();
        let part = |at: usize| value.get(at).map_or(Value::Null, json_from_edn);
        let hold = op.extra.iter().find(|(name, _)| name == "hold-ms");
        let hold_ms = hold.and_then(|(_, ms)| ms.as_int()).unwrap_or_default();
        Step::request(&match op.f.as_str() {
            "add" => {
                json!({"type": "add", "lock": part(0), "element": part(1), "hold_ms": hold_ms})
            }
            _ => json!({"type": "read", "lock": part(0)}),
        })
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        if op.f == "add" {
            body.expect("add_ok", &["token", "before"])?;
            let mut completion = Completion::ok(op.value.clone());
            completion.extra.push(("token".into(), body.edn("token")));
            completion.extra.push(("before".into(), list_field(body, "before")?));
            return Ok(Step::Complete(completion));
        }
        body.expect("read_ok", &["value"])?;
        let lock = op.value.as_seq().and_then(|value| value.first()).cloned();
        let value = Edn::vector([lock.unwrap_or(Edn::Nil), list_field(body, "value")?]);
        Ok(Step::Complete(Completion::ok(value)))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        if op.f == "read" { Errors::Idempotent } else { Errors::Handled }
    }
}
