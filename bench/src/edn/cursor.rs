//! A place in a text, and complaints about places.

use std::fmt;

/// How long a complaint is, in characters.
const COMPLAINT: usize = 300;

/// A fault in a text, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The complaint.
    pub what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for ParseError {}

/// A place in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) pos: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of `text`.
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, pos: 0 }
    }

    /// The line of a byte, from 1.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        1 + before.iter().filter(|&&b| b == b'\n').count()
    }

    /// A complaint about the byte `at` of the text.
    pub(super) fn error_at(&self, at: usize, what: impl Into<String>) -> ParseError {
        let bytes = &self.text.as_bytes()[..at.min(self.text.len())];
        let line_start = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
        // Bytes of the form 10xxxxxx continue a character; the others begin one.
        let column = 1 + bytes[line_start..].iter().filter(|&&b| b & 0xC0 != 0x80).count();
        let mut what = what.into();
        // A word or a key may be as long as the text.
        if let Some((end, _)) = what.char_indices().nth(COMPLAINT) {
            what.truncate(end);
            what.push_str("...");
        }
        ParseError { line: self.line_of(at), column, what: printable(&what) }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    /// The character at a position, for messages.
    pub(super) fn char_at(&self, at: usize) -> String {
        match self.text.get(at..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        }
    }

    /// The text from here to the next delimiter.
    pub(super) fn token(&mut self) -> &'a str {
        let start = self.pos;
        let rest = &self.text.as_bytes()[start..];
        self.pos += rest.iter().position(|&b| is_delimiter(b)).unwrap_or(rest.len());
        // Delimiters are ASCII, so this cuts between characters.
        &self.text[start..self.pos]
    }
}

fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b','
            | b'\n'
            | b'\t'
            | b'\r'
            | 0x0B
            | 0x0C
            | b'{'
            | b'}'
            | b'['
            | b']'
            | b'('
            | b')'
            | b'"'
            | b';'
            | b'\\'
            | b'^'
    )
}

/// The text with its control characters escaped: a text from a file or a node must not
/// move the cursor of a terminal or break a line in two.
pub fn printable(text: &str) -> String {
    // The mark of byte order is invisible, and the usual suspect where it is not first.
    let hidden = |c: char| c.is_control() || matches!(c, '\u{FEFF}' | '\u{202A}'..='\u{202E}');
    let shown = |c: char| if hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    if text.contains(hidden) { text.chars().map(shown).collect() } else { text.to_owned() }
}
