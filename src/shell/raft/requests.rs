//! Passing on: the requests of this node's clients go to the leader.

use serde_json::value::{RawValue, to_raw_value};

use super::changes::Asker;
use super::envelope::Opening;
use super::machine::StateMachine;
use super::outcome::give_up;
use super::pace::RESEND;
use super::pending::{Ask, Certainty, Pending};
use super::route::Route;
use super::state::{Proposal, RETRIES, RETRY, Reader, Replica, SESSION_WINDOW, Started, Wanted};
use super::wire::{ChangeRequest, Labelled, MAX_COMMAND_BYTES, Query};
use crate::message::{ErrorCode, Request, RpcError};
use crate::node::Context;
use crate::planted::guard;
use crate::raft::{Command, RaftId, ReadContext, Term};
use crate::time::Time;

impl<S: StateMachine> Replica<S> {
    /// Replicates `command` and answers `request` with the answer of the state machine.
    pub fn submit(&mut self, cx: &mut Context<'_>, request: Request, command: Box<RawValue>) {
        self.take_command(cx, request, command, Certainty::NeverHappens);
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
        self.take_command(cx, request, command, Certainty::Unknown);
    }

    fn take_command(
        &mut self,
        cx: &mut Context<'_>,
        request: Request,
        command: Box<RawValue>,
        certainty: Certainty,
    ) {
        if certainty == Certainty::Unknown && self.is_outsider() {
            return cx.error(&request, &give_up(certainty));
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
        let pending = Pending::new(request, Ask::Command(command), cx.now(), certainty);
        client.commands.insert(number, pending);
        client.unsent_commands.insert(number);
        self.flush_soon(cx);
    }

    /// Answers `request` with the state machine's answer to `query`, as of some moment
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
        let tag = client.next_tag;
        client.next_tag = client.next_tag.wrapping_add(1);
        let pending = Pending::new(request, ask, cx.now(), Certainty::NeverHappens);
        client.others.insert(tag, pending);
        client.unsent_others.insert(tag);
        self.flush_soon(cx);
    }

    /// Refuses a request if this node is not a member. The request has left nothing anywhere.
    pub fn refuse_outsider(&mut self, cx: &mut Context<'_>, request: &Request) -> bool {
        let is_outsider = self.is_outsider();
        if is_outsider {
            let text = format!("{} is not a member of the cluster", cx.id());
            cx.error(request, &RpcError::new(ErrorCode::NOT_A_MEMBER, text));
        }
        is_outsider
    }

    fn is_outsider(&self) -> bool {
        let Some(started) = &self.started else { return true };
        let (own, (_, config)) = (started.id, started.raft.configuration());
        !config.voters.contains(&own) && !config.learners.contains(&own)
    }

    /// Sends the requests that are due to the leader, if there is one.
    pub(super) fn send_requests(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let route = started.route(cx.now());
        started.seek(cx.now());
        let client = &mut started.client;
        let seen = (started.raft.term(), route);
        if seen.1.is_some() && seen != client.seen {
            client.seen = seen;
            client.resend_all();
        }
        if !client.is_idle() {
            cx.set_timer_if_unset(RETRIES, RETRY);
        }
        let Some(Route::Direct(to) | Route::By(to)) = route else { return };
        if client.session.is_some() {
            client.ready_at = cx.now();
        }
        // Without a leader in this term, the copy goes by way of another to one of any term. If
        // there is one, a detour leads to it as the direct way does; if it has been deposed, this
        // node knows no leader after an election timeout.
        let term = started.raft.term();
        let label = started.raft.leader().map(|_| term);
        self.send_commands(cx.now(), to, label.filter(|_| S::HAS_IDLE_COMMANDS));
        self.send_others(cx.now(), to);
        if let Some(Route::By(other)) = route
            && let Some(started) = &mut self.started
            && let Some(bundle) = started.outbox.get_mut(&other)
        {
            bundle.pass_on = !bundle.requests.is_empty();
        }
    }

    fn send_commands(&mut self, now: Time, to: RaftId, label: Option<Term>) {
        let Some(started) = &mut self.started else { return };
        // Guard: a session makes a node known, and one that is known and has nothing on its disk
        // abstains. Killed before anything is there, it has promised nothing, and must count.
        let durable = started.raft.durable_hard_state();
        let has_past = guard!(durable.term > Term::ZERO, KnownBeforeDurable);
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
        } else if has_past && client.asked.is_none_or(|at| now - at >= RESEND) {
            client.asked = Some(now);
            let open = Opening { nonce: client.nonce, origin: client.id };
            envelopes.push((None, to_raw_value(&open).expect("numbers are plain data")));
        }
        if to == started.id {
            let voucher = (started.id, Term::ZERO);
            started.batch.extend(envelopes.iter().map(|(sent_in, envelope)| Proposal {
                command: Command::from(envelope.get()),
                sent_in: *sent_in,
                voucher,
            }));
        } else if !envelopes.is_empty() {
            let requests = &mut started.outbox.entry(to).or_default().requests;
            for (sent_in, envelope) in envelopes {
                match sent_in {
                    Some(sent_in) => requests.labelled.push(Labelled { sent_in, envelope }),
                    None => requests.commands.push(envelope),
                }
            }
        }
    }

    fn send_others(&mut self, now: Time, to: RaftId) {
        let reads_here = self.options.follower_reads;
        let Some(started) = &mut self.started else { return };
        let own = started.id;
        for tag in std::mem::take(&mut started.client.unsent_others) {
            let client = &mut started.client;
            let Some(pending) = client.others.get_mut(&tag) else { continue };
            pending.send(now, &mut client.pace);
            match &mut pending.ask {
                Ask::Query(query) => {
                    let query = query.clone();
                    let wanted = Wanted::Answer(query.clone());
                    let reader = Reader { origin: own, tag, wanted };
                    // A read that was not served in time waits for entries that this node
                    // lacks; while it catches up after a snapshot that may take long.
                    let reads_here = reads_here && !pending.is_late;
                    let is_here = guard!(to == own || reads_here, LocalReadAnywhere);
                    let is_taken = is_here && started.read(reader, own, Term::ZERO);
                    if !is_taken && to != own {
                        let bundle = started.outbox.entry(to).or_default();
                        bundle.requests.queries.push(Query { tag, query });
                    }
                }
                Ask::Change { goal, sent_in, .. } => {
                    let (goal, term) = (goal.clone(), started.raft.term());
                    if sent_in.last() != Some(&term) {
                        sent_in.push(term);
                    }
                    if to == own {
                        started.change(now, Asker { node: own, tag }, term, goal);
                    } else {
                        let bundle = started.outbox.entry(to).or_default();
                        bundle.requests.changes.push(ChangeRequest { tag, sent_in: term, goal });
                    }
                }
                Ask::Command(_) => unreachable!("commands are kept by number"),
            }
        }
    }
}

impl Started {
    /// Asks the core for a read. `voucher`, who brought it, was in `term` when it did.
    /// Returns whether the core took it.
    pub(super) fn read(&mut self, reader: Reader, voucher: RaftId, term: Term) -> bool {
        let context = self.next_read;
        self.next_read = self.next_read.wrapping_add(1);
        let origin = reader.origin;
        let taken = match origin == self.id {
            true => self.raft.read(ReadContext(context)),
            false => self.raft.read_for(ReadContext(context), voucher, term),
        };
        if taken.is_ok() {
            self.reads.insert(context, reader);
        }
        taken.is_ok()
    }
}
