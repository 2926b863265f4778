//! Keys and values of transactions: any JSON.

use std::sync::Arc;

use seaworthy::canonical::canonical;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A key, as the one text by which all its spellings are known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Key(Arc<str>);

impl Key {
    /// The key that a client wrote as `raw`.
    pub(super) fn from_raw(raw: &RawValue) -> Key {
        Key(canonical(raw).into())
    }
}

/// A value, as the text in which it came and is given back. Cheap to copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Value(Arc<RawValue>);

impl Value {
    /// The list `list` with `elements` added at its end. A missing value, or one that is not a
    /// list, counts as the empty one: where a write of something else and an append meet, both
    /// have been acknowledged, and it is too late to refuse one.
    pub(super) fn append<'a>(
        list: Option<&Value>,
        elements: impl IntoIterator<Item = &'a Value>,
    ) -> Value {
        let items: Vec<&RawValue> =
            list.and_then(|list| serde_json::from_str(list.text()).ok()).unwrap_or_default();
        let mut text = String::from("[");
        for item in items.into_iter().chain(elements.into_iter().map(|value| &*value.0)) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(item.get());
        }
        text.push(']');
        let list = RawValue::from_string(text);
        Value(list.expect("values between commas are a list").into())
    }

    /// Whether something can be appended to it.
    pub(super) fn is_list(&self) -> bool {
        self.text().starts_with('[')
    }

    /// The value as JSON.
    pub(super) fn text(&self) -> &str {
        self.0.get()
    }
}

impl From<&RawValue> for Value {
    fn from(raw: &RawValue) -> Value {
        Value(raw.to_owned().into())
    }
}

/// By spelling: nothing here depends on whether two values mean the same.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Value {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    pub(crate) fn key(text: &str) -> Key {
        Key::from_raw(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn appending_makes_a_list_of_anything() {
        let append = |list: Option<&str>, text| {
            Value::append(list.map(value).as_ref(), &[value(text)]).text().to_owned()
        };
        assert_eq!(append(None, "1"), "[1]");
        assert_eq!(append(Some("[ 1, [2] ]"), r#"{"a":"]"}"#), r#"[1,[2],{"a":"]"}]"#);
        assert_eq!(append(Some("[]"), "null"), "[null]");
        assert_eq!(append(Some("7"), "8"), "[8]");
        assert_eq!(append(Some("null"), "8"), "[8]");
    }

    #[test]
    fn spellings_of_a_key_are_one_key() {
        assert_eq!(key(" 7"), key("7"));
        assert_eq!(key(r#""\u0061""#), key(r#""a""#));
        assert_ne!(key("7"), key(r#""7""#));
        assert_eq!(key("1.50"), key("1.5"));
        assert_eq!(key(r#"{"b":[ 1 ],"a":2}"#), key(r#"{"a":2,"b":[1]}"#));
    }
}
