//! The contract of a replicated state machine.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::message::RpcError;

/// A deterministic machine, which is replicated. Two that apply the same commands in
/// the same order must give the same answers; so no clock, no randomness, no address
/// of anything may decide.
pub trait StateMachine {
    /// Carries out a command. A refusal is an answer too.
    fn apply(&mut self, command: &RawValue) -> Answer;
    /// Returns the answer of [`StateMachine::apply`] to `command`, if it would change nothing
    /// at present: then it may be answered like a query, without a place in the log.
    /// `None` if it would, or if that cannot be told cheaply.
    fn idle_answer(&self, _command: &RawValue) -> Option<Answer> {
        None
    }
    /// Whether [`StateMachine::idle_answer`] ever gives an answer. The same on all nodes.
    const HAS_IDLE_COMMANDS: bool = false;
    /// Answers without changing anything.
    fn query(&self, query: &RawValue) -> Answer;
    /// Everything, as bytes.
    fn snapshot(&self) -> Vec<u8>;
    /// Takes on the state that [`StateMachine::snapshot`] saw.
    ///
    /// # Errors
    /// Says why the bytes are no snapshot.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

/// The body of a reply, as it is sent to the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answer(pub(super) Box<RawValue>);

impl Answer {
    /// The answer with this body, an object with a `type`.
    pub fn new(body: &impl Serialize) -> Answer {
        Answer(to_raw_value(body).expect("answers are plain data"))
    }

    /// A refusal. The machine has decided it, so a definite code is in order.
    pub fn error(error: &RpcError) -> Answer {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(flatten)]
            error: &'a RpcError,
        }
        Answer::new(&Body { kind: "error", error })
    }

    /// The body's text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}
