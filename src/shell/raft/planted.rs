//! The bugs that can be planted in the shell (see [`crate::planted`]). Each function
//! returns its first argument, and each method does nothing, unless a mutant is active.

use serde_json::value::RawValue;

use super::client::Client;
use super::envelope::Envelope;
use super::idle_answers::IdleAnswers;
use super::machine::StateMachine;
use super::state::{Replica, SESSION_WINDOW};
use crate::node::Context;
use crate::planted::{Mutant, is};
use crate::raft::{Command, LogId, Options, Sessions};

/// The options of the core.
pub(super) fn core_options(options: Options) -> Options {
    let checks = !is(Mutant::NoPreVote);
    Options { pre_vote: checks, check_quorum: checks, ..options }
}

/// Whether a request is given up, where no leader was found for long enough to refuse one.
pub(super) fn waits_too_long(waits_too_long: bool, is_leaderless: bool) -> bool {
    if is(Mutant::DefiniteRefusal) { is_leaderless } else { waits_too_long }
}

impl Client {
    /// Gives every command that was sent another number.
    pub(super) fn plant_new_numbers(&mut self) {
        if !is(Mutant::RetryIsNew) {
            return;
        }
        let sent: Vec<u64> =
            self.commands.iter().filter(|(_, p)| p.sent.is_some()).map(|(n, _)| *n).collect();
        for number in sent {
            if let Some(pending) = self.commands.remove(&number) {
                self.commands.insert(self.next_number, pending);
                self.next_number += 1;
            }
        }
    }
}

impl IdleAnswers {
    /// Forgets the answers of a session.
    pub(super) fn plant_forgetting(&mut self, session: u64) {
        if is(Mutant::IdleForgotten) {
            self.answered.remove(&session);
        }
    }
}

impl<S: StateMachine> Replica<S> {
    /// Applies and answers a command that was only appended.
    pub(super) fn plant_early_answer(
        &mut self,
        cx: &mut Context<'_>,
        at: LogId,
        command: &Command,
    ) {
        if is(Mutant::AnswerOnAppend)
            && let Some(envelope) = Envelope::read(command.as_bytes())
        {
            self.apply_command(cx, at, envelope);
        }
    }

    /// Applies a command without asking the sessions.
    pub(super) fn plant_repetition(&mut self, command: &RawValue) -> Option<Box<RawValue>> {
        is(Mutant::NoSessions).then(|| self.machine.apply(command).0)
    }

    /// Applies a command of a session that has ended.
    pub(super) fn plant_expired(&mut self, command: &RawValue) -> Option<Box<RawValue>> {
        is(Mutant::ExpiredApplies).then(|| self.machine.apply(command).0)
    }

    /// Loses the sessions of a snapshot.
    pub(super) fn plant_lost_sessions(&mut self) {
        if is(Mutant::OldSnapshot) {
            self.sessions = Sessions::new(self.options.max_sessions, SESSION_WINDOW);
        }
    }
}
