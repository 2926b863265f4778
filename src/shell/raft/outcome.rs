//! The end of a request: its answer, another attempt, or giving up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::changes::translate;
use super::machine::{Answer, StateMachine};
use super::pace::moving_time;
use super::pending::{Ask, Certainty, Pending};
use super::planted;
use super::state::{Replica, Started, Wanted};
use crate::message::{ErrorCode, RpcError};
use crate::node::Context;
use crate::planted::guard;
use crate::raft::{ClientId, CommandStatus, ReadContext, Sequence, Term};

/// How long a request is kept, unless the options say otherwise: longer than any client of the
/// protocol waits.
const KEEP: Duration = Duration::from_secs(10);
/// How often a query is sent before it is refused.
const QUERY_ATTEMPTS: u32 = 4;

/// The way by which an answer came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// Its command is committed.
    Log,
    /// Its command changes nothing, and has no place in the log.
    Query,
}

impl<S: StateMachine> Replica<S> {
    /// Looks at everything that waits: sends again, or gives up.
    pub(super) fn retry(&mut self, cx: &mut Context<'_>) {
        let leaderless = Duration::from_millis(self.options.leaderless_ms);
        let Some(started) = &mut self.started else { return };
        let now = cx.now();
        started.forget_reads();
        started.consider_detour(now);
        let rtt_ms = started.timing.rtt_ms(now);
        let client = &mut started.client;
        // The clients' commands keep this node from hearing the others, and take time to pass on.
        let load = moving_time(client.commands.values().map(Pending::size_bytes).sum());
        let within = self.options.answer_within_ms.map(Duration::from_millis);
        let (leaderless, keep) = (leaderless + load, within.unwrap_or(KEEP + load));
        let ready_at = client.ready_at;
        let pace = &mut client.pace;
        let mut refused = Vec::new();
        for commands in [true, false] {
            let (all, unsent) = match commands {
                true => (&mut client.commands, &mut client.unsent_commands),
                false => (&mut client.others, &mut client.unsent_others),
            };
            all.retain(|key, pending| {
                let waited = now - pending.since;
                let is_harmless = pending.sent.is_none() || matches!(pending.ask, Ask::Query(_));
                let waits_too_long = match pending.ask {
                    // While there is a leader it waits for others to be answered.
                    _ if pending.sent.is_none() => now - pending.since.max(ready_at) >= leaderless,
                    // There was a leader to ask. Where messages get lost it takes more
                    // than one attempt to be heard.
                    Ask::Query(_) => {
                        waited >= leaderless.max(pace.patience(1, rtt_ms) * QUERY_ATTEMPTS)
                    }
                    _ => false,
                };
                let waits_too_long = planted::waits_too_long(waits_too_long, waited >= leaderless);
                if waits_too_long || waited >= keep {
                    // Guard: a command that may be in a log is never refused for certain.
                    let certainty = match guard!(is_harmless, DefiniteRefusal) {
                        true => pending.certainty,
                        false => Certainty::Unknown,
                    };
                    refused.push((pending.request.clone(), certainty));
                    pending.leave(pace);
                    unsent.remove(key);
                    return false;
                }
                let patience = pace.patience(pending.copies, rtt_ms);
                if pending.sent.is_some_and(|at| now - at >= patience) {
                    pending.is_late = true;
                    pending.leave(pace);
                    unsent.insert(*key);
                    started.detour.note_unanswered();
                }
                true
            });
        }
        let fresh = started.raft.term() == Term::ZERO && !client.is_idle();
        let first = started.raft.configuration().1.voters.first().copied();
        if let Some(first) = first.filter(|first| fresh && *first != started.id) {
            // The first server may not have been told yet that there is work.
            started.outbox.entry(first).or_default().wake = true;
        }
        for (request, certainty) in refused {
            cx.error(&request, &give_up(certainty));
        }
    }

