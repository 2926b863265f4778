//! When two pieces of JSON are the same.
//!
//! Spelling does not count: white space, the order of an object's members, escapes in
//! strings. Meaning does: `1` and `1.0` are different, as they are to Maelstrom, and
//! integers of any size are compared digit by digit, because two that differ only
//! beyond the 53rd bit are not the same register value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// Values nested deeper than this are compared by their spelling from there on: input
/// must not decide how deep the stack grows.
const DEEPEST: usize = 100;

/// A text that is the same for all spellings of the same value, and only for those.
///
/// Text that JSON's grammar allows but that has no value (half a surrogate pair, a float
/// beyond all floats) is the same only if it is spelled the same.
pub fn canonical(value: &RawValue) -> String {
    let mut text = String::with_capacity(value.get().len());
    write(value.get(), DEEPEST, &mut text);
    text
}

/// Whether two values are the same.
pub fn same(a: &RawValue, b: &RawValue) -> bool {
    a.get() == b.get() || canonical(a) == canonical(b)
}

fn write(text: &str, depth: usize, out: &mut String) {
    if write_known(text, depth, out).is_err() {
        out.push_str(text);
    }
}

/// Writes nothing if it fails.
fn write_known(text: &str, depth: usize, out: &mut String) -> Result<(), serde_json::Error> {
    match text.as_bytes().first() {
        Some(b'{') if depth > 0 => {
            // Of members with the same name the last one counts, as in most parsers.
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            write_all(out, ['{', '}'], members.iter(), |out, (name, value)| {
                write_string(name, out);
                out.push(':');
                write(value.get(), depth - 1, out);
            });
        }
        Some(b'[') if depth > 0 => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            write_all(out, ['[', ']'], items.iter(), |out, item| {
                write(item.get(), depth - 1, out);
            });
        }
        Some(b'"') => write_string(&serde_json::from_str::<String>(text)?, out),
        Some(b'-' | b'0'..=b'9') if text.contains(['.', 'e', 'E']) => {
            let float: f64 = serde_json::from_str(text)?;
            let _ = write!(out, "{float:?}");
        }
        _ => out.push_str(text),
    }
    Ok(())
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

    #[test]
    fn no_json_from_outside_is_too_much() {
        let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text).unwrap();
        for odd in [r#""\ud800""#, "1e999", r#"{"\ud800":1}"#] {
            assert!(same(&raw(odd), &raw(odd)));
            assert_eq!(canonical(&raw(odd)), odd);
        }
        let deep = "[".repeat(20_000) + &"]".repeat(20_000);
        assert_eq!(canonical(&raw(&deep)), deep);
        assert!(!same(&raw(&deep), &raw("[]")));
    }
}
