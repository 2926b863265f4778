//! The operations of writers and watchers.

use serde_json::json;

use crate::edn::Edn;
use crate::load::client::{Answer, Client, Completion, Errors, Step, json_from_edn};
use crate::load::{Ask, Invocation, Load, Next};

/// Keys that are written.
const KEYS: usize = 3;

/// The load: as many writes as watches.
#[derive(Default)]
pub(super) struct WatchLoad {
    next_value: i64,
}

impl Load for WatchLoad {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        if ask.draw.chance(0.5) {
            return Next::Invoke(ask.any(), Invocation::new("watch", Edn::Nil));
        }
        self.next_value += 1;
        let key = ask.draw.below(KEYS) as i64;
        let pair = Edn::vector([Edn::Int(key), Edn::Int(self.next_value)]);
        Next::Invoke(ask.any(), Invocation::new("write", pair))
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(WatchClient { from: 1 })
    }
}

/// A client that remembers how far it has watched.
struct WatchClient {
    from: i64,
}

impl Client for WatchClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        Step::request(&match op.value.as_seq() {
            Some([key, value]) => {
                json!({"type": "write", "key": json_from_edn(key), "value": json_from_edn(value)})
            }
            _ => json!({"type": "watch", "from": self.from}),
        })
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        if op.f == "write" {
            body.expect("write_ok", &["revision"])?;
            let mut completion = Completion::ok(op.value.clone());
            completion.extra.push(("revision".into(), body.edn("revision")));
            return Ok(Step::Complete(completion));
        }
        body.expect("watch_ok", &["events"])?;
        let events = body.edn("events");
        let revision = |event: &Edn| event.as_seq().and_then(|parts| parts.first()?.as_int());
        let all = events.as_seq().ok_or("events is not an array")?;
        let revisions: Option<Vec<i64>> = all.iter().map(revision).collect();
        let revisions = revisions.ok_or("an event without a revision")?;
        let value = Edn::vector([Edn::Int(self.from), events.clone()]);
        if let Some(last) = revisions.last() {
            self.from = last + 1;
        }
        Ok(Step::Complete(Completion::ok(value)))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        if op.f == "watch" { Errors::Idempotent } else { Errors::Handled }
    }
}
