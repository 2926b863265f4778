//! Fields of JSON, by either of their names.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::Value;

use super::refused::Refused;

/// Bytes as JSON of protocol buffers has them.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a field that may be missing, as empty ones are.
pub(super) fn bytes(object: &Value, name: &str) -> Result<Vec<u8>, Refused> {
    let Some(text) = field(object, name).and_then(Value::as_str) else { return Ok(Vec::new()) };
    decode(name, text)
}

/// The bytes of a field whose base64 was read.
pub(super) fn decode(name: &str, text: &str) -> Result<Vec<u8>, Refused> {
    STANDARD.decode(text).map_err(|e| Refused::odd(format!("{name} is no base64: {e}")))
}

/// The text that a value is.
pub(super) fn text(value: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(value).map_err(|_| Refused::odd("a value is no text"))
}

/// A field of a message of protocol buffers: gateways spell it as the message does
/// (`mod_revision`), or as JSON does (`modRevision`).
pub(super) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.get(camel(name)))
}

/// A number; 0 if it is missing.
pub(super) fn number(object: &Value, name: &str) -> Result<i64, Refused> {
    let Some(value) = field(object, name) else { return Ok(0) };
    let found = Number::deserialize(value);
    found.map(|n| n.0).map_err(|_| Refused::odd(format!("{name} is no number: {object}")))
}

/// A number, which JSON of protocol buffers writes as text if it has 64 bits.
#[derive(Clone, Copy, Default)]
pub(super) struct Number(pub(super) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        deserializer.deserialize_any(Number::default())
    }
}

impl Visitor<'_> for Number {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or its digits")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        i64::try_from(number).map(Number).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, digits: &str) -> Result<Number, E> {
        digits.parse().map(Number).map_err(E::custom)
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(1);
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_two_names_and_numbers_two_forms() {
        for object in [json!({"mod_revision": "7"}), json!({"modRevision": 7})] {
            assert_eq!(number(&object, "mod_revision"), Ok(7));
        }
        assert_eq!(number(&json!({}), "version"), Ok(0));
        assert!(number(&json!({"version": true}), "version").is_err());
        assert_eq!(bytes(&json!({"value": "aGk="}), "value"), Ok(b"hi".to_vec()));
        assert_eq!(bytes(&json!({}), "value"), Ok(Vec::new()));
    }
}
