//! The data of a page: columns of small numbers, compressed, as text.
//!
//! A run has up to a million messages, and a page is one file. Each property of the messages is
//! a column of its own, in which neighbours are alike: times are differences to the row before,
//! numbers take as many bytes as they need (LEB128), and DEFLATE does the rest. A browser
//! undoes all of that by itself: `atob`, then `DecompressionStream`.
//!
//! The container, before compression: the length of the head (4 bytes, little endian), the head
//! (a JSON object whose `blocks` gives offset and length of each column), the columns.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Map, Value, json};

/// Columns and a head, on their way into a page.
#[derive(Default)]
pub(super) struct Pack {
    head: Map<String, Value>,
    blocks: Map<String, Value>,
    data: Vec<u8>,
}

impl Pack {
    /// Adds a value to the head.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.head.insert(name.to_owned(), value.into());
    }

    /// Adds a block of bytes.
    pub(super) fn block(&mut self, name: &str, bytes: &[u8]) {
        self.blocks.insert(name.to_owned(), json!([self.data.len(), bytes.len()]));
        self.data.extend_from_slice(bytes);
    }

    /// Adds a column of numbers.
    pub(super) fn column(&mut self, name: &str, numbers: impl IntoIterator<Item = u64>) {
        let mut bytes = Vec::new();
        numbers.into_iter().for_each(|number| write_number(number, &mut bytes));
        self.block(name, &bytes);
    }

    /// The whole as base64 of raw DEFLATE.
    pub(super) fn finish(mut self) -> String {
        self.head.insert("blocks".to_owned(), Value::Object(self.blocks));
        let head = Value::Object(self.head).to_string();
        let length = u32::try_from(head.len()).expect("a head is bounded by its parts");
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let into_memory = "writing into a vector cannot fail";
        for part in [&length.to_le_bytes()[..], head.as_bytes(), &self.data] {
            encoder.write_all(part).expect(into_memory);
        }
        STANDARD.encode(encoder.finish().expect(into_memory))
    }
}

/// LEB128: seven bits a byte, the lowest first.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The part of a text that fits into `limit` bytes, and whether that is all of it.
pub(super) fn head_of(text: &str, limit: usize) -> (&str, bool) {
    if text.len() <= limit {
        return (text, true);
    }
    let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (&text[..end], false)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_pack_can_be_unpacked() {
        let mut pack = Pack::default();
        pack.put("x", 7);
        pack.column("c", [0, 127, 128, 300]);
        let bytes = STANDARD.decode(pack.finish()).unwrap();
        let mut whole = Vec::new();
        flate2::read::DeflateDecoder::new(&bytes[..]).read_to_end(&mut whole).unwrap();
        let length = u32::from_le_bytes(whole[..4].try_into().unwrap()) as usize;
        let head: Value = serde_json::from_slice(&whole[4..4 + length]).unwrap();
        assert_eq!(head, json!({"x": 7, "blocks": {"c": [0, 6]}}));
        assert_eq!(whole[4 + length..], [0, 127, 128, 1, 0xAC, 2]);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(head_of("aé", 3), ("aé", true));
        assert_eq!(head_of("aéb", 2), ("a", false));
    }
}
