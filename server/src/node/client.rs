//! The node as a client of its own cluster: writes go out until they are applied here, reads until
//! they may be served.

use std::time::Duration;

use seaworthy::raft::{Command, ReadContext};
use seaworthy::time::Time;

use super::envelope::Write;
use super::machine::SESSION_WINDOW;
use super::members::Proposal;
use super::waiting::{Confirming, Pending, RETRY_MS};
use super::{Effect, Failure, Node, Reply, Request, Token};

/// How many bytes of writes may be on their way to the log. The others wait here.
const WINDOW_BYTES: usize = 8 << 20;
/// How many bytes of writes may wait here.
const MAX_QUEUED_BYTES: usize = 64 << 20;

impl Node {
    /// Takes up a client's request.
    pub(super) fn ask(&mut self, token: Token, request: Request) {
        let deadline = self.now + Duration::from_millis(self.options.request_timeout_ms);
        if self.stopping.is_some() {
            return self.reply(token, Reply::Failed(Failure::Stopping));
        }
        let at_once = self.reads_at_once();
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
            Request::Read if at_once => self.show(token),
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
            let late = client.expire(now).into_iter();
            let timed_out = |token| Effect::Reply(token, Reply::Failed(Failure::TimedOut));
            self.effects.extend(late.map(timed_out));
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
