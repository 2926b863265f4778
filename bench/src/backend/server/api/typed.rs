//! The answers that most operations get, read without a tree.
//!
//! Fields have two names and numbers two forms, as in [`super::json`]. A list, a message or a text that is
//! null is one that is missing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeStruct, Serializer};
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

impl<'a> Put<'a> {
    pub(super) fn new(key: &'a str, value: &'a str) -> Put<'a> {
        Put { key: Bytes(key.as_bytes()), value: Bytes(value.as_bytes()) }
    }
}

/// A Txn: whether all compares hold, and the requests that are carried out if they do.
#[derive(Serialize)]
pub(super) struct Txn<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) compare: &'a [Compare<'a>],
    pub(super) success: Vec<Request<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request<'a> {
    RequestPut(Put<'a>),
    RequestRange(Range<'a>),
}

impl<'a> Request<'a> {
    /// Writes a value under a key.
    pub(super) fn put((key, value): &'a (String, String)) -> Request<'a> {
        Request::RequestPut(Put::new(key, value))
    }
}

/// A compare of a key that holds if its present state equals this.
pub(super) struct Compare<'a> {
    pub(super) key: &'a str,
    pub(super) with: State<'a>,
}

/// A part of a key's state.
pub(super) enum State<'a> {
    Value(&'a str),
    /// The modification revision.
    Mod(i64),
    /// The create revision.
    Create(i64),
}

impl Serialize for Compare<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut compare = serializer.serialize_struct("Compare", 4)?;
        compare.serialize_field("key", &Bytes(self.key.as_bytes()))?;
        compare.serialize_field("result", "EQUAL")?;
        match self.with {
            State::Value(value) => {
                compare.serialize_field("target", "VALUE")?;
                compare.serialize_field("value", &Bytes(value.as_bytes()))?;
            }
            State::Mod(revision) => {
                compare.serialize_field("target", "MOD")?;
                compare.serialize_field("mod_revision", &revision.to_string())?;
            }
            State::Create(revision) => {
                compare.serialize_field("target", "CREATE")?;
                compare.serialize_field("create_revision", &revision.to_string())?;
            }
        }
        compare.end()
    }
}

/// Bytes as JSON of protocol buffers has them.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Keys and most values are short: their text needs no memory of its own.
        let mut buffer = [0; 256];
        match STANDARD.encode_slice(self.0, &mut buffer) {
            Ok(n) => {
                serializer.serialize_str(std::str::from_utf8(&buffer[..n]).unwrap_or_default())
            }
            Err(_) => serializer.serialize_str(&STANDARD.encode(self.0)),
        }
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
    use serde_json::json;

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
        let compare = |with| Compare { key: "hi", with };
        let compare = [State::Value("5"), State::Mod(7), State::Create(0)].map(compare);
        let txn = Txn { compare: &compare, success: vec![Request::RequestPut(put)] };
        let (key, equal) = ("aGk=", "EQUAL");
        let compare = json!([
            {"key": key, "result": equal, "target": "VALUE", "value": "NQ=="},
            {"key": key, "result": equal, "target": "MOD", "mod_revision": "7"},
            {"key": key, "result": equal, "target": "CREATE", "create_revision": "0"}]);
        let put = json!({"request_put": {"key": key, "value": ""}});
        assert_eq!(json!(txn), json!({"compare": compare, "success": [put]}));
    }
}
