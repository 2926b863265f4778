//! The answers that a leader has given, or is about to, without its log (see `idle`).

use std::collections::{BTreeMap, BTreeSet};

use super::envelope::Key;
use super::machine::Answer;
use crate::raft::Term;

/// A leader's memory of commands that it did not append.
#[derive(Debug, Default)]
pub(super) struct IdleAnswers {
    /// The term in which this node leads, and of which this is the memory.
    pub(super) term: Term,
    /// Commands that wait for a confirmation, as queries do.
    pub(super) checking: BTreeSet<Key>,
    /// The answers, by session.
    pub(super) answered: BTreeMap<u64, Answered>,
}

/// The answers of one session.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Below, the client has all its answers.
    pub(super) floor: u64,
    pub(super) answers: BTreeMap<u64, Answer>,
}

/// The decision about a copy of a command.
pub(super) enum Fate {
    Append,
    /// Leave it: it was answered, or its turn comes, or it was for another leader.
    Drop,
    /// Answer it once more.
    Again(Answer),
}

impl IdleAnswers {
    /// Forgets the answers of another term.
    pub(super) fn enter(&mut self, term: Term) {
        if self.term != term {
            *self = IdleAnswers { term, ..IdleAnswers::default() };
        }
    }

    /// Whether the command `number` of `session` was answered, and how. Its client has
    /// all answers below `floor`.
    pub(super) fn fate(&mut self, session: u64, number: u64, floor: u64) -> Fate {
        if self.checking.contains(&Key::Command(session, number)) {
            return Fate::Drop;
        }
        let Some(answered) = self.answered.get_mut(&session) else { return Fate::Append };
        if floor > answered.floor {
            answered.floor = floor;
            answered.answers = answered.answers.split_off(&floor);
        }
        if number < answered.floor {
            return Fate::Drop;
        }
        answered.answers.get(&number).cloned().map_or(Fate::Append, Fate::Again)
    }

    pub(super) fn remember(&mut self, session: u64, number: u64, answer: Answer) {
        // Guard: a copy that comes later must not take effect.
        self.answered.entry(session).or_default().answers.insert(number, answer);
        self.plant_forgetting(session);
    }
}
