//! The EDN reader.
//!
//! One pass over the bytes, no tokens in between: a history of a million operations
//! is a hundred megabytes. Input comes from outside, so nothing here panics: every
//! complaint carries line and column, and nesting is limited, since the reader and
//! the values it makes are recursive.
//!
//! Metadata (`^{:a 1} x`) is read and dropped; a regular expression and a var, which Clojure prints
//! but EDN does not have, keep their text. Deliberately missing: objects that Clojure prints as
//! `#<...>`, which has no syntax.
//! Source: the edn-format specification, and Clojure's reader where it is silent.

use std::cmp::Ordering;

use compact_str::CompactString;

use super::Edn;
use super::cursor::{Cursor, ParseError};
use super::number::number;

/// How deep values may nest, in EDN and in JSON. Beyond it is an attack or a mistake, not a
/// history.
pub const MAX_DEPTH: usize = 512;

/// The complaint about a value below [`MAX_DEPTH`].
pub(super) fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH}")
}

/// How much of a word a complaint quotes, in characters.
const QUOTE: usize = 60;

/// Up to this many keys, comparing all pairs beats sorting.
const FEW_KEYS: usize = 16;

/// Reads a text that holds exactly one value.
///
/// # Errors
/// If the text is no EDN, is empty, or holds more than one value.
pub fn parse(text: &str) -> Result<Edn, ParseError> {
    let mut reader = Reader::new(text);
    let Some(value) = reader.read()? else {
        return Err(reader.error_at(text.len(), "expected a value, found the end"));
    };
    reader.skip_blank(0)?;
    match reader.cursor.peek() {
        None => Ok(value),
        Some(_) => Err(reader.error_at(reader.cursor.pos, "expected one value, found more")),
    }
}

