//! The server's side: requests of others, and the entries of the log.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::{RawValue, to_raw_value};

use super::array::array_struct;
use super::changes::Asker;
use super::envelope::{Envelope, Key, Opening};
use super::machine::{Answer, StateMachine};
use super::outcome::Via;
use super::record::{join, split};
use super::standing::ClusterId;
use super::state::{Proposal, Reader, Replica, Wanted};
use super::wire::{ChangeRequest, CommandAnswer, Query, QueryResult, Requests};
use crate::coverage::{self, Mark};
use crate::node::Context;
use crate::planted::guard;
use crate::raft::{
    ClientId, Command, CommandStatus, Entry, LogId, Payload, ProposeError, RaftId, Read,
    ReadContext, Sequence, Sessions, Term,
};

/// The longest answer that a session keeps, in bytes. A node answers its clients when it
/// applies their commands, and has a kept answer's use only if it is sent a snapshot in
/// the place of the log. If the answer was longer the client is told that the outcome is
/// not known.
const KEPT_ANSWER_BYTES: usize = 4 << 10;

array_struct! {
    /// The replicated state besides the machine's.
    struct SnapshotHead<'a> {
        cluster: Option<ClusterId>,
        /// The nodes that have opened a session.
        known: Cow<'a, BTreeSet<RaftId>>,
        sessions: Cow<'a, Sessions<Option<Answer>>>,
    }
}

/// The command that an answer is for, and the node that waits for it.
#[derive(Clone, Copy)]
struct Addressee {
    origin: RaftId,
    client: ClientId,
    sequence: Sequence,
}

impl<S: StateMachine> Replica<S> {
    /// Takes up the requests of the replica `from` to its leader. If this is not the leader, it
    /// will find out, and ask again elsewhere. `voucher`, who brought it, was in `term`
    /// when it did.
    pub(super) fn serve(&mut self, from: RaftId, voucher: RaftId, term: Term, requests: Requests) {
        let Some(started) = &mut self.started else { return };
        if !started.raft.is_leader() {
            return;
        }
        let Requests { commands, labelled, queries, changes } = requests;
        let plain = commands.iter().map(|envelope| (None, envelope));
        let labelled = labelled.iter().map(|copy| (Some(copy.sent_in), &copy.envelope));
        started.batch.extend(plain.chain(labelled).map(|(sent_in, envelope)| Proposal {
            command: Command::from(envelope.get()),
            sent_in,
            voucher: (voucher, term),
        }));
        for Query { tag, query } in queries {
            let wanted = Wanted::Answer(query);
            started.read(Reader { origin: from, tag, wanted }, voucher, term);
        }
        for ChangeRequest { tag, sent_in, goal } in changes {
            started.change(started.ticked, Asker { node: from, tag }, sent_in, goal);
        }
    }

    /// Gives the commands of a batch to the core, as long as it takes them. If this
    /// node does not lead, they are in no log by its doing; their senders will send them again.
    pub(super) fn propose_batch(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let mut batch = std::mem::take(&mut started.batch).into_iter();
        while let Some(proposal) = batch.next() {
            let command = &proposal.command;
            let key = Key::of(command.as_bytes());
            // Guard: a command that is in the log or applied already is not appended again.
            if key.is_some_and(|(key, origin)| self.answer_known(key, origin)) {
                continue;
            }
            if self.set_aside(cx, &proposal) {
                continue;
            }
            let Some(started) = &mut self.started else { return };
            match started.raft.propose(command.clone()) {
                Ok(id) => {
                    key.into_iter().for_each(|(key, _)| started.waiting.note_appended(key));
                    // Guard: nothing happens, and nothing is answered, before it is committed.
                    self.plant_early_answer(cx, id, command);
                }
                Err(ProposeError::Overloaded) => {
                    // When something is committed there is room for the rest.
                    started.batch = std::iter::once(proposal).chain(batch).collect();
                    break;
                }
                Err(_) => tracing::debug!("a command was not taken up"),
            }
        }
    }

    /// Answers a command that was applied, in case its first answer was lost. Returns whether the
    /// command was applied, or is in this leader's log.
    pub(super) fn answer_known(&mut self, key: Key, origin: RaftId) -> bool {
        let Some(started) = &mut self.started else { return false };
        if guard!(!started.raft.is_leader(), NoSessions) {
            return false;
        }
        let is_waiting = started.waiting.contains(&started.raft, key);
        let Key::Command(session, number) = key else { return is_waiting };
        let answer = match self.sessions.recall(ClientId(session), Sequence(number)) {
            None => return is_waiting,
            Some(CommandStatus::Repeated(answer)) => answer,
            Some(_) => None,
        };
        coverage::hit(Mark::CommandRepeated);
        // A node that wants to read its own writes answers when it has applied them.
        if let Some(answer) = answer.filter(|_| !self.options.read_your_writes)
            && origin != started.id
        {
            let answer = CommandAnswer { session, number, answer: answer.0 };
            started.replies_to(origin).answers.push(answer);
        }
        true
    }

