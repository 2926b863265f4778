//! When two pieces of JSON are the same.
//!
//! Spelling does not count: white space, the order of an object's members, escapes in
//! strings. Meaning does: `1` and `1.0` are different, as they are to Maelstrom, and
//! integers of any size are compared digit by digit, because two that differ only
//! beyond the 53rd bit are not the same register value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// A text that is the same for all spellings of the same value, and only for those.
pub(crate) fn canonical(value: &RawValue) -> String {
    let mut text = String::with_capacity(value.get().len());
    write(value, &mut text);
    text
}

/// Whether two values are the same.
pub(crate) fn same(a: &RawValue, b: &RawValue) -> bool {
    a.get() == b.get() || canonical(a) == canonical(b)
}

fn write(value: &RawValue, out: &mut String) {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            // Of members with the same name the last one counts, as in most parsers.
            let members: BTreeMap<String, &RawValue> = parse(text);
            write_all(out, ['{', '}'], members.iter(), |out, (name, value)| {
                write_string(name, out);
                out.push(':');
                write(value, out);
            });
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = parse(text);
            write_all(out, ['[', ']'], items.iter(), |out, item| write(item, out));
        }
        Some(b'"') => write_string(&parse::<String>(text), out),
        Some(b'-' | b'0'..=b'9') if text.contains(['.', 'e', 'E']) => {
            let _ = write!(out, "{:?}", parse::<f64>(text));
        }
        _ => out.push_str(text),
    }
}

fn write_all<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(close);
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("a string always serializes"));
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text).expect("a raw value is JSON, and its first byte tells which")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_count_and_meaning_does() {
        let is_same = |a: &str, b: &str| {
            let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text).unwrap();
            same(&raw(a), &raw(b))
        };
        assert!(is_same("1", "1"));
        assert!(is_same(r#"{"a":1,"b":[ 2 ]}"#, r#"{ "b":[2],"a":1 }"#));
        assert!(is_same(r#""\u0061""#, r#""a""#));
        assert!(is_same("1.50", "15e-1"));
        assert!(!is_same("1", "1.0"));
        assert!(!is_same("1", r#""1""#));
        assert!(!is_same("null", "false"));
        assert!(!is_same("[1,2]", "[2,1]"));
        assert!(!is_same("9007199254740993", "9007199254740992"));
        assert!(!is_same("100000000000000000000001", "100000000000000000000002"));
    }
}
