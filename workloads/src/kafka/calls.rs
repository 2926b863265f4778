//! Calls to the service, and to the node that writes a key, that are under way.

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::message::{Body, ErrorCode, NodeId, Request, RpcError};
use seaworthy::node::{Context, Token};
use seaworthy::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The service.
pub(super) const SERVICE: &str = "lin-kv";
/// How long the service may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// Before asking again a service that did not answer or refused.
const PAUSE: Duration = Duration::from_millis(100);
/// The timer that ends the pause.
const RETRY: Token = Token(0);

/// The subject of a reply that is awaited.
#[derive(Clone)]
pub(super) enum Awaited {
    /// A chunk of a log, the last one if it is known.
    Read { key: String, chunk: u64, asked: Time },
    /// A cas of a chunk.
    Cas { key: String, asked: Time },
    /// A send that another node was asked to do.
    Forward(Forwarded),
    /// Whether a node that did not answer is there again.
    Question(NodeId),
    /// A cas of this node's committed offsets.
    CommitCas,
    /// This node's committed offsets.
    CommitRead,
    /// Some node's committed offsets.
    List(u64),
}

/// A send on its way to the node that writes its key.
#[derive(Clone)]
pub(super) struct Forwarded {
    pub(super) request: Request,
    pub(super) key: String,
    pub(super) message: Box<RawValue>,
    pub(super) to: NodeId,
    /// The incarnation of the receiver that is meant; `None` if it is only a question.
    pub(super) incarnation: Option<u64>,
}

/// The calls under way.
#[derive(Default)]
pub(super) struct Calls {
    awaited: BTreeMap<u64, Awaited>,
    next_token: u64,
    /// Calls to be made again after a pause.
    stalled: Vec<Awaited>,
}

impl Calls {
    /// Expects an answer about `awaited`, and returns the token that it will carry.
    pub(super) fn expect(&mut self, awaited: Awaited) -> Token {
        self.next_token += 1;
        self.awaited.insert(self.next_token, awaited);
        Token(self.next_token)
    }

    /// Returns the subject of the reply with this token.
    pub(super) fn take(&mut self, token: Token) -> Option<Awaited> {
        self.awaited.remove(&token.0)
    }

    /// Asks again after a pause.
    pub(super) fn stall(&mut self, cx: &mut Context<'_>, awaited: Awaited) {
        self.stalled.push(awaited);
        cx.set_timer_if_unset(RETRY, PAUSE);
    }

    /// Takes the calls to be made again, now that the pause is over.
    pub(super) fn take_stalled(&mut self) -> Vec<Awaited> {
        std::mem::take(&mut self.stalled)
    }
}

/// The service's `cas`.
#[derive(Serialize)]
pub(super) struct Cas<'a, F, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    key: &'a str,
    from: F,
    to: T,
    create_if_not_exists: bool,
}

impl<'a, F, T> Cas<'a, F, T> {
    /// From one value to another; a missing key stands for any value.
    pub(super) fn new(key: &'a str, from: F, to: T) -> Cas<'a, F, T> {
        Cas { kind: "cas", key, from, to, create_if_not_exists: true }
    }
}

/// The service's `read`.
#[derive(Serialize)]
pub(super) struct Read<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    key: &'a str,
}

impl<'a> Read<'a> {
    /// The value of a key.
    pub(super) fn new(key: &'a str) -> Read<'a> {
        Read { kind: "read", key }
    }
}

/// Reads the service's answer to a `read`; `None` if the key does not exist.
///
/// # Errors
/// The service's refusal, or error 0 if it did not answer in time.
pub(super) fn value<T: for<'a> Deserialize<'a>>(
    result: Result<Body, RpcError>,
) -> Result<Option<T>, RpcError> {
    #[derive(Deserialize)]
    struct ReadOk<T> {
        value: T,
    }
    match result.and_then(|body| body.parse()) {
        Ok(ReadOk { value }) => Ok(Some(value)),
        Err(e) if e.code == ErrorCode::KEY_DOES_NOT_EXIST => Ok(None),
        Err(e) => Err(e),
    }
}
