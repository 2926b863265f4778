//! The client's side: requests of this node's clients, until they are answered.
//!
//! A command is numbered within this life's session and kept until its outcome is
//! known. It is sent to the leader, again if another one leads, and again if nothing
//! comes back for a while; what arrives twice happens once. A session is opened before
//! it is needed, as soon as there is a leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};

use super::detour::Way;
use super::membership::translate;
use super::pace::{Pace, RESEND, moving_time};
use super::pending::{Ask, Pending};
use super::wire::MAX_COMMAND_BYTES;
use super::{
    Answer, Proposal, RETRIES, RETRY, Reader, Replica, SESSION_WINDOW, StateMachine, Wanted,
};
use crate::mark::{self, Mark};
use crate::message::{ErrorCode, Request, RpcError};
use crate::mutant::{self, Mutant};
use crate::node::Context;
use crate::raft::{ClientId, Command, Outcome, RaftId, ReadContext, Sequence, Term};
use crate::time::Time;

/// How long a request is kept, unless the options say otherwise: longer than any client of the
/// protocol waits.
const KEEP: Duration = Duration::from_secs(10);
/// How often a query is sent before it is refused.
const QUERY_ATTEMPTS: u32 = 4;

/// Everything this node has asked of the cluster.
pub(super) struct Client {
    own: RaftId,
    /// Tells this life's session from others when it is opened.
    nonce: u64,
    session: Option<u64>,
    /// When the session was last asked for.
    asked: Option<Time>,
    next_number: u64,
    next_name: u64,
    commands: BTreeMap<u64, Pending>,
    /// Queries and changes of membership, by name.
    pub(super) others: BTreeMap<u64, Pending>,
    /// What has to be sent, by number and by name.
    unsent_commands: BTreeSet<u64>,
    unsent_others: BTreeSet<u64>,
    /// The term in which things were last sent, and the way they went.
    seen: (Term, Option<Way>),
    /// When commands could last be sent.
    ready_at: Time,
    pace: Pace,
}

impl Client {
    pub(super) fn new(own: RaftId, nonce: u64) -> Client {
        Client {
            own,
            nonce,
            session: None,
            asked: None,
            next_number: 1,
            // Answers to an earlier life must match nothing.
            next_name: nonce,
            commands: BTreeMap::new(),
            others: BTreeMap::new(),
            unsent_commands: BTreeSet::new(),
            unsent_others: BTreeSet::new(),
            seen: (Term::ZERO, None),
            ready_at: Time::ZERO,
            pace: Pace::default(),
        }
    }

    /// Whether this life's session is the one with this nonce.
    pub(super) fn has_nonce(&self, nonce: u64) -> bool {
        self.nonce == nonce
    }

    /// Whether somebody waits for an answer.
    pub(super) fn has_requests(&self) -> bool {
        !self.commands.is_empty() || !self.others.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.commands.is_empty() && self.others.is_empty() && self.session.is_some()
    }

    /// The lowest number without an answer.
    fn floor(&self) -> u64 {
        self.commands.first_key_value().map_or(self.next_number, |(number, _)| *number)
    }

    /// Everything has to be sent again: somebody else leads.
    fn resend_all(&mut self) {
        if self.commands.values().any(|pending| pending.sent.is_some()) {
            mark::hit(Mark::CommandRetried);
        }
        if mutant::is(Mutant::RetryIsNew) {
            self.renumber();
        }
        self.commands.values_mut().for_each(|pending| pending.leave(&mut self.pace));
        self.others.values_mut().for_each(|pending| pending.leave(&mut self.pace));
        self.unsent_commands = self.commands.keys().copied().collect();
        self.unsent_others = self.others.keys().copied().collect();
        self.asked = None;
    }

    /// Gives every command that was sent a number of its own once more.
    fn renumber(&mut self) {
        let sent: Vec<u64> =
            self.commands.iter().filter(|(_, p)| p.sent.is_some()).map(|(n, _)| *n).collect();
        for number in sent {
            if let Some(pending) = self.commands.remove(&number) {
                self.commands.insert(self.next_number, pending);
                self.next_number += 1;
            }
        }
    }

