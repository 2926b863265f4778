//! The subcommands of `seaworthy`, one file each.

pub mod analyze;
pub mod check;
pub mod demo;
pub mod doc;
pub mod explore;
pub mod line;
pub mod merge;
pub mod page;
mod pieces;
pub mod plot;
pub mod replay;
pub mod serve;
pub mod summary;
mod sums;
pub mod test;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::process::unix_millis;
use crate::check::{Class, Symptom, Verdict};
use crate::explore::Trial;

/// How a command ends, as the shell sees it (Jepsen's exit statuses).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0, 1 or 2.
    Verdict(Verdict),
    /// 3: no answers although all faults were over (explore, replay).
    NoProgress,
    /// 4: a simulated node panicked (explore, replay).
    NodeCrash,
    /// 254: the arguments make no sense.
    Usage,
    /// 255: the test itself could not be carried out.
    Crash,
}

impl Exit {
    /// The end of a command that made a run.
    pub fn of(trial: &Trial) -> Exit {
        match trial.symptom {
            Some(Symptom { class: Class::Crash, .. }) => Exit::NodeCrash,
            Some(Symptom { class: Class::Progress, .. }) => Exit::NoProgress,
            _ => Exit::Verdict(trial.verdict),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Verdict(Verdict::Valid) => 0,
            Exit::Verdict(Verdict::Invalid) => 1,
            Exit::Verdict(Verdict::Unknown) => 2,
            Exit::NoProgress => 3,
            Exit::NodeCrash => 4,
            Exit::Usage => 254,
            Exit::Crash => 255,
        })
    }
}

/// Whether standard output is for JSON alone.
static IS_FOR_JSON: AtomicBool = AtomicBool::new(false);

/// From now on [`say`] prints to standard error: standard output is for JSON.
fn say_nothing_on_stdout() {
    IS_FOR_JSON.store(true, Ordering::Relaxed);
}

/// Prints a JSON value on a line of standard output.
fn print_json(value: &serde_json::Value) {
    let _ = writeln!(io::stdout().lock(), "{value}");
}

/// Prints a line. A closed pipe (`| head -1`) changes no verdict, so
/// it is not an error.
#[allow(clippy::print_stdout, reason = "the test harness captures only the macros")]
pub fn say(line: impl Display) {
    if IS_FOR_JSON.load(Ordering::Relaxed) {
        return note(line);
    }
    if cfg!(test) {
        return println!("{line}");
    }
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Prints a line to standard error, for people who wait.
#[allow(clippy::print_stderr, reason = "the test harness captures only the macros")]
pub fn note(line: impl Display) {
    if cfg!(test) {
        return eprintln!("{line}");
    }
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Signs of life for people who see no bar, as in a pipe: a line a few seconds apart.
pub struct Signs {
    is_wanted: bool,
    begun_ms: u64,
    next_ms: AtomicU64,
}

/// Milliseconds between two signs of life.
const SIGN_MS: u64 = 5000;

impl Default for Signs {
    fn default() -> Signs {
        let begun_ms = unix_millis();
        let next_ms = AtomicU64::new(begun_ms + SIGN_MS);
        Signs { is_wanted: !io::stderr().is_terminal(), begun_ms, next_ms }
    }
}

impl Signs {
    /// Prints the line that `tell` makes, if it is time for one. It gets the real time since the
    /// command began.
    pub fn show<T: Display>(&self, tell: impl FnOnce(Duration) -> T) {
        if !self.is_wanted {
            return;
        }
        let (now, due) = (unix_millis(), self.next_ms.load(Ordering::Relaxed));
        let take = || {
            let next = now + SIGN_MS;
            self.next_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        // Of several threads one prints.
        if now >= due && take().is_ok() {
            note(tell(Duration::from_millis(now.saturating_sub(self.begun_ms))));
        }
    }
}

#[allow(clippy::print_stderr, reason = "the test harness captures only the macros")]
fn complain(message: &str) {
    if cfg!(test) {
        return eprintln!("seaworthy: {message}");
    }
    let _ = writeln!(io::stderr().lock(), "seaworthy: {message}");
}

/// Reports a mistake in the arguments.
pub fn usage(message: &str) -> Exit {
    complain(message);
    Exit::Usage
}

/// Reports that the bench itself failed.
pub fn crash(message: &str) -> Exit {
    complain(message);
    Exit::Crash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_status_of_its_own() {
        let ends = [
            (Exit::Verdict(Verdict::Valid), 0),
            (Exit::Verdict(Verdict::Invalid), 1),
            (Exit::Verdict(Verdict::Unknown), 2),
            (Exit::NoProgress, 3),
            (Exit::NodeCrash, 4),
            (Exit::Usage, 254),
            (Exit::Crash, 255),
        ];
        for (exit, status) in ends {
            assert_eq!(ExitCode::from(exit), ExitCode::from(status), "{exit:?}");
        }
    }
}
