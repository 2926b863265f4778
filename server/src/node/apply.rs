//! The effects of the log's entries.

use seaworthy::raft::{
    ClientId, Command as Logged, CommandStatus, Entry, LogId, Payload, ProposeError, RaftId,
    Sequence, SnapshotMeta,
};

use super::answer::{Answer, Outcome};
use super::envelope::{Envelope, Open, Write};
use super::lineage::Lineage;
use super::machine::{Machine, Member};
use super::members::{Change, Proposal};
use super::planted;
use super::{Effect, Event, Failure, Node, Reply, Token};
use crate::kv::Command;
use crate::planted::guard;

impl Node {
    /// Proposes the commands that have come in. A command that the core refuses because
    /// this server does not lead is in no log by its doing, and will be sent again.
    pub(super) fn propose(&mut self) {
        while let Some(command) = self.inbox.pop_front() {
            let Some(envelope) = Envelope::decode(command.as_bytes()) else { continue };
            let key = envelope.key();
            if !self.has_space_for(&envelope) {
                continue;
            }
            // Guard: a command in the log, or applied, is not appended again.
            if self.proposed.contains(&key) || self.note_applied(&envelope) {
                continue;
            }
            match self.raft.propose(self.complete(&envelope, &command)) {
                Ok(_) => {
                    self.proposed.insert(key);
                }
                // When something is committed there is room again.
                Err(ProposeError::Overloaded) => return self.inbox.push_front(command),
                Err(_) => {}
            }
        }
    }

    /// Returns whether a write was applied here, and notes that the node that sent it again is to hear so.
    fn note_applied(&mut self, envelope: &Envelope<'_>) -> bool {
        let Envelope::Write(write) = envelope else { return false };
        let (client, number) = (ClientId(write.session), Sequence(write.number));
        let applied = self.machine.sessions.recall(client, number).is_some();
        if applied && write.origin != self.me && self.raft.is_leader() {
            let newest =
                self.raft.entries().rev().find(|e| e.id.index <= self.raft.status().applied);
            if let Some(newest) = newest {
                self.hints.insert(write.origin, newest.id);
            }
        }
        applied
    }

    /// Carries out one committed entry.
    pub(super) fn apply(&mut self, entry: &Entry) {
        self.applied_term = entry.id.term;
        let command = match &entry.payload {
            Payload::Command(command) => command,
            Payload::Config(_) if self.began_with(entry.id.index) => return,
            Payload::Config(config) => return self.apply_config(config),
            Payload::Noop => return,
        };
        let bytes = command.as_bytes();
        self.applied_bytes += bytes.len() as u64;
        self.space.log_bytes += bytes.len() as u64;
        let envelope = Envelope::decode(bytes);
        let envelope = envelope.expect("the log holds a command of a later version of the program");
        self.proposed.remove(&envelope.key());
        // Guard: the tree that the machine began with may be ahead of the log.
        if self.began_with(entry.id.index) {
            return;
        }
        match envelope {
            Envelope::Write(write) => self.apply_write(entry.id, command, &write),
            Envelope::Open(open) => self.apply_open(entry, open),
            Envelope::Expire(expire) => self.apply_expire(expire),
        }
    }

    fn apply_write(&mut self, id: LogId, logged: &Logged, write: &Write<'_>) {
        let (client, number) = (ClientId(write.session), Sequence(write.number));
        let sessions = &mut self.machine.sessions;
        let outcome = sessions.check(client, number, Sequence(write.floor), id.index);
        let outcome = match outcome {
            // Guard: only a new command is applied.
            CommandStatus::New => {
                let outcome = self.carry_out_write(logged, write);
                self.machine.sessions.record(client, number, Answer::of(&outcome));
                Some(outcome)
            }
            CommandStatus::Repeated(_) if planted::applies_repeated() => {
                Some(self.carry_out_write(logged, write))
            }
            // Guard: whether it was applied before its session ended, no state can tell.
            CommandStatus::Expired => None,
            CommandStatus::Repeated(_) | CommandStatus::Settled | CommandStatus::TooFarAhead => {
                return;
            }
        };
        if write.origin == self.me && self.client.session == Some(write.session) {
            if let Some(done) = self.client.complete(write.number) {
                self.answer_write(done, outcome, Failure::SessionLost);
            }
        } else if self.raft.is_leader() {
            self.hints.insert(write.origin, id);
        }
    }

    fn carry_out_write(&mut self, logged: &Logged, write: &Write<'_>) -> Outcome {
        if let Some(proposal) = Proposal::decode(write.command) {
            return Outcome::Members(self.apply_change(&proposal));
        }
        // The command is the end of its entry.
        let begin = logged.as_bytes().len() - write.command.len();
        let command = Command::decode_entry(&logged.0, begin);
        let command = command.expect("the log holds a command of a later version");
        let answer = self.machine.store.apply(&command);
        if answer.is_ok() {
            self.follow_lease(&command);
        }
        Outcome::Store(answer)
    }

    /// Answers the client that asked for a write; `without` is the answer if there is no outcome.
    fn answer_write(&mut self, done: (Token, Logged), outcome: Option<Outcome>, without: Failure) {
        let (token, command) = done;
        let term = self.applied_term;
        match outcome {
            None => self.reply(token, Reply::Failed(without)),
            Some(Outcome::Store(answer)) => self.reply(token, Reply::Done(term, answer)),
            Some(Outcome::Members(Err(why))) => self.reply(token, Reply::Members(term, Err(why))),
            Some(Outcome::Members(Ok(()))) => match change_in(&command) {
                Some(change) => self.settle(token, &change),
                None => self.reply(token, Reply::Members(term, Ok(self.roster()))),
            },
        }
    }

