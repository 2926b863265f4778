//! Sessions: a command that is sent twice happens once (§8, thesis §6.3).
//!
//! A client that got no answer sends its command again, and a command that was passed on may come
//! twice by itself; the log then holds it twice. Each command therefore carries its client's id and
//! a number, and the state machine remembers its answers to each client. A repetition gets the same
//! answer and changes nothing.
//!
//! The memory is bounded. Each command also says below which number the client
//! has all its answers (its *floor*); those are forgotten. A client may be no more than
//! a window ahead of its floor. When there are too many sessions, the one used longest
//! ago ends. All of this follows from the log alone, so every server decides the same.
//!
//! A session's id is the index of the entry that opened it, so an ended session's id
//! never comes back, and a late repetition of one of its commands is refused instead
//! of being taken for something new.
//!
//! The sessions are part of the replicated state: they belong in the snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::Index;

/// A session: the index of the entry that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u64);

/// A client's number for a command, counted from 1 in each session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

/// The decision about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandStatus<R> {
    /// It is new: apply it, and [`Sessions::record`] the answer.
    New,
    /// It was applied before, with this answer.
    Repeated(R),
    /// It was applied before, and its client has the answer.
    Settled,
    /// It is too far ahead of the client's floor. It is not applied, and may come again.
    TooFarAhead,
    /// Its session has ended, or never was. It is not applied; whether it was applied
    /// before is unknown.
    Expired,
}

/// All sessions, with answers of type `R`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions<R> {
    max_sessions: usize,
    window: u64,
    sessions: BTreeMap<ClientId, Session<R>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session<R> {
    last_used: Index,
    /// Everything below is answered and forgotten.
    floor: Sequence,
    answers: BTreeMap<Sequence, R>,
}

impl<R: Clone> Sessions<R> {
    /// No sessions yet, and never more than `max_sessions` of them, each remembering at
    /// most `window` answers. Every server of a cluster must use the same numbers.
    pub fn new(max_sessions: usize, window: u64) -> Sessions<R> {
        assert!(max_sessions > 0 && window > 0, "sessions need room");
        Sessions { max_sessions, window, sessions: BTreeMap::new() }
    }

    /// Opens a session by the entry at `index`.
    pub fn open(&mut self, index: Index) -> ClientId {
        let client = ClientId(index.0);
        let session = Session { last_used: index, floor: Sequence(1), answers: BTreeMap::new() };
        self.sessions.insert(client, session);
        if self.sessions.len() > self.max_sessions {
            let oldest = self.sessions.iter().min_by_key(|(id, s)| (s.last_used, **id));
            let oldest = *oldest.expect("there are more than none").0;
            self.sessions.remove(&oldest);
        }
        client
    }

    /// Decides about the command `sequence` of `client`, which has all answers below
    /// `floor`, at the entry at `index`.
    pub fn check(
        &mut self,
        client: ClientId,
        sequence: Sequence,
        floor: Sequence,
        index: Index,
    ) -> CommandStatus<R> {
        let Some(session) = self.sessions.get_mut(&client) else { return CommandStatus::Expired };
        session.last_used = index;
        if floor > session.floor {
            session.floor = floor;
            session.answers = session.answers.split_off(&floor);
        }
        if sequence < session.floor {
            CommandStatus::Settled
        } else if let Some(answer) = session.answers.get(&sequence) {
            CommandStatus::Repeated(answer.clone())
        } else if sequence.0 - session.floor.0 >= self.window {
            CommandStatus::TooFarAhead
        } else {
            CommandStatus::New
        }
    }

    /// Returns the decision about the command `sequence` of `client`, which must have been made
    /// before; `None` if the command is new, or the session has ended.
    pub fn recall(&self, client: ClientId, sequence: Sequence) -> Option<CommandStatus<R>> {
        let session = self.sessions.get(&client)?;
        if sequence < session.floor {
            return Some(CommandStatus::Settled);
        }
        session.answers.get(&sequence).cloned().map(CommandStatus::Repeated)
    }

    /// Remembers the answer to a command that was [`CommandStatus::New`].
    pub fn record(&mut self, client: ClientId, sequence: Sequence, answer: R) {
        let session = self.sessions.get_mut(&client).expect("the session was there to check");
        let before = session.answers.insert(sequence, answer);
        assert!(before.is_none(), "a command was applied twice");
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_happens_once_and_answers_are_forgotten_when_they_arrived() {
        let mut sessions = Sessions::new(10, 4);
        let client = sessions.open(Index(7));
        let mut check = |seq, floor| {
            let outcome = sessions.check(client, Sequence(seq), Sequence(floor), Index(8));
            if outcome == CommandStatus::New {
                sessions.record(client, Sequence(seq), seq * 10);
            }
            outcome
        };
        // Out of order, because nothing keeps commands in order on their way.
        assert_eq!(check(2, 1), CommandStatus::New);
        assert_eq!(check(1, 1), CommandStatus::New);
        assert_eq!(check(2, 1), CommandStatus::Repeated(20));
        assert_eq!(check(3, 2), CommandStatus::New);
        assert_eq!(check(1, 1), CommandStatus::Settled, "an old floor does not lower the new one");
        assert_eq!(check(6, 2), CommandStatus::TooFarAhead);
        assert_eq!(check(6, 3), CommandStatus::New);
        assert_eq!(check(2, 2), CommandStatus::Settled);
    }

    #[test]
    fn the_session_used_longest_ago_ends_and_its_id_never_returns() {
        let mut sessions: Sessions<u32> = Sessions::new(2, 4);
        let a = sessions.open(Index(1));
        let b = sessions.open(Index(2));
        assert_eq!(sessions.check(a, Sequence(1), Sequence(1), Index(3)), CommandStatus::New);
        sessions.record(a, Sequence(1), 5);
        sessions.open(Index(4));
        assert_eq!(sessions.len(), 2);
        assert_eq!(sessions.check(b, Sequence(1), Sequence(1), Index(5)), CommandStatus::Expired);
        let again = sessions.check(a, Sequence(1), Sequence(1), Index(6));
        assert_eq!(again, CommandStatus::Repeated(5));
    }
}
