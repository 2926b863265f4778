//! Values of JSON, in one pass over a text that serde_json has found to be JSON.
//!
//! serde's own data model would round integers beyond 64 bits, and two different ids must not
//! become one. To read each level from its raw text would read the innermost text once a level.

use std::borrow::Cow;
use std::collections::BTreeMap;

use compact_str::CompactString;
use serde_json::value::RawValue;

use super::Edn;
use super::parse::{MAX_DEPTH, parse, too_deep};

/// A byte of the text, and the complaint about it.
type Fault = (usize, String);

/// Up to this many keys, comparing all pairs beats a map.
const FEW_KEYS: usize = 16;

/// The value of a text of JSON.
///
/// # Errors
/// If it nests too deep, or a string has half of a surrogate pair.
pub(super) fn read(raw: &RawValue) -> Result<Edn, Fault> {
    Walk { text: raw.get(), pos: 0 }.value(0)
}

/// serde_json's complaint alone; it appends a place that may be relative to a part.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// A place in a text that is JSON, so that nothing but the kind of each value is looked at.
struct Walk<'t> {
    text: &'t str,
    pos: usize,
}

/// A string, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'t> Walk<'t> {
    /// Skips blanks and the commas and colons between values, and shows the next byte.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.pos..];
        let is_between = |b: &u8| matches!(b, b' ' | b'\n' | b'\t' | b'\r' | b',' | b':');
        let blank = rest.iter().take_while(|b| is_between(b)).count();
        self.pos += blank;
        rest.get(blank).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Edn, Fault> {
        Ok(match self.next() {
            Some(b'"') => Edn::Str(self.string()?),
            Some(b'[') => Edn::Vector(self.array(depth)?),
            Some(b'{') => Edn::Map(self.object(depth)?),
            _ => {
                let start = self.pos;
                match self.word() {
                    "null" => Edn::Nil,
                    "true" => Edn::Bool(true),
                    "false" => Edn::Bool(false),
                    // JSON's numbers are a subset of EDN's.
                    number => parse(number).map_err(|error| (start, error.what))?,
                }
            }
        })
    }

    /// A value one level further down.
    fn nested(&mut self, depth: usize) -> Result<Edn, Fault> {
        if depth >= MAX_DEPTH {
            return Err((self.pos, too_deep()));
        }
        self.value(depth + 1)
    }

    /// A number or a literal.
    fn word(&mut self) -> &'t str {
        let rest = &self.text[self.pos..];
        let is_end = |c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace();
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        self.pos += word.len();
        word
    }

    fn string(&mut self) -> Result<CompactString, Fault> {
        let start = self.pos;
        let mut bytes = self.text.as_bytes()[start..].iter().enumerate().skip(1);
        let mut length = 1;
        while let Some((at, byte)) = bytes.next() {
            length = at + 1;
            match byte {
                b'\\' => {
                    bytes.next();
                }
                b'"' => break,
                _ => {}
            }
        }
        self.pos += length;
        let text = serde_json::from_str::<Text<'_>>(&self.text[start..self.pos]);
        text.map(|text| CompactString::from(text.0)).map_err(|e| (start, without_place(&e)))
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Edn>, Fault> {
        self.pos += 1;
        let mut items = Vec::new();
        while self.next() != Some(b']') {
            items.push(self.nested(depth)?);
        }
        self.pos += 1;
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(Edn, Edn)>, Fault> {
        self.pos += 1;
        let mut entries = Vec::new();
        while self.next() != Some(b'}') {
            let key = self.string()?;
            self.next();
            entries.push((key, self.nested(depth)?));
        }
        self.pos += 1;
        Ok(last_of_equals(entries))
    }
}

/// The entries under keywords. The last of two equal keys counts, in the place of the first, as
/// with every JSON library.
fn last_of_equals(entries: Vec<(CompactString, Edn)>) -> Vec<(Edn, Edn)> {
    let mut map: Vec<(Edn, Edn)> = Vec::with_capacity(entries.len());
    let mut places: BTreeMap<CompactString, usize> = BTreeMap::new();
    let are_few = entries.len() <= FEW_KEYS;
    for (name, value) in entries {
        let known = if are_few {
            map.iter().position(|(key, _)| key.as_text() == Some(&*name))
        } else {
            let place = *places.entry(name.clone()).or_insert(map.len());
            (place < map.len()).then_some(place)
        };
        match known {
            Some(place) => map[place].1 = value,
            None => map.push((Edn::Keyword(name), value)),
        }
    }
    map
}
