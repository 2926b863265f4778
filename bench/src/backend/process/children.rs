//! The children that live: none of them may outlive the bench.
//!
//! A child leads a process group of its own, so that a signal reaches its own children, too. The
//! price is that Ctrl-C on the terminal reaches neither, and one that is stopped by SIGSTOP would
//! not even notice that its pipes are closed. Therefore the bench keeps a list, and when it is told
//! to end it ends them first.
//!
//! Deliberately missing: surviving a SIGKILL of the bench itself. Children then see
//! the end of their stdin; those that are stopped remain. The children of a child are killed with
//! it, but only the child itself can be waited for.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The process groups of all children that were started and not killed.
#[derive(Clone, Debug, Default)]
pub struct Children {
    groups: Arc<Mutex<BTreeSet<Pid>>>,
    /// The first signal that asked for an orderly end; 0 before it.
    asked: Arc<AtomicI32>,
}

impl Children {
    /// From now on a signal that ends the bench (SIGINT, SIGTERM, SIGHUP) ends the
    /// children before it.
    ///
    /// # Errors
    /// If the signals cannot be caught.
    pub fn end_with_the_bench(&self) -> io::Result<()> {
        self.catch(false)
    }

    /// From now on the first such signal only asks for an end, see
    /// [`Children::interrupted`]; the second one ends children and bench at once.
    ///
    /// # Errors
    /// If the signals cannot be caught.
    pub fn end_in_order(&self) -> io::Result<()> {
        self.catch(true)
    }

    /// Whether an end was asked for.
    pub fn interrupted(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// Ends the bench as the signal that asked for an end would have; returns if there was
    /// none.
    pub fn die_if_interrupted(&self) {
        let signal = self.asked.load(Ordering::Relaxed);
        if signal != 0 {
            // A shell that sees this ends the script, too.
            let _ = emulate_default_handler(signal);
        }
    }

    fn catch(&self, in_order: bool) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let children = self.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                let first = children.asked.swap(signal, Ordering::Relaxed) == 0;
                if in_order && first {
                    continue;
                }
                // The lock is kept to the end, so that no more are started.
                let groups = children.groups();
                end_all(&groups);
                // Ends the process as if the signal had not been caught.
                let _ = emulate_default_handler(signal);
            }
        });
        Ok(())
    }

    /// Starts a child as the leader of a group.
    pub(in crate::backend) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut groups = self.groups();
        let child = command.process_group(0).spawn()?;
        groups.insert(group(&child));
        Ok(child)
    }

    /// Sends a signal to a child and everything it started.
    pub(in crate::backend) fn signal(&self, child: &Child, signal: Signal) {
        send(group(child), signal);
    }

    /// Ends a child and everything it started, and takes it off the list. A
    /// child that was exiting already ends with the status it chose.
    pub(in crate::backend) fn kill(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let group = group(child);
        send(group, Signal::SIGKILL);
        // It was killed, or had ended before: there is nothing to wait for long.
        let status = child.wait();
        self.groups().remove(&group);
        status
    }

    fn groups(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Kills children and waits until they are dead, since a signal is only sent, and a busy
/// machine may let them run on for longer than the bench.
fn end_all(groups: &BTreeSet<Pid>) {
    let kill = |group: &&Pid| killpg(**group, Signal::SIGKILL).is_ok();
    // First all, then the waiting. One that may not be killed is not waited for.
    let killed: Vec<&Pid> = groups.iter().filter(kill).collect();
    for leader in killed {
        // An error means that its parent has waited for it.
        let _ = waitpid(*leader, None);
    }
}

fn send(group: Pid, signal: Signal) {
    // The group may have ended on its own; then there is no process to tell.
    let _ = killpg(group, signal);
}

/// How a child ended, for people.
pub(in crate::backend) fn tell_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "status unknown".into(),
    }
}
