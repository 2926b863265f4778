//! The steps of a client's request: questions to the node, and the answer.

use seaworthy::message::{Body, ErrorCode, RpcError};
use serde_json::Value;

use crate::kv::Command;
use crate::node::Request;

/// The next step of a request.
pub(super) enum Next {
    Ask(Request),
    Answer(Value),
    Refuse(RpcError),
}

/// A refusal, with a reason.
pub(super) fn refuse(code: ErrorCode, text: &str) -> RpcError {
    RpcError::new(code, text)
}

/// A field of a request.
pub(super) fn field(body: &Body, name: &str) -> Result<Value, RpcError> {
    let missing = || refuse(ErrorCode::MALFORMED_REQUEST, "a field is missing");
    let text = body.field(name).ok_or_else(missing)?.get();
    serde_json::from_str(text).map_err(|_| missing())
}

/// A command as a request to the node.
pub(super) fn command(command: &Command) -> Request {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    Request::Write(bytes)
}
