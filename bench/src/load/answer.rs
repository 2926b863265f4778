//! The answers to a client, read as Maelstrom's clients read them.
//!
//! A reply is found by its `in_reply_to` alone, whatever else is odd about it; whether it
//! has the documented structure is looked at afterwards. An `error` is an error whatever
//! its other fields are; a code that the protocol does not define promises nothing and is
//! called `unknown`.
//!
//! Source: `recv!`, `throw-errors!` and `check-body` in Maelstrom's `client.clj`.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;
use seaworthy::message::ErrorCode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::edn::Edn;

/// The fields of a body, as they came.
#[derive(Clone, Debug)]
pub struct Answer(Vec<(CompactString, Box<RawValue>)>);

/// An error of the protocol that a client received.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The protocol's name of the error; `unknown` for a code that it does not define.
    pub name: &'static str,
    /// Whether the operation did not happen and never will.
    pub is_definite: bool,
    /// Why, for people; nil if the node did not say.
    pub text: Edn,
}

/// The fields that every body may have.
const HEADER: [&str; 3] = ["type", "msg_id", "in_reply_to"];

impl Answer {
    /// Reads a body.
    ///
    /// # Errors
    /// If the text is not a JSON object.
    pub fn parse(body: &str) -> Result<Answer, serde_json::Error> {
        serde_json::from_str(body)
    }

    /// The JSON text of a field; of several of this name the last.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == name).map(|(_, value)| value.get())
    }

    /// The names of the fields, other than `type`, `msg_id` and `in_reply_to`.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str()).filter(|name| !HEADER.contains(name))
    }

    /// The EDN of a field, nil without one. JSON that has no EDN (half a surrogate pair)
    /// stays the text that it is.
    pub fn edn(&self, name: &str) -> Edn {
        let read = |text: &str| Edn::from_json(text).unwrap_or_else(|_| Edn::str(text));
        self.field(name).map(read).unwrap_or_default()
    }

    /// The field `type`, if it is text.
    pub fn kind(&self) -> Option<Cow<'_, str>> {
        serde_json::from_str(self.field("type")?).ok()
    }

    /// Whether this answers the request with this number.
    pub fn answers(&self, msg_id: u64) -> bool {
        self.field("in_reply_to").is_some_and(|text| text.parse() == Ok(msg_id))
    }

    /// The error that this is, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.kind()? != "error" {
            return None;
        }
        let text = self.edn("text");
        let code = self.field("code").and_then(|code| code.parse().ok()).map(ErrorCode);
        Some(match code.and_then(|code| Some((code, code.name()?))) {
            Some((code, name)) => Refusal { name, is_definite: code.is_definite(), text },
            None => Refusal { name: "unknown", is_definite: false, text },
        })
    }

    /// Checks that a reply has this type, exactly these fields, and a `msg_id` that is an
    /// integer if it has one.
    ///
    /// # Errors
    /// A sentence on the first difference.
    pub fn expect(&self, kind: &str, fields: &[&str]) -> Result<(), String> {
        match self.kind() {
            Some(found) if found == kind => {}
            Some(found) => return Err(format!("expected {kind}, got {found}")),
            None => {
                let found = self.field("type").unwrap_or("none");
                return Err(format!("expected the type {kind}, got {found}"));
            }
        }
        if let Some(name) = self.field_names().find(|name| !fields.contains(name)) {
            return Err(format!("{kind} has a field {name}, which is not documented"));
        }
        if let Some(name) = fields.iter().find(|name| self.field(name).is_none()) {
            return Err(format!("{kind} lacks the field {name}"));
        }
        match self.field("msg_id") {
            Some(id) if !is_integer(id) => {
                Err(format!("{kind} has the msg_id {id}; it must be an integer, or left out"))
            }
            _ => Ok(()),
        }
    }

    /// Why this was taken for no answer by a client that asked requests up to the number
    /// `last`; none if it answers an older one, which is not a mistake.
    pub fn astray(&self, last: u64) -> Option<String> {
        let kind = self.kind().unwrap_or("message".into());
        let remedy = "must hold the msg_id of the request that it answers, an integer";
        Some(match self.field("in_reply_to") {
            None => format!("{kind} without in_reply_to, which {remedy}"),
            Some(text) if !is_integer(text) => {
                format!("{kind} whose in_reply_to is {text}; it {remedy}")
            }
            Some(text) if text.parse().is_ok_and(|id| (1..=last).contains(&id)) => return None,
            Some(text) => {
                format!("{kind} with in_reply_to {text}, but no request had that msg_id")
            }
        })
    }
}