    /// Carries out one committed entry.
    pub(super) fn apply(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        let Payload::Command(command) = &entry.payload else { return };
        let bytes = command.as_bytes();
        if let Some(started) = &mut self.started {
            started.applied_bytes += bytes.len() as u64;
        }
        if let Some(envelope) = Envelope::read(bytes) {
            if let Some(started) = &mut self.started {
                started.waiting.note_applied(&started.raft, envelope.key());
            }
            self.apply_command(cx, entry.id, envelope);
        } else if let Some(opening) = Opening::read(bytes) {
            let Opening { nonce, origin } = opening;
            if let Some(started) = &mut self.started {
                started.waiting.note_applied(&started.raft, opening.key());
            }
            let client = self.sessions.open(entry.id.index);
            self.session_opened(cx, nonce, origin);
            let nonce = to_raw_value(&nonce).expect("a number is plain data");
            let to = Addressee { origin, client, sequence: Sequence(0) };
            self.answer(cx, entry.id, to, nonce);
        }
    }

    pub(super) fn apply_command(
        &mut self,
        cx: &mut Context<'_>,
        at: LogId,
        envelope: Envelope<'_>,
    ) {
        let Envelope { session, number, floor, origin, command } = envelope;
        let (client, sequence) = (ClientId(session), Sequence(number));
        let to = Addressee { origin, client, sequence };
        if let Some(answer) = self.plant_repetition(command) {
            return self.answer(cx, at, to, answer);
        }
        let answer = match self.sessions.check(client, sequence, Sequence(floor), at.index) {
            // Guard: only new commands are applied.
            CommandStatus::New => {
                let answer = self.machine.apply(command);
                let is_small = answer.as_str().len() <= KEPT_ANSWER_BYTES;
                self.sessions.record(client, sequence, is_small.then(|| answer.clone()));
                answer.0
            }
            CommandStatus::Repeated(answer) => {
                coverage::hit(Mark::CommandRepeated);
                match answer {
                    Some(answer) => answer.0,
                    // Its node has the answer from its own copy of the log, or has given up.
                    None => return,
                }
            }
            // Guard: whether the command was applied before the session expired, its state
            // cannot tell any more.
            CommandStatus::Expired => {
                let unknown = || RawValue::NULL.to_owned();
                self.plant_expired(command).unwrap_or_else(unknown)
            }
            CommandStatus::Settled | CommandStatus::TooFarAhead => return,
        };
        self.answer(cx, at, to, answer);
    }

    /// Tells the node that sent a command its outcome. The leader does, and the
    /// node itself if it gets there first; or the leader only says that it may be
    /// applied, if the client is to find its effect on that node.
    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        at: LogId,
        Addressee { origin, client, sequence }: Addressee,
        answer: Box<RawValue>,
    ) {
        let Some(started) = &mut self.started else { return };
        if origin == started.id {
            self.complete(cx, client.0, sequence.0, answer, Via::Log);
        } else if started.raft.is_leader() {
            let replies = started.replies_to(origin);
            if self.options.read_your_writes {
                replies.committed = Some(at.into());
                return;
            }
            let (session, number) = (client.0, sequence.0);
            replies.answers.push(CommandAnswer { session, number, answer });
        }
    }

    /// Serves a read whose moment has come.
    pub(super) fn serve_read(&mut self, cx: &mut Context<'_>, read: &Read) {
        let Some(started) = &mut self.started else { return };
        let Some(reader) = started.reads.remove(&read.context.0) else { return };
        match reader.wanted {
            Wanted::Answer(query) => {
                let answer = self.machine.query(&query);
                self.result(cx, reader.origin, reader.tag, answer);
            }
            Wanted::Leadership => started.changes.checked(read.context.0),
            Wanted::Idle(proposal) => self.settle_idle(cx, *proposal),
        }
    }

    /// Forgets a read that cannot be served here. The node that asked will ask again.
    pub(super) fn drop_read(&mut self, context: ReadContext) {
        let Some(started) = &mut self.started else { return };
        let reader = started.reads.remove(&context.0);
        if let Some(Reader { wanted: Wanted::Idle(proposal), .. }) = reader {
            started.drop_idle(&proposal);
        }
    }

    /// Tells a node the result of its query or change.
    pub(super) fn result(
        &mut self,
        cx: &mut Context<'_>,
        origin: RaftId,
        tag: u64,
        answer: Answer,
    ) {
        let Some(started) = &mut self.started else { return };
        if origin == started.id {
            self.finish(cx, tag, answer);
        } else {
            let result = QueryResult { tag, result: answer.0 };
            started.replies_to(origin).results.push(result);
        }
    }

    /// The whole replicated state: identity, known nodes, sessions and machine.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let head = SnapshotHead {
            cluster: self.standing.cluster,
            known: Cow::Borrowed(&self.known),
            sessions: Cow::Borrowed(&self.sessions),
        };
        let head = serde_json::to_vec(&head).expect("sessions are plain data");
        join(&head, &self.machine.snapshot())
    }

    /// Takes on the state that [`Replica::snapshot`] saw.
    pub(super) fn restore(&mut self, snapshot: &[u8]) {
        let (head, machine) = split(snapshot).expect("a replica wrote the snapshot");
        let head: SnapshotHead<'_> =
            serde_json::from_slice(head).expect("a replica wrote the sessions");
        self.standing.cluster = head.cluster;
        (self.known, self.sessions) = (head.known.into_owned(), head.sessions.into_owned());
        // Guard: without the sessions a command that comes again is not known any more.
        self.plant_lost_sessions();
        let restored = self.machine.restore(machine);
        restored.expect("a machine of this kind wrote the snapshot");
    }
}
