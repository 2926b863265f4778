//! The JSON twin of EDN, in both directions.
//!
//! Towards JSON: keywords, symbols, characters and strings become strings; lists, vectors and
//! sets become arrays; the keys of a map become strings, those that are no text by their
//! EDN notation; tags are dropped; NaN and the infinities become null. From JSON: an
//! array is a vector and the keys of an object are keywords, as Maelstrom's clients see
//! the bodies of messages. Integers keep all their digits both ways.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de;
use serde_json::value::RawValue;

use super::Edn;
use super::cursor::ParseError;
use super::json_value::{self, without_place};
use super::parse::Reader;

impl Edn {
    /// The JSON text of this value, on one line.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// Appends the JSON text of this value.
    pub(crate) fn write_json(&self, out: &mut String) {
        write_json(self, out);
    }

    /// The value of a JSON text.
    ///
    /// # Errors
    /// If the text is no JSON, or nests deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    pub fn from_json(text: &str) -> Result<Edn, serde_json::Error> {
        let raw = serde_json::from_str::<&RawValue>(text)?;
        json_value::read(raw).map_err(|(_, what)| de::Error::custom(what))
    }

    /// The value of JSON with which a text begins, whatever follows it.
    pub fn first_in_json(text: &str) -> Option<Edn> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        values.next().and_then(Result::ok).and_then(|raw| json_value::read(raw).ok())
    }

    /// Hands out the values of a text of JSON, each with the byte at which it begins:
    /// values one after the other, on a line each or spread over several, or the
    /// elements of arrays. If the text begins with an object that has an array under the key
    /// `wrapper` and no key `type`, the elements of that array are handed out.
    ///
    /// # Errors
    /// The first complaint of `take`, or the place at which the text is not JSON.
    pub fn each_in_json<E: From<ParseError>>(
        text: &str,
        wrapper: &str,
        mut take: impl FnMut(usize, Edn) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = Reader::new(text);
        let mut one = |raw: &RawValue| {
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            match json_value::read(raw) {
                Ok(value) => take(start, value),
                Err((at, what)) => Err(reader.error_at(start + at, what).into()),
            }
        };
        let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        for (nth, raw) in values.enumerate() {
            let raw = raw.map_err(|error| locate(&reader, &error))?;
            let raw = if nth == 0 { unwrapped(raw, wrapper).unwrap_or(raw) } else { raw };
            if raw.get().starts_with('[') {
                let elements: Vec<&RawValue> =
                    serde_json::from_str(raw.get()).map_err(|error| locate(&reader, &error))?;
                elements.into_iter().try_for_each(&mut one)?;
            } else {
                one(raw)?;
            }
        }
        Ok(())
    }
}

/// The array under the key `wrapper` of an object that is not an operation itself.
fn unwrapped<'t>(raw: &'t RawValue, wrapper: &str) -> Option<&'t RawValue> {
    let mut object: BTreeMap<Cow<'t, str>, &'t RawValue> = serde_json::from_str(raw.get()).ok()?;
    let inner = object.remove(wrapper)?;
    (inner.get().starts_with('[') && !object.contains_key("type")).then_some(inner)
}

/// serde_json's complaint with the place in characters, and the text there.
fn locate(reader: &Reader<'_>, error: &serde_json::Error) -> ParseError {
    let mut lines = reader.cursor.text.split_inclusive('\n');
    let start: usize = lines.by_ref().take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (start + error.column().saturating_sub(1)).min(reader.cursor.text.len());
    if error.is_eof() {
        at = reader.cursor.text.len();
    }
    while !reader.cursor.text.is_char_boundary(at) {
        at -= 1;
    }
    let is_control = |b: &u8| *b < 0x20;
    let line = reader.cursor.text.as_bytes()[at..].iter();
    if let Some(ahead) = line.take(2).position(is_control)
        && error.to_string().starts_with("control character")
    {
        at += ahead;
    }
    let what = format!("{}, found {}", without_place(error), reader.cursor.char_at(at));
    reader.error_at(at, what)
}

fn write_json(value: &Edn, out: &mut String) {
    match value {
        Edn::Nil => out.push_str("null"),
        Edn::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Edn::Int(i) => out.push_str(itoa::Buffer::new().format(*i)),
        Edn::BigInt(digits) => out.push_str(digits),
        Edn::Float(x) if x.is_finite() => out.push_str(&format!("{x:?}")),
        Edn::Float(_) => out.push_str("null"),
        Edn::Decimal(digits) => out.push_str(digits),
        Edn::Ratio(over, under) => out.push_str(&format!("{:?}", *over as f64 / *under as f64)),
        Edn::Char(c) => write_string(c.encode_utf8(&mut [0; 4]), out),
        Edn::Str(text) | Edn::Keyword(text) | Edn::Symbol(text) => write_string(text, out),
        Edn::List(items) | Edn::Vector(items) | Edn::Set(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Edn::Map(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                match key.as_text() {
                    Some(text) => write_string(text, out),
                    None => write_string(&key.to_string(), out),
                }
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
        Edn::Tagged(tagged) => write_json(&tagged.1, out),
    }
}

/// Appends a text as JSON writes it.
pub(crate) fn write_string(text: &str, out: &mut String) {
    // Names and most other texts need no escapes.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    }
}