/// Whether a JSON number is written as an integer, of any size.
pub fn is_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Answer, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(Answer(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer::parse(body).unwrap()
    }

    #[test]
    fn a_reply_is_found_by_the_number_it_answers() {
        for good in [
            r#"{"in_reply_to":7}"#,
            r#"{"msg_id":"x","in_reply_to":7}"#,
            r#"{"msg_id":-3,"in_reply_to":7}"#,
            r#"{"msg_id":36893488147419103232,"type":5,"in_reply_to":7}"#,
            r#"{"in_reply_to":1,"in_reply_to":7}"#,
        ] {
            assert!(answer(good).answers(7), "{good}");
        }
        for bad in
            ["{}", r#"{"in_reply_to":"7"}"#, r#"{"in_reply_to":7.0}"#, r#"{"in_reply_to":8}"#]
        {
            assert!(!answer(bad).answers(7), "{bad}");
        }
    }

    #[test]
    fn what_goes_astray_is_explained() {
        let why = |body: &str| answer(body).astray(3);
        assert!(why(r#"{"type":"echo_ok"}"#).unwrap().starts_with("echo_ok without in_reply_to"));
        assert!(why(r#"{"in_reply_to":"3"}"#).unwrap().contains("in_reply_to is \"3\""));
        assert!(why(r#"{"in_reply_to":3.0}"#).unwrap().contains("in_reply_to is 3.0"));
        assert!(why(r#"{"in_reply_to":0}"#).unwrap().contains("no request had that msg_id"));
        assert_eq!(why(r#"{"in_reply_to":2}"#), None);
    }

    #[test]
    fn structure_is_as_documented_or_malformed() {
        let check = |body: &str| answer(body).expect("x_ok", &["value"]);
        for good in [
            r#"{"type":"x_ok","in_reply_to":1,"value":null}"#,
            r#"{"type":"x_ok","in_reply_to":1,"value":1,"msg_id":36893488147419103232}"#,
            r#"{"type":"x_ok","in_reply_to":1,"value":1,"msg_id":-1}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            (r#"{"type":"x","value":1}"#, "expected x_ok, got x"),
            (r#"{"value":1}"#, "got none"),
            (r#"{"type":5,"value":1}"#, "got 5"),
            (r#"{"type":"x_ok"}"#, "lacks the field value"),
            (r#"{"type":"x_ok","value":1,"more":1}"#, "a field more"),
            (r#"{"type":"x_ok","value":1,"msg_id":null}"#, "msg_id null"),
            (r#"{"type":"x_ok","value":1,"msg_id":"1"}"#, "msg_id \"1\""),
            (r#"{"type":"x_ok","value":1,"msg_id":1.0}"#, "msg_id 1.0"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn only_codes_of_the_protocol_promise_anything() {
        let refusal = |code: &str| {
            let refusal = answer(&format!(r#"{{"type":"error","text":"t"{code}}}"#)).refusal();
            let Refusal { name, is_definite, text } = refusal.unwrap();
            assert_eq!(text, Edn::str("t"));
            (name, is_definite)
        };
        assert_eq!(refusal(r#","code":11"#), ("temporarily-unavailable", true));
        assert_eq!(refusal(r#","code":0"#), ("timeout", false));
        assert_eq!(refusal(r#","code":13"#), ("crash", false));
        for odd in ["", r#","code":1000"#, r#","code":"11""#, r#","code":11.0"#, r#","code":null"#]
        {
            assert_eq!(refusal(odd), ("unknown", false), "{odd}");
        }
        assert_eq!(answer(r#"{"type":"error","code":22}"#).refusal().unwrap().text, Edn::Nil);
        assert_eq!(answer(r#"{"type":"echo_ok"}"#).refusal(), None);
    }
}
