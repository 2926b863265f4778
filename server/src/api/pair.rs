//! A key with its value as plain JSON, for REST and server-sent events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::proto::mvccpb::KeyValue;

/// A pair as JSON: as text where it is text, and in base64 otherwise.
pub(super) fn pair(pair: &KeyValue) -> serde_json::Value {
    let mut fields = serde_json::Map::new();
    for (name, bytes) in [("key", &pair.key), ("value", &pair.value)] {
        match std::str::from_utf8(bytes) {
            Ok(text) => fields.insert(name.to_owned(), text.into()),
            Err(_) => fields.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
        };
    }
    fields.insert("mod_revision".to_owned(), pair.mod_revision.into());
    fields.into()
}
