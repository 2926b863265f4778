//! A test that runs the bench takes its seed.
//!
//! Without one the bench draws it from the clock, so that a test that is green a hundred times
//! meets a run in which, say, no `cas` succeeds: rightly invalid, and nothing that has changed.

use super::{complain, sources};

/// Loads that draw nothing that their verdict depends on.
const DRAWS_NOTHING: [&str; 1] = ["echo"];

/// The command lines `test -w LOAD ...` in this source, up to the end of their literal.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let start = concat!("test", " -w ");
    text.match_indices(start).map(move |(at, _)| {
        let line = &text[at + start.len()..];
        &line[..line.find('"').unwrap_or(line.len())]
    })
}

fn is_settled(line: &str) -> bool {
    let draws_nothing = DRAWS_NOTHING.iter().any(|load| line.starts_with(load));
    // A run of no operations, in which only time passes.
    draws_nothing || line.contains("--seed") || line.contains("--rate 0")
}

#[test]
fn runs_of_tests_are_drawn_from_a_given_seed() {
    let mut complaints = Vec::new();
    for (path, text) in
        sources().iter().filter(|(path, _)| path.to_string_lossy().contains("/tests/"))
    {
        let unsettled = lines(text).filter(|line| !is_settled(line));
        complaints.extend(unsettled.map(|line| format!("{}: no seed: {line}", path.display())));
    }
    complain(complaints);
}

#[test]
fn a_line_ends_with_its_literal() {
    let source = concat!("run(\"test", " -w lin-kv --rate 5\"); let seed = \"--seed 1\";");
    let found: Vec<&str> = lines(source).collect();
    assert_eq!(found, ["lin-kv --rate 5"]);
    assert!(!is_settled(found[0]) && is_settled("g-set --seed 1") && is_settled("echo"));
}
