//! A line that a child prints, read as Maelstrom reads it.
//!
//! The envelope is strict: `src` and `dest` are strings, `id` is an integer or left out,
//! and there is no other field. The text around it is free: the first JSON value of the
//! line counts and the rest of the line is ignored, bytes that are not UTF-8 become
//! U+FFFD, of two equal fields the last counts, and a body that is null, missing or empty
//! is an object without fields.
//!
//! Source: `parse-msg` in Maelstrom's `process.clj`, the schema `Message` in its `net.clj`,
//! and Cheshire, which it reads JSON with.

use std::fmt;

use compact_str::CompactString;
use seaworthy::message::{NodeId, Packet};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::load::answer::is_integer;

/// Reads one line, without its end.
///
/// # Errors
/// The fault of the line, and the form that it should have.
pub(super) fn read(line: &[u8]) -> Result<Packet, String> {
    // `end` is not called, so that the text after the object does not matter.
    match Envelope::deserialize(&mut serde_json::Deserializer::from_slice(line)) {
        Ok(envelope) => envelope.open(),
        Err(_) if str::from_utf8(line).is_err() => read(String::from_utf8_lossy(line).as_bytes()),
        Err(_) if line.trim_ascii().is_empty() => Err("the line is empty".into()),
        Err(error) if error.is_eof() => Err(format!("{error}; a message is one whole line")),
        Err(error) => Err(format!("{error}; other output belongs on stderr")),
    }
}

/// The fields of a message as they came; of each field the last one.
#[derive(Default)]
struct Envelope<'a> {
    src: Option<&'a RawValue>,
    dest: Option<&'a RawValue>,
    body: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    unknown: Option<CompactString>,
}

impl Envelope<'_> {
    fn open(self) -> Result<Packet, String> {
        if let Some(name) = self.unknown {
            return Err(format!(
                "the envelope has a field {name:?}; it may have src, dest, body and id, and \
                 everything else belongs into the body"
            ));
        }
        if let Some(id) = self.id.map(RawValue::get)
            && !is_integer(id)
        {
            return Err(format!("the envelope's id is {id}; it must be an integer or left out"));
        }
        let (src, dest) = (address("src", self.src)?, address("dest", self.dest)?);
        Ok(Packet { src, dest, body: body(self.body.map_or("null", RawValue::get))? })
    }
}

fn address(name: &str, value: Option<&RawValue>) -> Result<NodeId, String> {
    let value = value.ok_or_else(|| format!("the field {name} is missing"))?.get();
    serde_json::from_str(value).map_err(|_| format!("{name} is {value}, which is not a string"))
}

fn body(text: &str) -> Result<String, String> {
    let is_empty = || text.strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]");
    match text {
        _ if text.starts_with('{') => Ok(text.to_owned()),
        "null" | "\"\"" => Ok("{}".to_owned()),
        _ if is_empty() => Ok("{}".to_owned()),
        _ => Err("the body is not an object".to_owned()),
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Envelope<'de>, D::Error> {
        deserializer.deserialize_any(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with src, dest and body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(name) = map.next_key::<CompactString>()? {
            let value = map.next_value::<&'de RawValue>().map_err(A::Error::custom)?;
            match name.as_str() {
                "src" => envelope.src = Some(value),
                "dest" => envelope.dest = Some(value),
                "body" => envelope.body = Some(value),
                "id" => envelope.id = Some(value),
                _ => envelope.unknown = Some(name),
            }
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(line: &[u8]) -> String {
        let packet = read(line).unwrap();
        assert_eq!((packet.src.as_str(), packet.dest.as_str()), ("n0", "c1"));
        packet.body
    }

    #[test]
    fn what_surrounds_a_message_does_not_matter() {
        let message = r#"{"src":"n0","dest":"c1","body":{"type":"x"}}"#;
        for (before, after) in
            [("", ""), (" \t", "  "), ("", " # done"), ("", message), ("", "}{"), ("", "\0")]
        {
            let line = format!("{before}{message}{after}");
            assert_eq!(body_of(line.as_bytes()), r#"{"type":"x"}"#, "{line}");
        }
        let twice = br#"{"src":"n7","body":5,"src":"n0","dest":"c1","body":{"a":1}}"#;
        assert_eq!(body_of(twice), r#"{"a":1}"#);
        let invalid = b"{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{\"a\":\"\xff\"}}";
        assert_eq!(body_of(invalid), "{\"a\":\"\u{fffd}\"}");
    }

    #[test]
    fn a_body_without_fields_is_an_object_without_fields() {
        for body in ["", r#","body":null"#, r#","body":[ ]"#, r#","body":"""#, r#","body":{}"#] {
            let line = format!(r#"{{"src":"n0","dest":"c1"{body}}}"#);
            assert_eq!(body_of(line.as_bytes()), "{}", "{line}");
        }
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let line = format!(r#"{{"src":"n0","dest":"c1","body":{deep}}}"#);
        assert_eq!(body_of(line.as_bytes()), deep);
    }

    #[test]
    fn an_envelope_is_strict() {
        let fine = |more: &str| read(format!(r#"{{"src":"n0","dest":"c1",{more}}}"#).as_bytes());
        for good in [r#""id":5"#, r#""id":-5"#, r#""id":123456789012345678901234567890"#] {
            assert!(fine(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            (r#""id":null"#, "id is null"),
            (r#""id":"5""#, "id is \"5\""),
            (r#""id":5.0"#, "id is 5.0"),
            (r#""ts":5"#, "a field \"ts\""),
            (r#""body":"hi""#, "the body is not an object"),
            (r#""body":7"#, "the body is not an object"),
            (r#""body":[1]"#, "the body is not an object"),
            (r#""body":{"x":NaN}"#, "column"),
            (r#""dest":null"#, "dest is null"),
            (r#""dest":7"#, "dest is 7"),
        ] {
            let error = fine(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
        for (bad, why) in [
            ("", "empty"),
            ("   ", "empty"),
            ("{\"src\":\"n0\"", "one whole line"),
            ("{\"src\":\"n0\"}", "dest is missing"),
            ("[{\"src\":\"n0\"}]", "expected an object"),
            ("\u{feff}{\"src\":\"n0\",\"dest\":\"c1\"}", "expected value"),
            ("Node ready!", "belongs on stderr"),
        ] {
            let error = read(bad.as_bytes()).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
