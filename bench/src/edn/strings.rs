//! The notation of strings and characters, with their escapes.

use compact_str::CompactString;

use super::Edn;
use super::cursor::{Cursor, ParseError};

impl<'a> Cursor<'a> {
    /// The text of a regular expression, in which a backslash stands for itself.
    pub(super) fn raw_string(&mut self) -> Result<&'a str, ParseError> {
        let start = self.pos;
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            match bytes.get(at) {
                None => return Err(self.error_at(start, "this string does not end")),
                Some(b'"') => {
                    self.pos = at + 1;
                    // Quotes are ASCII, so this cuts between characters.
                    return Ok(&self.text[start + 1..at]);
                }
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
        }
    }

    pub(super) fn string(&mut self) -> Result<CompactString, ParseError> {
        let start = self.pos;
        self.pos += 1;
        let mut text = CompactString::default();
        loop {
            let rest = &self.text.as_bytes()[self.pos..];
            let Some(plain) = rest.iter().position(|&b| b == b'"' || b == b'\\') else {
                return Err(self.error_at(start, "this string does not end"));
            };
            let run = &self.text[self.pos..self.pos + plain];
            self.pos += plain + 1;
            if rest[plain] == b'"' {
                // Most strings hold no escape and are copied once.
                if text.is_empty() {
                    return Ok(CompactString::new(run));
                }
                text.push_str(run);
                return Ok(text);
            }
            text.push_str(run);
            text.push(self.escape()?);
        }
    }

    /// The character that an escape stands for; the backslash is read already.
    fn escape(&mut self) -> Result<char, ParseError> {
        let start = self.pos;
        let known = match self.peek() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'/') => '/',
            Some(b'u') => return self.unicode_escape(),
            Some(b'0'..=b'7') => return self.octal_escape(),
            _ => {
                let what = format!("unknown escape \\ {}", self.char_at(start));
                return Err(self.error_at(start, what));
            }
        };
        self.pos += 1;
        Ok(known)
    }

    fn octal_escape(&mut self) -> Result<char, ParseError> {
        let start = self.pos;
        let rest = &self.text.as_bytes()[start..];
        let digits = rest.iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
        self.pos += digits;
        u32::from_str_radix(&self.text[start..self.pos], 8)
            .ok()
            .filter(|&code| code <= 0o377)
            .and_then(char::from_u32)
            .ok_or_else(|| self.error_at(start, "an octal escape goes up to \\377"))
    }

    /// `uXXXX`, or two of them for a character beyond 16 bits.
    fn unicode_escape(&mut self) -> Result<char, ParseError> {
        let start = self.pos;
        let high = self.hex4()?;
        let code = match high {
            0xD800..=0xDBFF if self.text[self.pos..].starts_with("\\u") => {
                self.pos += 1;
                let low = self.hex4()?;
                match low {
                    0xDC00..=0xDFFF => 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                    _ => high,
                }
            }
            _ => high,
        };
        char::from_u32(code).ok_or_else(|| self.error_at(start, "half of a surrogate pair"))
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let digits = self.text.get(self.pos + 1..self.pos + 5);
        let code = digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok());
        match code {
            Some(code) => {
                self.pos += 5;
                Ok(code)
            }
            None => Err(self.error_at(self.pos, "expected four hexadecimal digits after \\u")),
        }
    }

    pub(super) fn character(&mut self) -> Result<Edn, ParseError> {
        let start = self.pos;
        self.pos += 1;
        let Some(first) = self.text[self.pos..].chars().next() else {
            return Err(self.error_at(start, "expected a character, found the end"));
        };
        // The first one counts even if it is a delimiter: `\(` is a character.
        self.pos += first.len_utf8();
        self.token();
        let name = &self.text[start + 1..self.pos];
        let known = match name {
            "newline" => Some('\n'),
            "space" => Some(' '),
            "tab" => Some('\t'),
            "return" => Some('\r'),
            "backspace" => Some('\u{8}'),
            "formfeed" => Some('\u{c}'),
            _ if name.len() == first.len_utf8() => Some(first),
            _ if first == 'u' && name.len() == 5 => {
                u32::from_str_radix(&name[1..], 16).ok().and_then(char::from_u32)
            }
            _ if first == 'o' && name.len() <= 4 => {
                u32::from_str_radix(&name[1..], 8).ok().and_then(char::from_u32)
            }
            _ => None,
        };
        known
            .map(Edn::Char)
            .ok_or_else(|| self.error_at(start, format!("unknown character \\{name}")))
    }
}
