//! How often comments use words that stand for a subject without naming it (see
//! `CONTRIBUTING.md`), per thousand words.

use crate::{complain, sources};

/// The word, and how many of a thousand words of comments it may be: 0.5, or what it was when
/// this was written where that was more. The limits only go down.
const LIMITS: [(&str, f64); 5] =
    [("what is", 1.9), ("nobody", 0.9), ("somebody", 0.5), ("whoever", 0.5), ("everybody", 0.5)];

/// The words of all comments, in lower case.
fn comments() -> String {
    let mut text = String::new();
    for (_, source) in sources() {
        for line in source.lines().filter_map(|line| line.trim_start().strip_prefix("//")) {
            text.push(' ');
            text.push_str(&line.trim_start_matches(['/', '!', ' ']).to_lowercase());
        }
    }
    text
}

#[test]
fn comments_name_their_subjects() {
    let text = comments();
    let words = text.split_whitespace().count();
    assert!(words > 10_000, "the comments were not read: {words} words");
    let complaints = LIMITS.iter().filter_map(|(phrase, limit)| {
        let found = text.match_indices(phrase).count() as f64 * 1000.0 / words as f64;
        (found > *limit).then(|| format!("{phrase}: {found:.2} of 1000 words, at most {limit}"))
    });
    complain(complaints.collect());
}
