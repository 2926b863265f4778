//! Why a test did not pass, in a few words.
//!
//! The result map holds the evidence; this is the line that people read first.

use super::{Outcome, Verdict};
use crate::edn::{Edn, printable};

/// How much of a value is quoted, in characters.
const QUOTE: usize = 80;

/// How many of several findings are named.
const NAMED: usize = 4;

/// One line for each part of the composed outcome that is not valid: its name and
/// what it found.
pub fn reasons(outcome: &Outcome) -> Vec<String> {
    let not_valid =
        |part: &&(Edn, Edn)| part.1.get("valid?").is_some_and(|valid| *valid != Edn::Bool(true));
    let tell = |(name, part): &(Edn, Edn)| {
        let name = name.as_text().unwrap_or("?");
        let mut found = findings(part);
        if found.is_empty() {
            // What a part of it says, or, if nothing has a name, all of it.
            found.push(within(part).unwrap_or_else(|| quote(part)));
        }
        format!("{name}: {}", found.join("; "))
    };
    let told: Vec<String> = outcome.details.iter().filter(not_valid).map(tell).collect();
    // An outcome without parts says it itself.
    if told.is_empty() && outcome.verdict != Verdict::Valid {
        return findings(&Edn::Map(outcome.details.clone()));
    }
    told
}

/// The first complaint of a part of a part, such as one of many objects.
fn within(part: &Edn) -> Option<String> {
    let entries = part.entries()?.iter();
    entries.filter(|(_, inner)| inner.get("valid?") != Some(&Edn::Bool(true))).find_map(
        |(name, inner)| {
            let found = findings(inner);
            if found.is_empty() {
                return within(inner).map(|text| match name {
                    Edn::Keyword(_) => text,
                    key => format!("{}: {text}", quote(key)),
                });
            }
            Some(found.join("; "))
        },
    )
}

/// What a part of the result map says, whichever checker wrote it.
pub fn findings(part: &Edn) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(error) = part.get("error") {
        found.push(error.as_text().map_or_else(|| quote(error), printable));
    }
    for what in ["lost", "duplicated", "phantom"] {
        let count = part.get(&format!("{what}-count")).and_then(Edn::as_int).unwrap_or(0);
        if count > 0 {
            found.push(format!("{count} {what}: {}", named(part.get(what))));
        }
    }
    if let Some([first, ..]) = part.get("errors").and_then(Edn::as_seq) {
        found.push(match (part.get("acceptable"), first.get("value")) {
            (Some(sums), Some(read)) => format!("read {read} where {} was possible", quote(sums)),
            _ => quote(first),
        });
    }
    if let Some(kind) = part.get("first-error").and_then(|error| error.get("type")) {
        let count = |key: &str| part.get(key).and_then(Edn::as_int).unwrap_or(0);
        let (wrong, reads) = (count("error-count"), count("read-count"));
        found.push(format!("{wrong} of {reads} reads are wrong, the first {kind}"));
    }
    if let Some(forks) = part.get("fork-count").and_then(Edn::as_int) {
        found.push(format!("{forks} pairs of reads saw writes in opposite orders"));
    }
    for (key, what) in [
        ("anomaly-types", "anomalies"),
        ("bad-error-types", "anomalies"),
        ("failures", "not linearizable: keys"),
    ] {
        if part.get(key).and_then(Edn::as_seq).is_some_and(|types| !types.is_empty()) {
            found.push(format!("{what} {}", named(part.get(key))));
        }
    }
    let count = |key: &str| part.get(key).and_then(Edn::as_int).unwrap_or(0);
    if count("unanswered-count") > 0 {
        let (unanswered, asked) = (count("unanswered-count"), count("asked-count"));
        found.push(format!("{unanswered} of {asked} operations unanswered"));
    }
    if let Some([first, ..]) = part.get("faults").and_then(Edn::as_seq) {
        let text = |key: &str| first.get(key).and_then(Edn::as_text).unwrap_or("?");
        found.push(format!("{} {}", text("node"), text("fault")));
    }
    if let Some(by_f) = part.get("by-f").and_then(Edn::entries) {
        let never = by_f.iter().filter(|(_, f)| f.get("ok-count") == Some(&Edn::Int(0)));
        found.extend(never.map(|(f, _)| format!("no {f} succeeded")));
    }
    if let Some(fraction) = part.get("ok-fraction") {
        found.push(format!("the fraction {fraction} of the operations succeeded"));
    }
    if let (Some(op), Some(_)) = (part.get("op").filter(|op| !op.is_nil()), part.get("final-paths"))
    {
        let field = |name: &str| quote(op.get(name).unwrap_or(&Edn::Nil));
        let (index, f, value) = (field("index"), field("f"), field("value"));
        found.push(format!("no order of the operations explains {f} {value} at index {index}"));
    }
    if found.is_empty() && part.get("stable-count") == Some(&Edn::Int(0)) {
        found.push("no element was ever seen".to_owned());
    }
    found
}

/// The first few of some values, or of the keys of a map.
fn named(values: Option<&Edn>) -> String {
    let all: Vec<&Edn> = match values {
        Some(Edn::Map(entries)) => entries.iter().map(|(key, _)| key).collect(),
        Some(other) => other.as_seq().unwrap_or_default().iter().collect(),
        None => Vec::new(),
    };
    let mut text: Vec<String> = all.iter().take(NAMED).map(|value| quote(value)).collect();
    if all.len() > NAMED {
        text.push("...".to_owned());
    }
    text.join(" ")
}

fn quote(value: &Edn) -> String {
    let text = printable(&value.to_string());
    match text.char_indices().nth(QUOTE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