    /// The term in which the newest copy of this session's command was sent; `None` if it is
    /// answered, or if a plain copy was sent.
    pub(super) fn newest_copy(&self, session: u64, number: u64) -> Option<Term> {
        let is_own = self.session == Some(session);
        self.commands.get(&number).filter(|_| is_own).and_then(Pending::newest_copy)
    }

    /// Whether this session's command has no answer.
    pub(super) fn waits_for(&self, session: u64, number: u64) -> bool {
        self.session == Some(session) && self.commands.contains_key(&number)
    }

    /// A command as it stands in the log: session, number, floor, origin, command.
    fn envelope(&self, session: u64, number: u64) -> Option<Box<RawValue>> {
        let Ask::Command(command) = &self.commands.get(&number)?.ask else { return None };
        let envelope = (session, number, self.floor(), self.own, command);
        Some(to_raw_value(&envelope).expect("envelopes are plain data"))
    }
}

impl<S: StateMachine> Replica<S> {
    /// Replicates `command` and answers `request` with what the state machine says.
    pub fn submit(&mut self, cx: &mut Context<'_>, request: Request, command: Box<RawValue>) {
        self.take_command(cx, request, command, false);
    }

    /// Like [`Replica::submit`], but if there is no outcome the error promises nothing,
    /// not even that nothing has happened. For clients that would make too much of a
    /// promise.
    pub fn submit_vaguely(
        &mut self,
        cx: &mut Context<'_>,
        request: Request,
        command: Box<RawValue>,
    ) {
        self.take_command(cx, request, command, true);
    }

    fn take_command(
        &mut self,
        cx: &mut Context<'_>,
        request: Request,
        command: Box<RawValue>,
        vague: bool,
    ) {
        if vague && self.is_outsider() {
            return cx.error(&request, &give_up(false));
        }
        if self.refuse_outsider(cx, &request) {
            return;
        }
        if command.get().len() > MAX_COMMAND_BYTES {
            let text = format!("larger than {MAX_COMMAND_BYTES} bytes: no message could hold it");
            return cx.error(&request, &RpcError::new(ErrorCode::NOT_SUPPORTED, text));
        }
        let Some(started) = &mut self.started else { return };
        let client = &mut started.client;
        let number = client.next_number;
        client.next_number += 1;
        let pending = Pending::new(request, Ask::Command(command), cx.now(), vague);
        client.commands.insert(number, pending);
        client.unsent_commands.insert(number);
        self.flush_soon(cx);
    }

    /// Answers `request` with what the state machine says to `query`, as of some moment
    /// between now and the answer.
    pub fn query(&mut self, cx: &mut Context<'_>, request: Request, query: Box<RawValue>) {
        if !self.refuse_outsider(cx, &request) {
            self.ask(cx, request, Ask::Query(query));
        }
    }

