//! A JSON value as an element of a set.

use serde_json::value::RawValue;

use crate::canonical::canonical;

/// Any JSON value, comparable. Two elements are equal if they are one value in different
/// spellings; see [`canonical`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// An integer of 64 bits.
    Int(i64),
    /// The canonical text of anything else.
    Text(String),
}

impl Element {
    /// The element that was written as `raw`.
    pub fn from_raw(raw: &RawValue) -> Element {
        // Most elements are integers, and an integer is its own canonical text.
        match raw.get().parse::<i64>() {
            Ok(int) if int != 0 || raw.get() == "0" => Element::Int(int),
            _ => Element::Text(canonical(raw)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Element {
        Element::from_raw(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn equal_values_are_one_element() {
        assert_eq!(element(" 7 "), Element::Int(7));
        assert_eq!(
            element(r#"{"b": [1, "\u0041"], "a": null}"#),
            element(r#"{"a":null,"b":[1,"A"]}"#)
        );
        assert_ne!(element("1"), element("1.0"));
        assert_eq!(element("1.50"), element("15e-1"));
        assert_ne!(element("-0"), element("0"));
        let big = "123456789012345678901234567890";
        assert_eq!(element(big), Element::Text(big.to_owned()));
    }
}
