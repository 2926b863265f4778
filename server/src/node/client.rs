//! Requests that wait: writes until they are applied here, reads until they may be served.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use seaworthy::raft::{Command, ReadContext};
use seaworthy::time::Time;

use super::envelope::Write;
use super::machine::SESSION_WINDOW;
use super::members::Proposal;
use super::{Effect, Failure, Node, Reply, Request, Token};
use crate::planted::{self, Mutant};

/// A write or read that got no answer goes out again after this long, in milliseconds; a
/// write waits twice as long each time.
const RETRY_MS: u64 = 400;
/// How many bytes of writes may be on their way to the log. The others wait here.
const WINDOW_BYTES: usize = 8 << 20;
/// How many bytes of writes may wait here.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// The node as a client of its own cluster: its session, and the writes that wait.
#[derive(Debug)]
pub(super) struct Client {
    /// The session, once the log has opened it.
    pub(super) session: Option<u64>,
    /// The request for one, and when it is due to be sent.
    pub(super) open: (Command, Time),
    next_number: u64,
    /// Writes without a number.
    queued: VecDeque<(Token, Vec<u8>, Time)>,
    queued_bytes: usize,
    /// Writes on their way, by number.
    pending: BTreeMap<u64, Pending>,
    pending_bytes: usize,
    /// Reads that wait for the next confirmation.
    reads: Vec<(Token, Time)>,
    /// The confirmation that is under way.
    confirming: Option<Confirming>,
    next_context: u64,
    /// When to look for writes and reads that are due.
    check_at: Time,
}

#[derive(Debug)]
struct Pending {
    token: Token,
    command: Command,
    deadline: Time,
    due: Time,
    wait_ms: u64,
}

#[derive(Debug)]
struct Confirming {
    context: ReadContext,
    /// When the leader is asked once more.
    due: Time,
    reads: Vec<(Token, Time)>,
}

impl Client {
    /// `nonce` makes the names of this life's reads its own.
    pub(super) fn new(open: Command, nonce: u64) -> Client {
        Client {
            session: None,
            open: (open, Time::ZERO),
            next_number: 1,
            queued: VecDeque::new(),
            queued_bytes: 0,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            reads: Vec::new(),
            confirming: None,
            next_context: nonce << 32,
            check_at: Time::MAX,
        }
    }

    /// When something here is due.
    pub(super) fn deadline(&self) -> Time {
        let open = if self.session.is_none() { self.open.1 } else { Time::MAX };
        self.check_at.min(open)
    }

    pub(super) fn waiting_writes(&self) -> usize {
        self.queued.len() + self.pending.len()
    }

    /// The lowest number whose answer is missing.
    fn floor(&self) -> u64 {
        self.pending.first_key_value().map_or(self.next_number, |(number, _)| *number)
    }

    /// Takes out the write with this number, if it still waits.
    pub(super) fn complete(&mut self, number: u64) -> Option<(Token, Command)> {
        let done = self.pending.remove(&number)?;
        self.pending_bytes -= done.command.as_bytes().len();
        Some((done.token, done.command))
    }

    pub(super) fn pending_numbers(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    /// Takes the reads that `context` confirmed.
    pub(super) fn confirmed(&mut self, context: ReadContext) -> Vec<Token> {
        match self.confirming.take_if(|c| c.context == context) {
            Some(confirming) => confirming.reads.into_iter().map(|(token, _)| token).collect(),
            None => Vec::new(),
        }
    }

    /// A confirmation will not come: its reads wait for another.
    pub(super) fn dropped(&mut self, context: ReadContext) {
        if let Some(confirming) = self.confirming.take_if(|c| c.context == context) {
            self.reads.extend(confirming.reads);
        }
    }

    pub(super) fn fail_all(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        let queued = self.queued.drain(..).map(|(token, ..)| token);
        let pending = std::mem::take(&mut self.pending).into_values().map(|p| p.token);
        let confirming = self.confirming.take().into_iter().flat_map(|c| c.reads);
        let reads = self.reads.drain(..).chain(confirming).map(|(token, _)| token);
        let all = queued.chain(pending).chain(reads);
        effects.extend(all.map(|token| Effect::Reply(token, Reply::Failed(failure))));
        (self.queued_bytes, self.pending_bytes) = (0, 0);
    }

    /// Everything goes out again at once: there is a new leader.
    pub(super) fn resend(&mut self, now: Time) {
        for pending in self.pending.values_mut() {
            (pending.due, pending.wait_ms) = (now, RETRY_MS);
        }
        if let Some(confirming) = &mut self.confirming {
            confirming.due = now;
        }
        self.open.1 = now;
        self.check_at = now;
    }

    /// Fails the requests whose deadline has passed.
    fn expire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let mut failed: Vec<Token> = Vec::new();
        let late: Vec<u64> =
            self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(n, _)| *n).collect();
        failed.extend(
            late.into_iter().filter_map(|number| self.complete(number)).map(|(token, _)| token),
        );
        while let Some((token, bytes, _)) = self.queued.pop_front_if(|(.., at)| *at <= now) {
            self.queued_bytes -= bytes.len();
            failed.push(token);
        }
        let confirming = self.confirming.iter_mut().map(|c| &mut c.reads);
        for reads in confirming.chain([&mut self.reads]) {
            failed.extend(reads.extract_if(.., |(_, at)| *at <= now).map(|(token, _)| token));
        }
        let timed_out = |token| Effect::Reply(token, Reply::Failed(Failure::TimedOut));
        effects.extend(failed.into_iter().map(timed_out));
    }
}

