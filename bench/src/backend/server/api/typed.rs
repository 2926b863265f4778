//! The answers that most operations get, read without a tree.
//!
//! Fields have two names and numbers two forms, as in [`super::json`]. A list, a message or a text that is
//! null is one that is missing.

use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::json::{Number, decode, text};
use super::refused::Refused;
use super::transaction::Seen;

/// A request that reads a key, or those up to `range_end`.
#[derive(Serialize)]
pub(super) struct Range<'a> {
    pub(super) key: Bytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_end: Option<Bytes<'a>>,
    pub(super) keys_only: bool,
    pub(super) serializable: bool,
}

/// A request that writes a key.
#[derive(Serialize)]
pub(super) struct Put<'a> {
    pub(super) key: Bytes<'a>,
    pub(super) value: Bytes<'a>,
}

/// Bytes as JSON of protocol buffers has them.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(self.0, &STANDARD))
    }
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    revision: Number,
}

/// The answer to a Put, or to a Txn of Puts.
#[derive(Deserialize)]
pub(super) struct Written {
    header: Option<Header>,
    /// The compares of the Txn held.
    pub(super) succeeded: Option<bool>,
}

impl Written {
    /// The revision that the Put made.
    pub(super) fn revision(&self) -> Result<i64, Refused> {
        match self.header.as_ref().map_or(0, |header| header.revision.0) {
            0 => Err(Refused::odd("a Put without a revision")),
            revision => Ok(revision),
        }
    }
}

/// The answer to a Range.
#[derive(Default, Deserialize)]
pub(super) struct Found {
    kvs: Option<Vec<Pair>>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(default, alias = "modRevision")]
    mod_revision: Number,
    value: Option<String>,
}

impl Found {
    /// The one key that was read.
    pub(super) fn seen(&self) -> Result<Seen, Refused> {
        let Some(pair) = self.kvs.as_ref().and_then(|kvs| kvs.first()) else {
            return Ok(Seen::default());
        };
        let value = decode("value", pair.value.as_deref().unwrap_or_default())?;
        Ok(Seen { revision: pair.mod_revision.0, text: Some(text(value)?) })
    }
}

/// The answer to a Txn of Ranges.
#[derive(Deserialize)]
pub(super) struct FoundAll {
    pub(super) responses: Option<Vec<FoundOne>>,
}

#[derive(Deserialize)]
pub(super) struct FoundOne {
    #[serde(alias = "responseRange")]
    response_range: Option<Found>,
}

impl FoundOne {
    pub(super) fn seen(&self) -> Result<Seen, Refused> {
        self.response_range.as_ref().map_or(Ok(Seen::default()), Found::seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_two_names_and_two_forms_of_numbers() {
        for text in [
            r#"{"header":{"x":1},"kvs":[{"key":"aw==","mod_revision":"7","value":"NQ=="}]}"#,
            r#"{"kvs":[{"modRevision":7,"value":"NQ==","lease":"1"}],"count":"1"}"#,
        ] {
            let found: Found = serde_json::from_str(text).unwrap();
            assert_eq!(found.seen(), Ok(Seen { revision: 7, text: Some("5".to_owned()) }));
        }
        let none: Found =
            serde_json::from_str(r#"{"header":{"revision":"3"},"kvs":null}"#).unwrap();
        assert_eq!(none.seen(), Ok(Seen::default()));
        let odd: Found = serde_json::from_str(r#"{"kvs":[{"value":"/w=="}]}"#).unwrap();
        assert!(odd.seen().is_err());
        assert!(serde_json::from_str::<Found>(r#"{"kvs":[{"mod_revision":true}]}"#).is_err());
        let all = r#"{"responses":[{"responseRange":{}},{"response_range":{"kvs":[{}]}}]}"#;
        let all: FoundAll = serde_json::from_str(all).unwrap();
        let empty = Seen { revision: 0, text: Some(String::new()) };
        let seen: Vec<_> = all.responses.iter().flatten().map(FoundOne::seen).collect();
        assert_eq!(seen, [Ok(Seen::default()), Ok(empty)]);
    }

    #[test]
    fn a_put_has_a_revision_and_a_request_its_bytes() {
        let written: Written = serde_json::from_str(r#"{"header":{"revision":"9"}}"#).unwrap();
        assert_eq!(written.revision(), Ok(9));
        assert!(serde_json::from_str::<Written>("{}").unwrap().revision().is_err());
        let put = Put { key: Bytes(b"hi"), value: Bytes(b"") };
        assert_eq!(serde_json::to_string(&put).unwrap(), r#"{"key":"aGk=","value":""}"#);
    }
}