/// Reads the values of a text one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) cursor: Cursor<'a>,
    /// The values of the lists that are not closed yet: each list is made once, in its size.
    open: Vec<Edn>,
    /// Where the first value of a key `value` begins in the map that was read last.
    value_start: Option<usize>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader { cursor: Cursor::new(text), open: Vec::new(), value_start: None }
    }

    /// Skips blanks, and the beginning of a map, with its tag or namespace, if one comes next.
    ///
    /// # Errors
    /// If a `#_` discards something that failed to parse.
    pub fn eat_map_opening(&mut self) -> Result<bool, ParseError> {
        self.skip_blank(0)?;
        let before = self.cursor.pos;
        if self.cursor.peek() == Some(b'#') {
            self.cursor.pos += 1;
            self.cursor.token();
        }
        let found = self.eat(b'{')?;
        // A set has the bracket of a map right behind the mark of a tag.
        if !found || self.cursor.text[before..].starts_with("#{") {
            self.cursor.pos = before;
            return Ok(false);
        }
        Ok(true)
    }

    /// The next value, or none at the end of the text.
    ///
    /// # Errors
    /// If the text is no EDN. The reader is of no use afterwards.
    pub fn read(&mut self) -> Result<Option<Edn>, ParseError> {
        self.skip_blank(0)?;
        self.value_start = None;
        match self.cursor.peek() {
            None => Ok(None),
            Some(_) => self.value(0).map(Some),
        }
    }

    /// The byte at which the value of `:value` begins, if the last value read is a map without a
    /// tag that has it.
    pub fn value_start(&self) -> Option<usize> {
        self.value_start
    }

    /// Skips blanks and comments and says at which byte the next value begins.
    ///
    /// # Errors
    /// If a `#_` discards something that is no EDN.
    pub fn next_start(&mut self) -> Result<usize, ParseError> {
        self.skip_blank(0)?;
        Ok(self.cursor.pos)
    }

    /// Skips blanks and comments, and this bracket if it comes next: for readers of
    /// one long vector who want its values one by one.
    ///
    /// # Errors
    /// If a `#_` discards something that is no EDN.
    pub fn eat(&mut self, bracket: u8) -> Result<bool, ParseError> {
        self.skip_blank(0)?;
        let found = self.cursor.peek() == Some(bracket);
        self.cursor.pos += usize::from(found);
        Ok(found)
    }

    /// The line of a byte, from 1.
    pub fn line_of(&self, byte: usize) -> usize {
        self.cursor.line_of(byte)
    }

    /// A complaint about the byte `at` of the text.
    pub fn error_at(&self, at: usize, what: impl Into<String>) -> ParseError {
        self.cursor.error_at(at, what)
    }

    /// Skips blanks, commas, comments and discarded values.
    fn skip_blank(&mut self, depth: usize) -> Result<(), ParseError> {
        loop {
            match self.cursor.peek() {
                Some(b' ' | b',' | b'\n' | b'\t' | b'\r' | 0x0B | 0x0C) => self.cursor.pos += 1,
                Some(b';') => {
                    let rest = &self.cursor.text.as_bytes()[self.cursor.pos..];
                    let end = rest.iter().position(|&b| b == b'\n' || b == b'\r');
                    self.cursor.pos += end.map_or(rest.len(), |n| n + 1);
                }
                Some(b'#')
                    if self.cursor.text.as_bytes().get(self.cursor.pos + 1) == Some(&b'_') =>
                {
                    self.cursor.pos += 2;
                    // The discarded value may itself begin with a discard.
                    self.nested(depth)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A value one level further down, after blanks.
    fn nested(&mut self, depth: usize) -> Result<Edn, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(self.error_at(self.cursor.pos, too_deep()));
        }
        self.skip_blank(depth + 1)?;
        self.value(depth + 1)
    }

    /// The value that begins exactly here.
    fn value(&mut self, depth: usize) -> Result<Edn, ParseError> {
        let start = self.cursor.pos;
        match self.cursor.peek() {
            None => Err(self.error_at(start, "expected a value, found the end")),
            Some(b'0'..=b'9') => self.number(),
            Some(b'+' | b'-')
                if matches!(self.cursor.text.as_bytes().get(start + 1), Some(b'0'..=b'9')) =>
            {
                self.number()
            }
            Some(b':') => self.keyword(),
            Some(b'"') => self.cursor.string().map(Edn::Str),
            Some(b'{') => self.map(depth, None),
            Some(b'[') => self.items(b']', depth).map(Edn::Vector),
            Some(b'(') => self.items(b')', depth).map(Edn::List),
            Some(b'\\') => self.cursor.character(),
            Some(b'#') => self.dispatch(depth),
            Some(b'^') => self.metadata(depth, 1),
            // As Python prints a dictionary.
            Some(b'\'') => Err(self.error_at(
                start,
                "unexpected '\\'': strings have double quotes, in EDN and in JSON",
            )),
            Some(b')' | b']' | b'}' | b'@' | b'`' | b'~') => {
                Err(self.error_at(start, format!("unexpected {}", self.cursor.char_at(start))))
            }
            Some(_) => Ok(match self.cursor.token() {
                "nil" => Edn::Nil,
                "true" => Edn::Bool(true),
                "false" => Edn::Bool(false),
                symbol => Edn::Symbol(CompactString::new(symbol)),
            }),
        }
    }

    /// Reads a value and drops its metadata: `^:key value`, and the old `#^:key value`.
    fn metadata(&mut self, depth: usize, marker: usize) -> Result<Edn, ParseError> {
        self.cursor.pos += marker;
        self.nested(depth)?;
        self.nested(depth)
    }

    fn number(&mut self) -> Result<Edn, ParseError> {
        let start = self.cursor.pos;
        let token = self.cursor.token();
        number(token).ok_or_else(|| {
            let shown: String = token.chars().take(QUOTE).collect();
            self.error_at(start, format!("{shown} is not a number that EDN knows"))
        })
    }

    fn keyword(&mut self) -> Result<Edn, ParseError> {
        let start = self.cursor.pos;
        let name = &self.cursor.token()[1..];
        if name.is_empty() || name.starts_with(':') {
            let what = format!(
                "expected a name after the colon, found {}",
                self.cursor.char_at(start + 1)
            );
            return Err(self.error_at(start, what));
        }
        Ok(Edn::Keyword(CompactString::new(name)))
    }

    /// Reads the form that begins with a `#`.
    fn dispatch(&mut self, depth: usize) -> Result<Edn, ParseError> {
        let start = self.cursor.pos;
        match self.cursor.text.as_bytes().get(start + 1) {
            Some(b'{') => {
                self.cursor.pos += 1;
                let items = self.items(b'}', depth)?;
                self.unique(items.iter(), start)?;
                Ok(Edn::Set(items))
            }
            Some(b'#') => {
                self.cursor.pos += 2;
                match self.cursor.token() {
                    "NaN" => Ok(Edn::Float(f64::NAN)),
                    "Inf" => Ok(Edn::Float(f64::INFINITY)),
                    "-Inf" => Ok(Edn::Float(f64::NEG_INFINITY)),
                    other => Err(self.error_at(start, format!("unknown symbolic value ##{other}"))),
                }
            }
            Some(b':') => {
                self.cursor.pos += 2;
                let namespace = self.cursor.token();
                if namespace.is_empty()
                    || namespace.starts_with(':')
                    || self.cursor.peek() != Some(b'{')
                {
                    return Err(self.error_at(start, "expected #:namespace{...}"));
                }
                self.map(depth, Some(namespace))
            }
            Some(b'^') => self.metadata(depth, 2),
            Some(b'"') => {
                self.cursor.pos += 1;
                let pattern = CompactString::new(self.cursor.raw_string()?);
                Ok(Edn::tagged("regex", Edn::Str(pattern)))
            }
            Some(b'\'') => Ok(Edn::Symbol(CompactString::new(self.cursor.token()))),
            Some(b'<') => {
                let what = "an object that was printed without a form that can be read: #<";
                Err(self.error_at(start, what))
            }
            Some(b) if b.is_ascii_alphabetic() => {
                self.cursor.pos += 1;
                let tag = CompactString::new(self.cursor.token());
                Ok(Edn::tagged(tag, self.nested(depth)?))
            }
            _ => {
                let what = format!("unexpected '#' before {}", self.cursor.char_at(start + 1));
                Err(self.error_at(start, what))
            }
        }
    }

    /// The values up to a closing bracket; the opening one is at the position.
    fn items(&mut self, close: u8, depth: usize) -> Result<Vec<Edn>, ParseError> {
        let start = self.cursor.pos;
        self.cursor.pos += 1;
        let below = self.open.len();
        loop {
            self.skip_blank(depth)?;
            match self.cursor.peek() {
                None => {
                    let opening = self.cursor.char_at(start);
                    return Err(self.error_at(start, format!("{opening} is never closed")));
                }
                Some(b) if b == close => {
                    self.cursor.pos += 1;
                    return Ok(self.open.drain(below..).collect());
                }
                Some(_) => {
                    let item = self.nested(depth)?;
                    self.open.push(item);
                }
            }
        }
    }

    fn map(&mut self, depth: usize, namespace: Option<&str>) -> Result<Edn, ParseError> {
        let start = self.cursor.pos;
        self.cursor.pos += 1;
        let below = self.open.len();
        loop {
            self.skip_blank(depth)?;
            match self.cursor.peek() {
                None => return Err(self.error_at(start, "'{' is never closed")),
                Some(b'}') => {
                    self.cursor.pos += 1;
                    break;
                }
                Some(_) => {}
            }
            let key = qualified(self.nested(depth)?, namespace);
            self.skip_blank(depth)?;
            if self.cursor.peek() == Some(b'}') {
                return Err(self.error_at(self.cursor.pos, format!("key {key} has no value")));
            }
            if depth == 0 && is_value_key(&key) {
                self.value_start.get_or_insert(self.cursor.pos);
            }
            self.open.push(key);
            let value = self.nested(depth)?;
            self.open.push(value);
        }
        let mut entries = Vec::with_capacity((self.open.len() - below) / 2);
        let mut flat = self.open.drain(below..);
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            entries.push((key, value));
        }
        drop(flat);
        self.unique(entries.iter().map(|(k, _)| k), start)?;
        Ok(Edn::Map(entries))
    }

    /// Refuses a map or set in which a key occurs twice: one of the two would be lost.
    fn unique<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = &'k Edn> + Clone,
        start: usize,
    ) -> Result<(), ParseError> {
        let twice = if keys.len() <= FEW_KEYS {
            let mut later = keys.clone().enumerate();
            later.find(|(i, key)| keys.clone().take(*i).any(|k| k == *key)).map(|(_, key)| key)
        } else {
            let mut keys: Vec<&Edn> = keys.collect();
            keys.sort();
            keys.windows(2).find(|w| w[0].cmp(w[1]) == Ordering::Equal).map(|w| w[0])
        };
        match twice {
            None => Ok(()),
            Some(key) => Err(self.error_at(start, format!("key {key} occurs twice"))),
        }
    }
}

fn is_value_key(key: &Edn) -> bool {
    key.as_text().is_some_and(|name| name.strip_prefix(':').unwrap_or(name) == "value")
}

/// A key of a map that has a namespace.
fn qualified(key: Edn, namespace: Option<&str>) -> Edn {
    let Some(namespace) = namespace else { return key };
    let name = |text: &str| match text.split_once('/') {
        None => CompactString::from(format!("{namespace}/{text}")),
        Some(("_", plain)) => CompactString::new(plain),
        Some(_) => CompactString::new(text),
    };
    match key {
        Edn::Keyword(text) => Edn::Keyword(name(&text)),
        Edn::Symbol(text) => Edn::Symbol(name(&text)),
        other => other,
    }
}