    /// Asks the leader for something that is not a command.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>, request: Request, ask: Ask) {
        let Some(started) = &mut self.started else { return };
        let client = &mut started.client;
        let name = client.next_name;
        client.next_name = client.next_name.wrapping_add(1);
        let pending = Pending::new(request, ask, cx.now(), false);
        client.others.insert(name, pending);
        client.unsent_others.insert(name);
        self.flush_soon(cx);
    }

    /// Refuses a request if this node is no member. It has left nothing anywhere.
    pub fn refuse_outsider(&mut self, cx: &mut Context<'_>, request: &Request) -> bool {
        let is_outsider = self.is_outsider();
        if is_outsider {
            let text = format!("{} is no member of the cluster", cx.id());
            cx.error(request, &RpcError::new(ErrorCode::NOT_A_MEMBER, text));
        }
        is_outsider
    }

    fn is_outsider(&self) -> bool {
        let Some(started) = &self.started else { return true };
        let (own, (_, config)) = (started.own, started.raft.configuration());
        !config.voters.contains(&own) && !config.learners.contains(&own)
    }

    /// Sends what has to be sent to the leader, if there is one.
    pub(super) fn send_requests(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let way = started.way(cx.now());
        started.seek(cx.now());
        let client = &mut started.client;
        let seen = (started.raft.term(), way);
        if seen.1.is_some() && seen != client.seen {
            client.seen = seen;
            client.resend_all();
        }
        if !client.is_idle() {
            cx.set_timer_if_unset(RETRIES, RETRY);
        }
        let Some(Way::Direct(to) | Way::By(to)) = way else { return };
        if client.session.is_some() {
            client.ready_at = cx.now();
        }
        // By way of another, it is not known which term the leader is in.
        let term = started.raft.term();
        let label = matches!(way, Some(Way::Direct(_))).then_some(term);
        self.send_commands(cx.now(), to, label.filter(|_| S::HAS_IDLE_COMMANDS));
        self.send_others(cx.now(), to);
        if let Some(Way::By(other)) = way
            && let Some(started) = &mut self.started
            && let Some(parcel) = started.outbox.get_mut(&other)
        {
            parcel.pass_on = !parcel.requests.is_empty();
        }
    }

    fn send_commands(&mut self, now: Time, to: RaftId, label: Option<Term>) {
        let Some(started) = &mut self.started else { return };
        let client = &mut started.client;
        let mut envelopes = Vec::new();
        if let Some(session) = client.session {
            let horizon = client.floor() + SESSION_WINDOW;
            while let Some(number) = client.unsent_commands.first().copied() {
                let bytes = client.commands.get(&number).map_or(0, Pending::size_bytes);
                if number >= horizon || !client.pace.has_room(bytes) {
                    break;
                }
                client.unsent_commands.remove(&number);
                let Some(envelope) = client.envelope(session, number) else { continue };
                let Some(pending) = client.commands.get_mut(&number) else { continue };
                pending.send(now, &mut client.pace);
                envelopes.push((pending.label(label), envelope));
            }
        } else if client.asked.is_none_or(|at| now - at >= RESEND) {
            client.asked = Some(now);
            let open = (client.nonce, client.own);
            envelopes.push((None, to_raw_value(&open).expect("numbers are plain data")));
        }
        if to == started.own {
            let voucher = (started.own, Term::ZERO);
            started.batch.extend(envelopes.iter().map(|(sent_in, envelope)| Proposal {
                command: Command::from(envelope.get()),
                sent_in: *sent_in,
                voucher,
            }));
        } else if !envelopes.is_empty() {
            let requests = &mut started.outbox.entry(to).or_default().requests;
            for (sent_in, envelope) in envelopes {
                match sent_in {
                    Some(term) => requests.labelled.push((term, envelope)),
                    None => requests.commands.push(envelope),
                }
            }
        }
    }

    fn send_others(&mut self, now: Time, to: RaftId) {
        let reads_here = self.options.follower_reads;
        let Some(started) = &mut self.started else { return };
        let own = started.own;
        for name in std::mem::take(&mut started.client.unsent_others) {
            let client = &mut started.client;
            let Some(pending) = client.others.get_mut(&name) else { continue };
            pending.send(now, &mut client.pace);
            match &mut pending.ask {
                Ask::Query(query) => {
                    let query = query.clone();
                    let wanted = Wanted::Answer(query.clone());
                    let reader = Reader { origin: own, name, wanted };
                    let is_here = to == own || reads_here || mutant::is(Mutant::LocalReadAnywhere);
                    let is_taken = is_here && started.read(reader, own, Term::ZERO);
                    if !is_taken && to != own {
                        let parcel = started.outbox.entry(to).or_default();
                        parcel.requests.queries.push((name, query));
                    }
                }
                Ask::Change { goal, sent_in, .. } => {
                    let (goal, term) = (goal.clone(), started.raft.term());
                    if sent_in.last() != Some(&term) {
                        sent_in.push(term);
                    }
                    if to == own {
                        started.change(now, (own, name), term, goal);
                    } else {
                        let parcel = started.outbox.entry(to).or_default();
                        parcel.requests.changes.push((name, term, goal));
                    }
                }
                Ask::Command(_) => unreachable!("commands are kept by number"),
            }
        }
    }

    /// Looks at everything that waits: sends again, or gives up.
    pub(super) fn retry(&mut self, cx: &mut Context<'_>) {
        let leaderless = Duration::from_millis(self.options.leaderless_ms);
        let Some(started) = &mut self.started else { return };
        let now = cx.now();
        started.forget_reads();
        started.consider_detour(now);
        let rtt_ms = started.timing.rtt_ms(now);
        let client = &mut started.client;
        // What clients send keeps this node from hearing the others, and takes time to pass on.
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
                let rash = mutant::is(Mutant::DefiniteRefusal);
                let harmless = pending.sent.is_none() || matches!(pending.ask, Ask::Query(_));
                let harmless = harmless || rash;
                let waits_too_long = match pending.ask {
                    _ if rash => waited >= leaderless,
                    // While there is a leader it waits for others to be answered.
                    _ if pending.sent.is_none() => now - pending.since.max(ready_at) >= leaderless,
                    // There was a leader to ask. Where messages get lost it takes more
                    // than one attempt to be heard.
                    Ask::Query(_) => {
                        waited >= leaderless.max(pace.patience(1, rtt_ms) * QUERY_ATTEMPTS)
                    }
                    _ => false,
                };
                if waits_too_long || waited >= keep {
                    refused.push((pending.request.clone(), harmless && !pending.vague));
                    pending.leave(pace);
                    unsent.remove(key);
                    return false;
                }
                let patience = pace.patience(pending.copies, rtt_ms);
                if pending.sent.is_some_and(|at| now - at >= patience) {
                    pending.leave(pace);
                    unsent.insert(*key);
                    started.detour.stays_unanswered();
                }
                true
            });
        }
        let fresh = started.raft.term() == Term::ZERO && !client.is_idle();
        let first = started.raft.configuration().1.voters.first().copied();
        if let Some(first) = first.filter(|first| fresh && *first != started.own) {
            // Nobody may have told the first server yet that there is work.
            started.outbox.entry(first).or_default().wake = true;
        }
        for (request, harmless) in refused {
            cx.error(&request, &give_up(harmless));
        }
    }

    /// A command's outcome has come, by way of the log or without it.
    pub(super) fn complete(
        &mut self,
        cx: &mut Context<'_>,
        session: u64,
        number: u64,
        answer: Box<RawValue>,
        is_logged: bool,
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
            if let (Some(sent), 1, true) = (pending.sent, pending.copies, is_logged) {
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
            if let Some(Outcome::Repeated(answer)) =
                self.sessions.recall(ClientId(session), Sequence(number))
            {
                let answer = answer.unwrap_or_else(|| Answer::error(&give_up(false)));
                self.complete(cx, session, number, answer.0, true);
            }
        }
    }

    /// The cluster has forgotten this node's session. What became of the commands that
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
            cx.error(&pending.request, &give_up(false));
        }
    }

    /// The result of a query or a change has come.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, name: u64, answer: Answer) {
        let Some(started) = &mut self.started else { return };
        if let Some(mut pending) = started.client.others.remove(&name) {
            pending.leave(&mut started.client.pace);
            started.client.unsent_others.remove(&name);
            let answer = match &pending.ask {
                Ask::Change { done, sent_in, .. } => translate(done, sent_in, answer),
                Ask::Command(_) | Ask::Query(_) => answer,
            };
            cx.reply(&pending.request, &answer);
        }
    }
}

