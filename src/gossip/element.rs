//! A JSON value as an element of a set.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Any JSON value, comparable. Two elements are equal if they are the same value
/// written differently: white space, the order of an object's fields and escapes in
/// strings do not count. Numbers are compared as they are written, because `1` and
/// `1.0` are different to many readers, and no number loses a digit that way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// An integer of 64 bits.
    Int(i64),
    /// The canonical text of anything else.
    Text(String),
}

impl Element {
    /// Reads an element.
    ///
    /// # Errors
    /// Only if the value is nested too deeply.
    pub fn from_raw(raw: &RawValue) -> Result<Element, serde_json::Error> {
        let text = raw.get().trim();
        match text.parse::<i64>() {
            Ok(int) if int != 0 || text == "0" => Ok(Element::Int(int)),
            _ => Ok(Element::Text(canonical(raw, 0)?)),
        }
    }
}

/// Deeper values are refused, so that no message can exhaust the stack.
const DEEPEST: usize = 100;

fn canonical(raw: &RawValue, depth: usize) -> Result<String, serde_json::Error> {
    if depth > DEEPEST {
        return Err(serde::de::Error::custom("nested too deeply"));
    }
    let text = raw.get().trim();
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let fields = fields.into_iter().map(|(name, value)| {
                Ok(format!("{}:{}", serde_json::to_string(&name)?, canonical(value, depth + 1)?))
            });
            let fields: Result<Vec<_>, serde_json::Error> = fields.collect();
            Ok(format!("{{{}}}", fields?.join(",")))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let items = items.into_iter().map(|item| canonical(item, depth + 1));
            let items: Result<Vec<_>, serde_json::Error> = items.collect();
            Ok(format!("[{}]", items?.join(",")))
        }
        Some(b'"') => serde_json::to_string(&serde_json::from_str::<String>(text)?),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Element {
        Element::from_raw(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn equal_values_are_one_element() {
        assert_eq!(element(" 7 "), Element::Int(7));
        assert_eq!(
            element(r#"{"b": [1, "\u0041"], "a": null}"#),
            element(r#"{"a":null,"b":[1,"A"]}"#)
        );
        assert_ne!(element("1"), element("1.0"));
        assert_ne!(element("-0"), element("0"));
        let big = "123456789012345678901234567890";
        assert_eq!(element(big), Element::Text(big.to_owned()));
    }
}
