//! Replies that say nothing about a workload.

use seaworthy::message::{ErrorCode, Message, RpcError};
use seaworthy::node::Context;
use serde::Serialize;

/// An answer that says nothing but its type.
#[derive(Serialize)]
pub(crate) struct Done {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Done {
    pub(crate) const fn of(kind: &'static str) -> Done {
        Done { kind }
    }
}

/// Refuses a message of a type that is not served here. A message without a `msg_id`
/// asks for no answer, and gets none.
pub(crate) fn not_supported(cx: &mut Context<'_>, message: &Message) {
    let text = format!("{} is not served here", message.body.kind);
    cx.error(&message.request(), &RpcError::new(ErrorCode::NOT_SUPPORTED, text));
}
