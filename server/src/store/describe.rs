//! The log for people who look into the database: JSON of each record, which the views `log` and
//! `vote` read.

use serde::Serialize;

use crate::node::{Line, Told, tell};

#[derive(Serialize)]
struct Contents {
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    index: u64,
    term: u64,
    operation: &'static str,
    key: String,
}

/// Makes JSON of a record or of the checkpoint that is in the log. Keys are text: bytes that are
/// none stand as `\x..`.
pub(super) fn describe(bytes: &[u8]) -> Option<String> {
    let Told { term, vote, lines } = tell(bytes)?;
    let vote = vote.map(|id| format!("{:016x}", id.0));
    let entry = |Line { index, term, operation, key }| Entry {
        index,
        term,
        operation,
        key: printable(&key),
    };
    let entries = lines.into_iter().map(entry).collect();
    serde_json::to_string(&Contents { term, vote, entries }).ok()
}

/// Text without control characters, in which every byte can be recognised.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => c.to_string().bytes().for_each(|b| hex(&mut text, b)),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| hex(&mut text, *b));
    }
    text
}

fn hex(text: &mut String, byte: u8) {
    text.push_str(&format!("\\x{byte:02x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_text_that_the_database_takes() {
        assert_eq!(printable("jobs/ünï".as_bytes()), "jobs/ünï");
        assert_eq!(printable(b"a\0b\t\\\xff"), "a\\x00b\\x09\\\\\\xff");
    }
}
