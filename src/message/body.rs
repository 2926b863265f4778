//! Bodies: the header every message has, and the fields only some code reads.

use std::fmt;

use compact_str::CompactString;
use serde::de::value::MapDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::address::{NodeId, Request};
use super::error::{ErrorCode, RpcError};

/// The body of a message: `type`, `msg_id` and `in_reply_to` understood, the
/// other fields kept as text in the order they came.
#[derive(Clone, Debug)]
pub struct Body {
    /// The field `type`.
    pub kind: CompactString,
    /// The sender's number for this message, if it wants an answer.
    pub msg_id: Option<u64>,
    /// The `msg_id` of the request this answers.
    pub in_reply_to: Option<u64>,
    fields: Vec<(CompactString, Box<RawValue>)>,
}

impl Body {
    /// The text of one field that is not part of the header.
    pub fn field(&self, name: &str) -> Option<&RawValue> {
        self.fields.iter().find(|(k, _)| k == name).map(|(_, v)| &**v)
    }

    /// The names of the fields that are not part of the header, as they came.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Reads the fields as a `T`, borrowing from the body where `T` borrows.
    ///
    /// # Errors
    /// Error 12 (malformed request) naming the field that is missing or wrong.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, RpcError> {
        let fields = self.fields.iter().map(|(k, v)| (k.as_str(), &**v));
        T::deserialize(MapDeserializer::new(fields)).map_err(|e: serde_json::Error| {
            RpcError::new(ErrorCode::MALFORMED_REQUEST, format!("malformed {}: {e}", self.kind))
        })
    }

    /// The error this body carries, if it is an `error`.
    pub fn as_error(&self) -> Option<RpcError> {
        if self.kind != "error" {
            return None;
        }
        // An error without a code could mean anything, so it promises nothing.
        Some(self.parse().unwrap_or_else(|e| RpcError::new(ErrorCode::CRASH, e.text)))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        struct BodyVisitor;
        impl<'de> Visitor<'de> for BodyVisitor {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message body with a type")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
                let (mut kind, mut msg_id, mut in_reply_to) = (None, None, None);
                let mut fields = Vec::new();
                while let Some(key) = map.next_key::<CompactString>()? {
                    match key.as_str() {
                        "type" => kind = Some(map.next_value()?),
                        "msg_id" => msg_id = map.next_value()?,
                        "in_reply_to" => in_reply_to = map.next_value()?,
                        _ => fields.push((key, map.next_value()?)),
                    }
                }
                let kind = kind.ok_or_else(|| serde::de::Error::missing_field("type"))?;
                Ok(Body { kind, msg_id, in_reply_to, fields })
            }
        }
        deserializer.deserialize_map(BodyVisitor)
    }
}

/// The text of a body: `payload`, which must serialize to an object, with the
/// given header fields added.
///
/// # Panics
/// If `payload` does not serialize to a JSON object: a mistake in the caller.
pub fn encode(payload: &impl Serialize, msg_id: Option<u64>) -> String {
    with_header(payload, "msg_id", msg_id)
}

/// The text of an answer to the request numbered `in_reply_to`.
///
/// # Panics
/// As [`encode`].
pub fn encode_reply(payload: &impl Serialize, in_reply_to: u64) -> String {
    with_header(payload, "in_reply_to", Some(in_reply_to))
}

fn with_header(payload: &impl Serialize, name: &str, id: Option<u64>) -> String {
    let mut text = serde_json::to_string(payload).expect("payloads are plain data");
    assert!(text.starts_with('{'), "a body must be an object, not {text}");
    if let Some(id) = id {
        text.pop();
        let comma = if text.len() > 1 { "," } else { "" };
        text.push_str(comma);
        text.push('"');
        text.push_str(name);
        text.push_str("\":");
        text.push_str(&id.to_string());
        text.push('}');
    }
    text
}

/// The reason why a line failed to parse, and its sender if that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The reason, for people.
    pub reason: String,
    /// The sender and `msg_id`, if both could be made out.
    pub request: Option<Request>,
}

impl Malformed {
    /// Reads as much of a bad line as can be read. Slow, and only for bad lines.
    pub(super) fn diagnose(line: &[u8], error: &serde_json::Error) -> Malformed {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let src = value["src"].as_str().map(NodeId::new);
        let msg_id = value["body"]["msg_id"].as_u64();
        let request = match (src, msg_id) {
            (Some(src), Some(_)) => Some(Request { src, msg_id }),
            _ => None,
        };
        Malformed { reason: error.to_string(), request }
    }
}