/// What a client is told whose request got no answer. Only what cannot have happened
/// is definitely refused.
fn give_up(harmless: bool) -> RpcError {
    // Guard: what may be in a log is never refused for certain.
    if harmless {
        RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, "no leader was found in time")
    } else {
        RpcError::new(ErrorCode::TIMEOUT, "the outcome is not known")
    }
}

impl super::Started {
    /// Forgets reads at this node whose queries are answered: the leader never got the
    /// question, or its answer was lost, and another attempt succeeded.
    fn forget_reads(&mut self) {
        let (own, others, raft) = (self.own, &self.client.others, &mut self.raft);
        self.reads.retain(|context, reader| {
            let is_query = reader.origin == own && matches!(reader.wanted, Wanted::Answer(_));
            let is_over = is_query && !others.contains_key(&reader.name);
            if is_over {
                raft.cancel_read(ReadContext(*context));
            }
            !is_over
        });
    }

    /// Asks the core for a read. `voucher`, who brought it, was in `term` when it did.
    /// Returns whether the core took it.
    pub(super) fn read(&mut self, reader: Reader, voucher: RaftId, term: Term) -> bool {
        let context = self.next_read;
        self.next_read = self.next_read.wrapping_add(1);
        let origin = reader.origin;
        let taken = match origin == self.own {
            true => self.raft.read(ReadContext(context)),
            false => self.raft.read_for(ReadContext(context), voucher, term),
        };
        if taken.is_ok() {
            self.reads.insert(context, reader);
        }
        taken.is_ok()
    }
}