impl Node {
    /// Takes up a client's request.
    pub(super) fn ask(&mut self, token: Token, request: Request) {
        let deadline = self.now + Duration::from_millis(self.options.request_timeout_ms);
        if self.stopping.is_some() {
            return self.reply(token, Reply::Failed(Failure::Stopping));
        }
        let client = &mut self.client;
        match request {
            Request::Write(_) if client.queued_bytes > MAX_QUEUED_BYTES => {
                self.reply(token, Reply::Failed(Failure::Overloaded));
            }
            Request::Write(command) => {
                client.queued_bytes += command.len();
                client.queued.push_back((token, command, deadline));
                client.check_at = client.check_at.min(deadline);
            }
            Request::Read if planted::is(Mutant::ReadLocal) => self.show(token),
            Request::Read => {
                client.reads.push((token, deadline));
                client.check_at = client.check_at.min(deadline);
            }
            // Guard: before the log has accepted this life, the state may be as old as the last snapshot:
            // without the users that later entries made, and so without their secrets.
            Request::ReadLocal if self.client.session.is_none() => self.ask(token, Request::Read),
            Request::ReadLocal => self.show(token),
            Request::Lease(lease, question) => self.ask_leader(token, lease, question),
            Request::Change(change) => {
                let proposal = Proposal { change, seen: None };
                self.ask(token, Request::Write(proposal.encode()));
            }
            Request::MoveLeader(to) => self.move_leader(token, to),
            Request::Inspect => self.reply(token, Reply::View(Box::new(self.view()))),
        }
    }

    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply(token, reply));
    }

    /// Answers with the state as it is here and now.
    pub(super) fn show(&mut self, token: Token) {
        let store = self.machine.store.clone();
        self.reply(token, Reply::State(self.raft.term(), store));
    }

    /// The commands that are to go to the leader now. New writes get their numbers.
    pub(super) fn due_commands(&mut self) -> Vec<Command> {
        let (now, retry) = (self.now, Duration::from_millis(RETRY_MS));
        let client = &mut self.client;
        let mut due = Vec::new();
        if client.session.is_none() && client.open.1 <= now {
            due.push(client.open.0.clone());
            client.open.1 = now + retry;
        }
        if client.check_at <= now {
            client.expire(now, &mut self.effects);
            for pending in client.pending.values_mut().filter(|p| p.due <= now) {
                due.push(pending.command.clone());
                pending.due = now + Duration::from_millis(pending.wait_ms);
                pending.wait_ms *= 2;
            }
        }
        let Some(session) = client.session else { return due };
        while client.pending_bytes < WINDOW_BYTES
            && client.next_number - client.floor() < SESSION_WINDOW
            && let Some((token, command, deadline)) = client.queued.pop_front()
        {
            client.queued_bytes -= command.len();
            let number = client.next_number;
            client.next_number += 1;
            let floor = client.pending.first_key_value().map_or(number, |(first, _)| *first);
            let (command, origin) = (&command[..], self.me);
            let command = Write { session, number, floor, origin, command }.encode();
            client.pending_bytes += command.as_bytes().len();
            due.push(command.clone());
            let due = now + retry;
            let pending = Pending { token, command, deadline, due, wait_ms: 2 * RETRY_MS };
            client.pending.insert(number, pending);
        }
        due
    }

    /// Begins a confirmation for all reads that wait, unless one is under way: then the next
    /// one is shared by more.
    pub(super) fn confirm_reads(&mut self) {
        let (now, retry) = (self.now, Duration::from_millis(RETRY_MS));
        let client = &mut self.client;
        if let Some(waiting) = client.confirming.as_mut().filter(|waiting| waiting.due <= now) {
            // The question may be lost, or the answer only be on its way: either of two
            // answers will do. Without a leader the next one is asked.
            waiting.due = now + retry;
            let _ = self.raft.read(waiting.context);
        }
        if client.reads.is_empty() || client.confirming.is_some() {
            return;
        }
        let context = ReadContext(client.next_context);
        if self.raft.read(context).is_ok() {
            client.next_context += 1;
            let reads = std::mem::take(&mut client.reads);
            client.confirming = Some(Confirming { context, due: now + retry, reads });
        }
    }

    /// Sets the time of the next look at waiting requests.
    pub(super) fn set_check(&mut self) {
        let client = &mut self.client;
        let is_idle = client.pending.is_empty()
            && client.queued.is_empty()
            && client.reads.is_empty()
            && client.confirming.is_none();
        let soon = self.now + Duration::from_millis(RETRY_MS / 4);
        client.check_at = match is_idle {
            true => Time::MAX,
            false if client.check_at > self.now => client.check_at.min(soon),
            false => soon,
        };
    }
}
