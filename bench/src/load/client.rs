//! How an operation becomes requests, and replies become a completion.
//!
//! Maelstrom's rules: a reply must hold exactly the documented fields, or it is a
//! malformed response and the operation's fate is unknown; a definite error means
//! `fail`; an indefinite one or a timeout means `info`, or `fail` for operations
//! that change nothing and are declared idempotent. Some clients (g-set, counters) do not
//! look at errors at all: there, any error is `info`.

use compact_str::CompactString;
use serde::Serialize;
use serde_json::json;

pub use super::answer::{Answer, Refusal};
use super::op::Invocation;
use crate::edn::Edn;
use crate::history::OpType;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// `Ok`, `Fail` or `Info`.
    pub kind: OpType,
    /// The result; the invocation's value if there is none.
    pub value: Edn,
    /// Why it did not succeed.
    pub error: Option<Edn>,
    /// Further keys of the record, besides those of the invocation.
    pub extra: Vec<(CompactString, Edn)>,
}

impl Completion {
    /// It happened, with this result.
    pub fn ok(value: Edn) -> Completion {
        Completion { kind: OpType::Ok, value, error: None, extra: Vec::new() }
    }

    /// It ended as `kind` for this reason.
    pub fn because(kind: OpType, op: &Invocation, error: Edn) -> Completion {
        Completion { kind, value: op.value.clone(), error: Some(error), extra: Vec::new() }
    }
}

/// The next step of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send this body (without `msg_id`) to the worker's node and await the reply.
    Request(String),
    /// The operation is over.
    Complete(Completion),
}

impl Step {
    /// Sends `body`, which must be a JSON object.
    pub fn request(body: &impl Serialize) -> Step {
        Step::Request(serde_json::to_string(body).expect("bodies are plain data"))
    }
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// A reply.
    Body(&'a Answer),
    /// An error of the protocol.
    Error(&'a Refusal),
    /// Nothing within the timeout.
    Timeout,
}

/// One worker's connection: it carries out one operation at a time.
pub trait Client {
    /// Begins an operation.
    fn invoke(&mut self, op: &Invocation) -> Step;

    /// A reply (of any kind but an error) has come.
    ///
    /// # Errors
    /// The difference from the reply that the protocol documents, if there is one.
    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String>;

    /// How errors of this operation are understood.
    fn errors(&self, op: &Invocation) -> Errors;
}

/// A client whose requests are `{"type": F, FIELD: VALUE}` for the operation `F` on `VALUE`, and
/// whose answers are `{"type": "F_ok"}`.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The name of the field that holds the operation's value.
    pub field: &'static str,
}

impl Client for Acknowledged {
    fn invoke(&mut self, op: &Invocation) -> Step {
        Step::request(&json!({"type": op.f.as_str(), (self.field): json_from_edn(&op.value)}))
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        body.expect(&format!("{}_ok", op.f), &[])?;
        Ok(Step::Complete(Completion::ok(op.value.clone())))
    }

    fn errors(&self, _op: &Invocation) -> Errors {
        Errors::Handled
    }
}

/// How a client understands errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// It does not: whatever is no success is unknown.
    Unhandled,
    /// Definite errors are failures, others are unknown.
    Handled,
    /// As the operation changes nothing, every error is a failure.
    Idempotent,
}

/// Hands the reply to the client, and turns errors into completions.
pub fn proceed(client: &mut dyn Client, op: &Invocation, reply: &Reply<'_>) -> Step {
    let errors = client.errors(op);
    let unless_idempotent = if errors == Errors::Idempotent { OpType::Fail } else { OpType::Info };
    let completion = match reply {
        Reply::Body(body) => match client.reply(op, body) {
            Ok(step) => return step,
            Err(why) => {
                let error =
                    Edn::Vector(vec![Edn::keyword("malformed-rpc-response"), Edn::str(why)]);
                Completion::because(OpType::Info, op, error)
            }
        },
        Reply::Timeout => {
            let kind = if errors == Errors::Unhandled { OpType::Info } else { unless_idempotent };
            Completion::because(kind, op, Edn::keyword("net-timeout"))
        }
        Reply::Error(error) => {
            let kind = match errors {
                Errors::Unhandled => OpType::Info,
                _ if error.is_definite => OpType::Fail,
                _ => unless_idempotent,
            };
            Completion::because(kind, op, tell(error))
        }
    };
    Step::Complete(completion)
}

/// An error as Maelstrom writes it: `[:precondition-failed "..."]`.
fn tell(error: &Refusal) -> Edn {
    Edn::Vector(vec![Edn::keyword(error.name), error.text.clone()])
}

/// The list in a field of a reply; null is the empty list, as the nil slices of Go and
/// Maelstrom's schemas have it.
///
/// # Errors
/// If the field is something else.
pub fn list_field(body: &Answer, name: &str) -> Result<Edn, String> {
    let list = body.edn(name);
    let fine = list.is_nil() || list.as_seq().is_some();
    if fine { Ok(list) } else { Err(format!("{name} is not an array")) }
}

/// An integer, string, nil or vector as JSON; generators produce no other values.
pub fn json_from_edn(value: &Edn) -> serde_json::Value {
    match value {
        Edn::Bool(b) => json!(b),
        Edn::Int(i) => json!(i),
        Edn::Float(f) => json!(f),
        Edn::Str(s) | Edn::Keyword(s) => json!(s.as_str()),
        Edn::Vector(items) | Edn::List(items) => items.iter().map(json_from_edn).collect(),
        _ => serde_json::Value::Null,
    }
}
