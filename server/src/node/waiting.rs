//! The requests of this server's clients that have no answer yet.

use std::collections::{BTreeMap, VecDeque};

use seaworthy::raft::{Command, ReadContext};
use seaworthy::time::Time;

use super::token::Token;

/// A write or read that got no answer goes out again after this long, in milliseconds; a
/// write waits twice as long each time.
pub(super) const RETRY_MS: u64 = 400;

/// The node as a client of its own cluster: its session, and the writes that wait.
#[derive(Debug)]
pub(super) struct Client {
    /// The session, once the log has opened it.
    pub(super) session: Option<u64>,
    /// The request for one, and when it is due to be sent.
    pub(super) open: (Command, Time),
    pub(super) next_number: u64,
    /// Writes without a number.
    pub(super) queued: VecDeque<(Token, Vec<u8>, Time)>,
    pub(super) queued_bytes: usize,
    /// Writes on their way, by number.
    pub(super) pending: BTreeMap<u64, Pending>,
    pub(super) pending_bytes: usize,
    /// Reads that wait for the next confirmation.
    pub(super) reads: Vec<(Token, Time)>,
    /// The confirmation that is under way.
    pub(super) confirming: Option<Confirming>,
    pub(super) next_context: u64,
    /// When to look for writes and reads that are due.
    pub(super) check_at: Time,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) token: Token,
    pub(super) command: Command,
    pub(super) deadline: Time,
    pub(super) due: Time,
    pub(super) wait_ms: u64,
}

#[derive(Debug)]
pub(super) struct Confirming {
    pub(super) context: ReadContext,
    /// When the leader is asked once more.
    pub(super) due: Time,
    pub(super) reads: Vec<(Token, Time)>,
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
    pub(super) fn floor(&self) -> u64 {
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

    /// Gives up all requests.
    pub(super) fn fail_all(&mut self) -> Vec<Token> {
        let queued = self.queued.drain(..).map(|(token, ..)| token);
        let pending = std::mem::take(&mut self.pending).into_values().map(|p| p.token);
        let confirming = self.confirming.take().into_iter().flat_map(|c| c.reads);
        let reads = self.reads.drain(..).chain(confirming).map(|(token, _)| token);
        let all = queued.chain(pending).chain(reads).collect();
        (self.queued_bytes, self.pending_bytes) = (0, 0);
        all
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

    /// Gives up the requests whose deadline has passed.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Token> {
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
        failed
    }
}
