//! Masks for the parts of answers in which two clusters may differ.

use std::collections::BTreeMap;

use regex::{Captures, Regex};

/// Values of these fields of JSON, and of `--write-out=fields`, may differ.
const JSON: &str = "cluster_id|member_id|ID|leader|lease|raft_term|raftTerm|raftIndex|\
    raftAppliedIndex|dbSize|dbSizeInUse|hash|version|took|ttl|id";
const FIELDS: &str = "ClusterID|MemberID|ID|Leader|Lease|RaftTerm|RaftIndex|RaftAppliedIndex|\
    DBSize|DBSizeInUse|Hash|Version|LeaseID";

/// An id. Zeros at the beginning of random bits are not written: one id of 128 has fewer than 15 digits.
pub(crate) const ID: &str = r"\b[0-9a-f]{12,16}\b";

/// Patterns of the known differences, and their replacements.
pub(crate) struct Masks(Vec<(Regex, &'static str)>);

impl Masks {
    pub(crate) fn new() -> Masks {
        let json = format!(r#""({JSON})":("[^"]*"|[0-9a-f.]+)"#);
        let fields = format!(r#""({FIELDS})" : ("[^"]*"|[0-9a-f.]+)"#);
        let masks = [
            (json.as_str(), r#""$1":_"#),
            (fields.as_str(), r#""$1" : _"#),
            (r"took = \S+", "took = _"),
            (r"remaining\(-?\d+s\)", "remaining(_)"),
            (r"127\.0\.0\.1:\d{4,5}", "ADDRESS"),
            (ID, "ID"),
            // Version and size of a status, as words and as a table.
            (r"\b3\.[45]\.\d+\b", "VERSION"),
            (r"\b\d+(\.\d+)? [kM]?B\b", "SIZE"),
            (r"((true|false)[ ,|]+)\d+([ ,|]+)\d+([ ,|]+)\d+", "${1}_${3}_${4}_"),
            // Hashes of ten digits at the most, behind an endpoint.
            (r"(E\d?[ ,|]+)\d{5,10}\b", "${1}HASH"),
            // Of the client's own log.
            (r"0x[0-9a-f]+", "0x_"),
            // Tables are as wide as what they hold.
            (r"-{3,}", "---"),
            (r" {2,}", " "),
        ];
        Masks(masks.map(|(pattern, by)| (Regex::new(pattern).unwrap(), by)).into())
    }

    /// The text with names in the place of values, and without all else that may differ.
    pub(crate) fn apply(&self, text: &str, names: &BTreeMap<String, String>) -> String {
        let mut text = text.to_owned();
        // Names of longer values first: one value may be part of another.
        let mut names: Vec<_> = names.iter().collect();
        names.sort_by_key(|(name, value)| (std::cmp::Reverse(value.len()), (*name).clone()));
        for (name, value) in names {
            text = text.replace(value.as_str(), &format!("${name}"));
        }
        for (pattern, by) in &self.0 {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        sort_lists(&text)
    }
}

/// Members are listed by their ids, endpoints as they answer, and the keys of a lease in the random
/// order of a map of Go: all may differ.
fn sort_lists(text: &str) -> String {
    let members = Regex::new(r"\{[^{}]*(peerURLs|endpoint)[^{}]*\}(,\{[^{}]*\})*").unwrap();
    let text = members.replace_all(text, |found: &Captures<'_>| {
        let mut members: Vec<&str> = found[0].split_inclusive("},").collect();
        members.sort_by_key(|member| member.trim_end_matches(',').to_owned());
        members.iter().map(|member| member.trim_end_matches(',')).collect::<Vec<_>>().join(",")
    });
    let initial = Regex::new(r#"INITIAL_CLUSTER="([^"]*)""#).unwrap();
    let text = initial.replace_all(&text, |found: &Captures<'_>| {
        let mut members: Vec<&str> = found[1].split(',').collect();
        members.sort_unstable();
        format!("INITIAL_CLUSTER={members:?}")
    });
    let keys = Regex::new(r#"attached keys\(\[([^\]]*)\]\)|"keys":\[([^\]]*)\]"#).unwrap();
    let text = keys.replace_all(&text, |found: &Captures<'_>| {
        let list = found.get(1).or(found.get(2)).map_or("", |list| list.as_str());
        let mut keys: Vec<&str> = list.split([' ', ',']).collect();
        keys.sort_unstable();
        format!("keys {keys:?}")
    });
    text.into_owned()
}