    /// A server begins a life, unless it may not.
    fn apply_open(&mut self, entry: &Entry, open: Open) {
        let Open { id, member, lineage, cluster } = open;
        if self.machine.cluster.is_none() {
            self.machine.cluster = Some(cluster);
            self.effects.push(Effect::Event(Event::Cluster(cluster)));
        }
        self.remember_cluster();
        let is_this_life = id == self.me && member.nonce == self.member.nonce;
        match beginning(&self.machine, id, &member, &lineage) {
            Beginning::Known => return,
            // It has left, which it hears in its place.
            Beginning::Refused(_) if !self.machine.members.contains_key(&id) => return,
            // A refusal of another life of this server has been heard there.
            Beginning::Refused(why) if is_this_life => {
                return self.effects.push(Effect::Event(Event::Superseded(why)));
            }
            Beginning::Refused(_) => return,
            Beginning::New => {}
        }
        let session = self.machine.sessions.open(entry.id.index).0;
        let member = Member { session, ..member };
        self.machine.members.insert(id, member.clone());
        self.members_changed = true;
        if is_this_life {
            self.begin_session(session);
        } else if id == self.me
            && let Beginning::Refused(why) =
                beginning(&self.machine, id, &self.member, &self.standing.lineage)
        {
            self.effects.push(Effect::Event(Event::Superseded(why)));
        } else if self.raft.is_leader() {
            self.hints.insert(id, entry.id);
        }
        self.effects.push(Effect::Event(Event::Joined(id, Box::new(member))));
    }

    /// The log has accepted this life.
    fn begin_session(&mut self, session: u64) {
        self.client.session = Some(session);
        self.standing.lineage.settle();
        self.standing_changed = true;
        self.readmit();
    }

    /// Everything up to an entry of this life is here, so this server counts again.
    fn readmit(&mut self) {
        if self.raft.is_abstaining() {
            self.raft.readmit();
            self.standing.abstains = false;
            self.standing_changed = true;
            self.effects.push(Effect::Event(Event::Readmitted));
        }
    }

    fn remember_cluster(&mut self) {
        if self.standing.cluster != self.machine.cluster {
            self.standing.cluster = self.machine.cluster;
            self.standing_changed = true;
        }
    }

    /// Takes the state of a snapshot, in the place of log entries.
    pub(super) fn restore(&mut self, snapshot: &SnapshotMeta) {
        let state = self.arrived.take().expect("the core takes a snapshot when it has arrived");
        let before = self.replace_machine(snapshot.last.index, *state);
        self.effects.push(Effect::Discard(Box::new(before)));
        self.effects.push(Effect::Event(Event::Restored(snapshot.last.index.0)));
        self.snapshot_size = snapshot.len_bytes;
        self.members_changed = true;
        self.remember_cluster();
        let Some(session) = self.client.session else {
            // The entry that accepted this life may be in the snapshot alone.
            let own = self.machine.members.get(&self.me).filter(|m| m.nonce == self.member.nonce);
            return own.map(|own| own.session).into_iter().for_each(|s| self.begin_session(s));
        };
        for number in self.client.pending_numbers() {
            let known = self.machine.sessions.recall(ClientId(session), Sequence(number));
            let result = match known {
                None => continue,
                Some(CommandStatus::Repeated(answer)) => answer.result(),
                Some(_) => None,
            };
            if let Some(done) = self.client.complete(number) {
                self.answer_write(done, result, Failure::AnswerLost);
            }
        }
    }
}

/// The change of members that a write asked for.
fn change_in(command: &Logged) -> Option<Change> {
    let Envelope::Write(write) = Envelope::decode(command.as_bytes())? else { return None };
    Proposal::decode(write.command).map(|proposal| proposal.change)
}

/// The decision on a server that begins a life.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    New,
    /// This life has begun already.
    Known,
    /// Its data is not that of the server of this id, and why.
    Refused(String),
}

/// Decides about a server that begins a life. One with other data, or older data, than it
/// took part with has lost its promises.
pub(super) fn beginning(
    machine: &Machine,
    id: RaftId,
    member: &Member,
    lineage: &Lineage,
) -> Beginning {
    let Some(known) = machine.members.get(&id) else {
        return Beginning::Refused(format!("{} is no member of this cluster", member.name));
    };
    if known.incarnation == 0 {
        return Beginning::New;
    }
    match refusal(known, member, lineage) {
        Some(why) => Beginning::Refused(why),
        None if known.nonce == member.nonce => Beginning::Known,
        None => Beginning::New,
    }
}

/// Why a server that comes as `member` may not take part, where it was seen as `known`.
pub(super) fn refusal(known: &Member, member: &Member, lineage: &Lineage) -> Option<String> {
    let is_same = known.incarnation == member.incarnation;
    if !guard!(is_same, TrustEmptied) {
        let why = format!(
            "{} took part with the data of incarnation {:016x}, and now comes with that of \
             {:016x}: what it promised is lost with the other data. Give it its data directory \
             back; or remove it from the cluster, and add it under an id of its own",
            member.name, known.incarnation, member.incarnation
        );
        return Some(why);
    }
    // Guard: a life that is over, or that another process lives.
    let follows = guard!(lineage.follows(known.life()), TrustOlder);
    if guard!(follows, TrustEmptied if !is_same) {
        return None;
    }
    let why = format!(
        "{} comes with life {} of its data directory, and has been seen in life {}, of which this \
         directory does not know: it is an older copy, or another process lives on a copy of \
         it. Give it its data directory as it was last; or remove it from the cluster, and add it under an id \
         of its own",
        member.name, member.life, known.life
    );
    Some(why)
}
