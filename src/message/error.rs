//! Refusals: the protocol's error codes, and which of them are promises.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An error code of the protocol (Maelstrom's `doc/protocol.md`, "Errors").
/// Codes from 1000 on are an author's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The operation timed out; it may or may not have happened.
    pub const TIMEOUT: ErrorCode = ErrorCode(0);
    /// The addressee does not exist.
    pub const NODE_NOT_FOUND: ErrorCode = ErrorCode(1);
    /// This node does not know this type of request.
    pub const NOT_SUPPORTED: ErrorCode = ErrorCode(10);
    /// Not now, and certainly not later because of this request.
    pub const TEMPORARILY_UNAVAILABLE: ErrorCode = ErrorCode(11);
    /// The request does not have the documented form.
    pub const MALFORMED_REQUEST: ErrorCode = ErrorCode(12);
    /// Something broke; the operation may or may not have happened.
    pub const CRASH: ErrorCode = ErrorCode(13);
    /// The operation was given up and will never happen.
    pub const ABORT: ErrorCode = ErrorCode(14);
    /// No such key.
    pub const KEY_DOES_NOT_EXIST: ErrorCode = ErrorCode(20);
    /// The key is there already.
    pub const KEY_ALREADY_EXISTS: ErrorCode = ErrorCode(21);
    /// The key's value is not the expected one.
    pub const PRECONDITION_FAILED: ErrorCode = ErrorCode(22);
    /// The transaction conflicts with another and was aborted.
    pub const TXN_CONFLICT: ErrorCode = ErrorCode(30);
    /// This node is not a member of the cluster (proposed extension).
    pub const NOT_A_MEMBER: ErrorCode = ErrorCode(40);

    /// Whether the code promises that the operation did not and never will happen.
    pub const fn is_definite(self) -> bool {
        matches!(self.0, 1 | 10 | 11 | 12 | 14 | 20 | 21 | 22 | 30 | 40)
    }

    /// The protocol's name of the code, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "timeout",
            1 => "node-not-found",
            10 => "not-supported",
            11 => "temporarily-unavailable",
            12 => "malformed-request",
            13 => "crash",
            14 => "abort",
            20 => "key-does-not-exist",
            21 => "key-already-exists",
            22 => "precondition-failed",
            30 => "txn-conflict",
            40 => "not-a-member",
            _ => return None,
        })
    }
}

/// A refusal: a code for programs and a text for people. A value, not a failure
/// of the node that sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// The kind of refusal.
    pub code: ErrorCode,
    /// Why, for people.
    #[serde(default)]
    pub text: String,
}

/// The longest explanation of a refusal, in bytes. Some quote a client's request, and a
/// refusal is kept, replicated and sent like any other answer.
const TEXT_BYTES_MAX: usize = 512;

impl RpcError {
    /// A refusal with `code`, explained by `text`, of which at most 512 bytes are kept.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> RpcError {
        let text = text.into();
        let text = match text.len() > TEXT_BYTES_MAX {
            true => brief(&text, TEXT_BYTES_MAX).into_owned(),
            false => text,
        };
        RpcError { code, text }
    }
}

/// `text`, or its first bytes, at most `max_bytes` of them, and how many are left out.
pub fn brief(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let head = &text[..text.floor_char_boundary(max_bytes)];
    Cow::Owned(format!("{head}... ({} bytes more)", text.len() - head.len()))
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.name() {
            Some(name) => write!(f, "{name} ({}): {}", self.code.0, self.text),
            None => write!(f, "error {}: {}", self.code.0, self.text),
        }
    }
}

impl std::error::Error for RpcError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(brief("ä", 2), "ä");
        assert_eq!(brief("aäb", 2), "a... (3 bytes more)");
        let error = RpcError::new(ErrorCode::ABORT, "x".repeat(3 << 20));
        assert!(error.text.len() < 600 && error.text.ends_with("(3145216 bytes more)"));
    }
}
