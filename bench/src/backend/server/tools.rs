//! Programs of the system that only root may use.

// Programs are the business of this module.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::process::{Command, Output, Stdio};

/// Checks that this is root, and that the programs are installed. `needs` begins the complaint.
///
/// # Errors
/// The reason why not, as the end of a sentence.
pub(super) fn check(needs: &str, programs: &[&str]) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err(format!("{needs} root, and this is another user"));
    }
    programs.iter().try_for_each(|program| {
        let found = Command::new(program).arg("-V").stdin(Stdio::null()).output();
        found.map(drop).map_err(|e| format!("the program {program}: {e}"))
    })
}

/// Returns the complaint of a program that failed.
pub(super) fn succeeded(program: &str, output: &Output) -> io::Result<()> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{program}: {}", complaint.trim()))),
    }
}
