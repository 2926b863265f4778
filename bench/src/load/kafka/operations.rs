//! The shapes of kafka's operations and of their results.

use std::collections::BTreeMap;

use crate::edn::Edn;
use crate::load::Invocation;

/// The largest offset that is known of each key. Keys are numbers that go as text.
pub(super) type Offsets = BTreeMap<i64, i64>;

pub(super) fn poll() -> Invocation {
    Invocation::new("poll", Edn::vector([Edn::vector([Edn::keyword("poll")])]))
}

pub(super) fn key_name(key: i64) -> Edn {
    Edn::str(key.to_string())
}

pub(super) fn raise(offsets: &mut Offsets, key: i64, offset: i64) {
    let known = offsets.entry(key).or_insert(offset);
    *known = (*known).max(offset);
}

/// Calls `see` with every key and offset in the result of a send or a poll. Keys
/// that are no numbers are none of ours.
pub(super) fn each_offset(value: &Edn, mut see: impl FnMut(i64, i64)) {
    let number = |key: &Edn| key.as_text().and_then(|text| text.parse().ok());
    let offset = |pair: &Edn| pair.as_seq().and_then(|p| p.first()).and_then(Edn::as_int);
    for mop in value.as_seq().unwrap_or_default() {
        match mop.as_seq() {
            Some([_, key, pair]) => {
                if let (Some(key), Some(offset)) = (number(key), offset(pair)) {
                    see(key, offset);
                }
            }
            Some([_, polled]) => {
                for (key, pairs) in polled.entries().unwrap_or_default() {
                    let Some(key) = number(key) else { continue };
                    let pairs = pairs.as_seq().unwrap_or_default();
                    pairs.iter().filter_map(offset).for_each(|offset| see(key, offset));
                }
            }
            _ => {}
        }
    }
}
