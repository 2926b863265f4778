//! How often comments use words that stand for a subject without naming it (see
//! `CONTRIBUTING.md`), per thousand words.

use crate::{complain, sources};

/// The words, and how many of a thousand words of comments each may be.
const LIMITS: [(&str, f64); 5] =
    [("what is", 0.5), ("nobody", 0.5), ("somebody", 0.5), ("whoever", 0.5), ("everybody", 0.5)];
/// Limits of the bench where they are higher: the numbers when this was written. They only go
/// down.
const BENCH_LIMITS: [(&str, f64); 2] = [("what is", 1.75), ("nobody", 0.7)];

/// The words of all comments of the bench, or of everything else, in lower case.
fn comments(is_bench: bool) -> String {
    let mut text = String::new();
    let own = sources().into_iter().filter(|(path, _)| path.starts_with("bench") == is_bench);
    for (_, source) in own {
        for line in source.lines().filter_map(|line| line.trim_start().strip_prefix("//")) {
            text.push(' ');
            text.push_str(&line.trim_start_matches(['/', '!', ' ']).to_lowercase());
        }
    }
    text
}

#[test]
fn comments_name_their_subjects() {
    let mut complaints = Vec::new();
    for (area, is_bench) in [("bench", true), ("src, tests, workloads", false)] {
        let text = comments(is_bench);
        let words = text.split_whitespace().count();
        assert!(words > 10_000, "the comments were not read: {words} words");
        for (phrase, limit) in LIMITS {
            let higher = BENCH_LIMITS.iter().find(|(other, _)| is_bench && *other == phrase);
            let limit = higher.map_or(limit, |(_, limit)| *limit);
            let found = text.match_indices(phrase).count() as f64 * 1000.0 / words as f64;
            if found > limit {
                complaints
                    .push(format!("{area}: {phrase}: {found:.2} of 1000 words, at most {limit}"));
            }
        }
    }
    complain(complaints);
}

/// Whether a comment has a sentence that begins with a word in the place of its subject.
fn has_no_subject(comment: &str) -> bool {
    let hides = |sentence: &str| sentence.starts_with("What ") || sentence.starts_with("Whoever ");
    comment.split(". ").any(|sentence| hides(sentence.trim_start_matches(['/', '!', ' '])))
}

#[test]
fn no_sentence_begins_without_a_subject() {
    assert!(has_no_subject("/// Sends it. What comes back is dropped."));
    assert!(!has_no_subject("/// Returns the index. The answer is dropped, whatever it says."));
    let mut complaints = Vec::new();
    for (path, source) in sources() {
        // The comments of the bench are not there yet.
        if path.starts_with("bench") {
            continue;
        }
        for (number, line) in source.lines().enumerate() {
            if line.trim_start().starts_with("//") && has_no_subject(line.trim_start()) {
                complaints.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    complain(complaints);
}
