//! Planted bugs stay out of the code that they break.

use crate::{complain, sources};

/// Whether the file may ask which mutant is active.
fn is_planted(path: &str) -> bool {
    path.contains("/planted")
}

#[test]
fn only_planted_files_ask_for_a_mutant() {
    // Spelled in halves, so that this file does not find itself.
    let ask = concat!("Mutant", "::");
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let path = path.to_string_lossy().into_owned();
        let can_break = ["src/", "workloads/src/", "server/src/"];
        if !can_break.iter().any(|dir| path.starts_with(dir)) || is_planted(&path) {
            continue;
        }
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.contains(ask)) {
            complaints.push(format!("{path}:{}: {}", number + 1, line.trim()));
        }
    }
    complain(complaints);
}
