//! Commands that change nothing: a compare-and-set that fails, a write of the present value.
//!
//! Such a command needs no place in the log. The leader answers it as it answers a query:
//! without a disk, and in one round trip. It only has to be sure that no copy of the
//! command takes effect after its client was told that it did not:
//!
//! * A copy names the term in which it was sent, and only the leader of that term takes
//!   it up. That leader remembers its answers of this kind, and gives a copy
//!   that comes later the same answer, until the client has it (see `floor`). A server
//!   that restarts never leads in the same term again.
//! * A copy that an earlier leader has appended is either known to this one, or will
//!   never be committed: this one has committed an entry of its own term.
//! * An answer from an earlier term than that of the newest copy does not count. The
//!   newest one may be in a log.
//!
//! A node that knows no leader asks by way of another, and cannot name the leader's term. It
//! sends a *plain* copy, which goes through the log whatever it changes, and from then on it
//! accepts no other answer.

use super::envelope::Envelope;
use super::idle_answers::Fate;
use super::machine::{Answer, StateMachine};
use super::outcome::Via;
use super::state::{Proposal, Reader, Replica, Started, Wanted};
use super::wire::IdleAnswer;
use crate::coverage::{self, Mark};
use crate::node::Context;
use crate::planted::{guard, invariant};
use crate::raft::Term;

impl<S: StateMachine> Replica<S> {
    /// Sets `proposal` aside, and returns true, if it is not to be appended: it changes nothing, and
    /// is or will be answered, or it was for the leader of another term.
    pub(super) fn set_aside(&mut self, cx: &mut Context<'_>, proposal: &Proposal) -> bool {
        let Some(started) = &mut self.started else { return false };
        let Some(envelope) = proposal.envelope() else { return false };
        let Envelope { session, number, floor, origin, command } = envelope;
        if !started.raft.is_leader() {
            return false;
        }
        let term = started.raft.term();
        started.idle.enter(term);
        let Some(sent_in) = proposal.sent_in else { return false };
        // Guard: only the leader that was asked knows its answers.
        if sent_in != term {
            return true;
        }
        match started.idle.fate(session, number, floor) {
            Fate::Append => {}
            Fate::Drop => return true,
            Fate::Again(answer) => {
                self.answer_idle(cx, term, &envelope, answer);
                return true;
            }
        }
        if self.machine.idle_answer(command).is_none() {
            return false;
        }
        let wanted = Wanted::Idle(Box::new(proposal.clone()));
        let reader = Reader { origin, tag: number, wanted };
        let (voucher, voucher_term) = proposal.voucher;
        let taken = started.read(reader, voucher, voucher_term);
        if taken {
            started.idle.checking.insert(envelope.key());
        }
        taken
    }

    /// It is confirmed that this node led when it took up `proposal`. If it still changes
    /// nothing, it is answered; else it is appended after all.
    pub(super) fn settle_idle(&mut self, cx: &mut Context<'_>, proposal: Proposal) {
        let Some(started) = &mut self.started else { return };
        let Some(envelope) = proposal.envelope() else { return };
        let Envelope { session, number, origin, command, .. } = envelope;
        let key = envelope.key();
        let is_checking = started.idle.checking.remove(&key);
        let term = started.raft.term();
        // The present leader will be asked again.
        if !is_checking || !started.raft.is_leader() || proposal.sent_in != Some(term) {
            return;
        }
        // Guard: a plain copy may have been appended meanwhile.
        if self.answer_known(key, origin) {
            return;
        }
        match self.machine.idle_answer(command) {
            Some(answer) => {
                coverage::hit(Mark::IdleCommand);
                if let Some(started) = &mut self.started {
                    started.idle.remember(session, number, answer.clone());
                }
                self.answer_idle(cx, term, &envelope, answer);
            }
            None => {
                if let Some(started) = &mut self.started {
                    started.batch.push(proposal);
                }
            }
        }
    }

    fn answer_idle(
        &mut self,
        cx: &mut Context<'_>,
        term: Term,
        envelope: &Envelope<'_>,
        answer: Answer,
    ) {
        let Some(started) = &mut self.started else { return };
        let Envelope { session, number, origin, .. } = *envelope;
        if origin == started.id {
            self.take_idle_answer(cx, term, session, number, answer);
        } else {
            let answer = IdleAnswer { term, session, number, answer: answer.0 };
            started.replies_to(origin).idle.push(answer);
        }
    }

    /// The leader of `term` says that a command of this node changes nothing.
    pub(super) fn take_idle_answer(
        &mut self,
        cx: &mut Context<'_>,
        term: Term,
        session: u64,
        number: u64,
        answer: Answer,
    ) {
        let Some(started) = &self.started else { return };
        // Guard: if a copy was sent in a later term, or a plain one, that may be in a log.
        let counts = started.client.newest_copy(session, number) == Some(term);
        if guard!(counts, IdleOfAnyTerm) {
            invariant!(
                counts || !started.client.waits_for(session, number),
                "a command that may be in a log is answered by an earlier leader"
            );
            self.complete(cx, session, number, answer.0, Via::Query);
        }
    }
}

impl Started {
    /// A command that was to be answered like a query waits no longer.
    pub(super) fn drop_idle(&mut self, proposal: &Proposal) {
        if let Some(envelope) = proposal.envelope() {
            self.idle.checking.remove(&envelope.key());
        }
    }
}