    /// Takes the outcome of a command, and answers its client.
    pub(super) fn complete(
        &mut self,
        cx: &mut Context<'_>,
        session: u64,
        number: u64,
        answer: Box<RawValue>,
        via: Via,
    ) {
        let Some(started) = &mut self.started else { return };
        let client = &mut started.client;
        if number == 0 {
            // A session was opened: ours, if it has our nonce.
            if client.session.is_none() && answer.get() == client.nonce.to_string() {
                client.session = Some(session);
            }
            return;
        }
        if client.session != Some(session) {
            return;
        }
        if answer.get() == "null" {
            return self.session_ended(cx);
        }
        if let Some(mut pending) = client.commands.remove(&number) {
            client.unsent_commands.remove(&number);
            pending.leave(&mut client.pace);
            // An answer without the log says nothing about how long the log takes.
            if let (Some(sent), 1, true) = (pending.sent, pending.copies, via == Via::Log) {
                client.pace.answered(cx.now(), cx.now() - sent);
            }
            // The window has room again.
            if !client.unsent_commands.is_empty() {
                self.flush_soon(cx);
            }
            cx.reply(&pending.request, &Answer(answer));
        }
    }

    /// A snapshot came in the place of entries, some of which may be this node's commands.
    /// Its sessions know the answers, unless they are too large to be kept.
    pub(super) fn recall(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let Some(session) = started.client.session else { return };
        let numbers: Vec<u64> = started.client.commands.keys().copied().collect();
        for number in numbers {
            if let Some(CommandStatus::Repeated(answer)) =
                self.sessions.recall(ClientId(session), Sequence(number))
            {
                let answer = answer.unwrap_or_else(|| Answer::error(&give_up(Certainty::Unknown)));
                self.complete(cx, session, number, answer.0, Via::Log);
            }
        }
    }

    /// The cluster has forgotten this node's session. The outcome of the commands that
    /// were sent is unknown; the others go into a new one.
    fn session_ended(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let client = &mut started.client;
        client.session = None;
        client.asked = None;
        client.nonce = client.nonce.wrapping_add(1);
        let (sent, unsent): (BTreeMap<_, _>, _) =
            std::mem::take(&mut client.commands).into_iter().partition(|(_, p)| p.sent.is_some());
        client.next_number = 1;
        client.unsent_commands.clear();
        for (_, pending) in unsent {
            client.unsent_commands.insert(client.next_number);
            client.commands.insert(client.next_number, pending);
            client.next_number += 1;
        }
        for (_, mut pending) in sent {
            pending.leave(&mut client.pace);
            cx.error(&pending.request, &give_up(Certainty::Unknown));
        }
    }

    /// The result of a query or a change has come.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, tag: u64, answer: Answer) {
        let Some(started) = &mut self.started else { return };
        let Some(pending) = started.client.others.get(&tag) else { return };
        let answer = match &pending.ask {
            Ask::Change { done, sent_in, .. } => translate(done, sent_in, &answer),
            Ask::Command(_) | Ask::Query(_) => Some(answer),
        };
        let Some(answer) = answer else { return };
        if let Some(mut pending) = started.client.others.remove(&tag) {
            pending.leave(&mut started.client.pace);
            started.client.unsent_others.remove(&tag);
            cx.reply(&pending.request, &answer);
        }
    }
}

/// Returns the error for a client whose request got no answer.
pub(super) fn give_up(certainty: Certainty) -> RpcError {
    match certainty {
        Certainty::NeverHappens => {
            RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, "no leader was found in time")
        }
        Certainty::Unknown => RpcError::new(ErrorCode::TIMEOUT, "the outcome is not known"),
    }
}

impl Started {
    /// Forgets reads at this node whose queries are answered: the leader never got the
    /// question, or its answer was lost, and another attempt succeeded.
    fn forget_reads(&mut self) {
        let (own, others, raft) = (self.id, &self.client.others, &mut self.raft);
        self.reads.retain(|context, reader| {
            let is_query = reader.origin == own && matches!(reader.wanted, Wanted::Answer(_));
            let is_over = is_query && !others.contains_key(&reader.tag);
            if is_over {
                raft.cancel_read(ReadContext(*context));
            }
            !is_over
        });
    }
}
