//! Fields of JSON, by either of their names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::refused::Refused;

/// Bytes as JSON of protocol buffers has them.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a field that may be missing, as empty ones are.
pub(super) fn bytes(object: &Value, name: &str) -> Result<Vec<u8>, Refused> {
    let Some(text) = field(object, name).and_then(Value::as_str) else { return Ok(Vec::new()) };
    STANDARD.decode(text).map_err(|e| Refused::odd(format!("{name} is no base64: {e}")))
}

/// A field of a message of protocol buffers: gateways spell it as the message does
/// (`mod_revision`), or as JSON does (`modRevision`).
pub(super) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.get(camel(name)))
}

/// A number, which JSON of protocol buffers writes as text if it has 64 bits; 0 if it is missing.
pub(super) fn number(object: &Value, name: &str) -> Result<i64, Refused> {
    let found = match field(object, name) {
        None => Some(0),
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(value) => value.as_i64(),
    };
    found.ok_or_else(|| Refused::odd(format!("{name} is no number: {object}")))
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
