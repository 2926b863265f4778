//! How often comments use words that stand for a subject without naming it (see
//! `CONTRIBUTING.md`), per thousand words.

use std::path::Path;

use crate::{complain, sources};

/// The words, and how many of a thousand words of comments each may be.
const LIMITS: [(&str, f64); 6] = [
    ("what ", 1.0),
    ("what is", 0.2),
    ("nobody", 0.2),
    ("somebody", 0.2),
    ("whoever", 0.2),
    ("everybody", 0.2),
];
/// Packages whose comments are counted apart, with the fewest words that they have. The others,
/// with all tests of the main package, are counted together.
const AREAS: [(&str, usize); 3] = [("bench", 10_000), ("server", 5_000), ("", 10_000)];

/// The area of a file.
fn area(path: &Path) -> &'static str {
    AREAS.iter().find(|(area, _)| path.starts_with(area)).map_or("", |(area, _)| area)
}

/// The words of all comments of an area, in lower case.
fn comments(of: &str) -> String {
    let mut text = String::new();
    for (_, source) in sources().into_iter().filter(|(path, _)| area(path) == of) {
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
    for (area, words_min) in AREAS {
        let text = comments(area);
        let words = text.split_whitespace().count();
        assert!(words > words_min, "the comments of {area:?} were not read: {words} words");
        for (phrase, limit) in LIMITS {
            let found = text.match_indices(phrase).count() as f64 * 1000.0 / words as f64;
            if found > limit {
                complaints
                    .push(format!("{area:?}: {phrase}: {found:.2} of 1000 words, at most {limit}"));
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
        for (number, line) in source.lines().enumerate() {
            if line.trim_start().starts_with("//") && has_no_subject(line.trim_start()) {
                complaints.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    complain(complaints);
}
