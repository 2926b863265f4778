//! Rules about the source that no compiler checks: the tidy test.
//!
//! Files stay short, every module tells its purpose, nothing is left half done, arrows between
//! modules point down (`layers`), and comments name their subjects (`prose`). Formatting, printing
//! and purity are the business of rustfmt and clippy.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

mod arrows;
mod layers;
mod planted;
mod prose;
mod readme;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this fails.
const LINES_MAX: usize = 500;
/// A function longer than this fails.
const FUNCTION_LINES_MAX: usize = 70;
/// Functions that are longer and known, by file and name, and how long they may be.
const KNOWN_LONG: [(&str, &str, usize); 1] = [("bench/src/bin/mutants/schedule.rs", "fn of(", 80)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source of the packages, by its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut found = Vec::new();
    let tops = ["src", "tests", "workloads", "bench", "server"];
    let mut open: Vec<PathBuf> = tops.iter().map(|top| root.join(top)).collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 20, "the walk lost its way");
    found
}

/// Fails with every complaint at once.
fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    });
    complain(long.collect());
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = sources().into_iter().filter_map(|(path, text)| {
        let missing = !text.starts_with("//!");
        missing.then(|| format!("{}: does not begin with //!", path.display()))
    });
    complain(silent.collect());
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match &open {
                // rustfmt puts the closing brace below the first letter of `fn`'s line.
                Some((start, at, name)) if indent == *at && line.trim_end().ends_with('}') => {
                    let lines = number - start;
                    if lines > limit(&path, name) {
                        let place = format!("{}:{}", path.display(), start + 1);
                        complaints.push(format!("{place}: {lines} lines in {name}"));
                    }
                    open = None;
                }
                None if is_function(line) && !line.ends_with('}') && !line.ends_with(';') => {
                    open = Some((number, indent, line.trim().to_owned()));
                }
                _ => {}
            }
        }
    }
    complain(complaints);
}

/// How long this function may be.
fn limit(path: &Path, name: &str) -> usize {
    let known =
        KNOWN_LONG.iter().find(|(file, part, _)| path == Path::new(file) && name.contains(part));
    known.map_or(FUNCTION_LINES_MAX, |(.., lines)| *lines)
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_sight = |word: &str| word.starts_with("pub") || word.ends_with(')');
    let is_before = |word: &&str| is_sight(word) || ["const", "async", "unsafe"].contains(word);
    words.find(|word| !is_before(word)) == Some("fn")
}

#[test]
fn nothing_is_left_to_do() {
    // Spelled in halves, so that this file does not find itself.
    let marks = [("TO", "DO"), ("FIX", "ME")].map(|(a, b)| format!("{a}{b}"));
    let mut left = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                left.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    complain(left);
}

#[test]
fn tests_are_not_switched_off() {
    let attribute = concat!("#[", "ignore");
    let off = sources().into_iter().filter(|(_, text)| text.contains(attribute));
    complain(off.map(|(path, _)| format!("{}: a test is switched off", path.display())).collect());
}

#[test]
fn functions_of_every_kind_are_seen() {
    for start in ["fn f(", "pub(in crate::a) const fn f(", "    pub async fn f(", "const fn f("] {
        assert!(is_function(start), "{start}");
    }
    assert!(!is_function("let f: fn(u8) = g;") && !is_function("const F: u8 = 1;"));
}
