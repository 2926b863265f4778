//! Examples and stores of tests are in Python.

use std::process::Command;

/// Whether there is Python, which not every machine has.
pub(crate) fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}
