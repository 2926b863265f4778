//! Histories of which the values stay in their text.
//!
//! A value as a tree takes ten times the bytes of its text, and a history of a million
//! operations has two million of them. A checker that goes through the operations once
//! gets each value when its turn comes, and may ask again for the few that a result shows. So a
//! [`Tape`] has the text, where each operation begins in it, and of each operation its *head*: all of
//! it but value and extra keys.
//!
//! Checkers that need all values at once take [`Events::whole`].

use std::borrow::Cow;
use std::path::Path;

use super::error::ReadError;
use super::hints::Hints;
use super::read::{Builder, Notation, Place, is_lean};
use super::source;
use super::{History, Op};

/// A history as it was read; see the module.
#[derive(Clone, Debug)]
pub struct Tape {
    heads: History,
    /// None if the heads lack nothing.
    values: Option<Values>,
}

/// Where the values of a history are.
#[derive(Clone, Debug)]
struct Values {
    text: String,
    notation: Notation,
    hints: Hints,
    places: Vec<Place>,
}

impl Tape {
    /// Reads a history from where [`super::read()`] does.
    ///
    /// # Errors
    /// If it cannot be read, or is no history; with the file's name and the place.
    pub fn open(path: &Path, hints: Hints) -> Result<Tape, ReadError> {
        let (path, text) = source::text_of(path)?;
        Tape::new(text, hints).map_err(|error| ReadError { file: Some(path), ..error })
    }

    /// Reads a history from a text in any of the formats.
    ///
    /// # Errors
    /// If the text is not a history.
    pub fn new(text: String, hints: Hints) -> Result<Tape, ReadError> {
        let notation = Notation::of(&text);
        let builder = Builder::lean(hints);
        let (heads, places) = builder.read(&text, notation)?;
        // Without the names of processes, values tell which completion is whose, and stay.
        let values = places.map(|places| Values { text, notation, hints, places });
        Ok(Tape { heads, values })
    }

    /// The operations, of which values and extra keys may be missing.
    pub fn heads(&self) -> &[Op] {
        &self.heads
    }

    fn op(&self, at: usize) -> Cow<'_, Op> {
        let head = &self.heads[at];
        match &self.values {
            Some(values) if is_lean(head) => {
                let place = values.places[at];
                let Values { text, notation, hints, .. } = values;
                let contents = notation.contents_at(text, place, &head.f, *hints);
                let (value, extra) = contents.expect("it was read before");
                Cow::Owned(Op { value, extra, ..head.clone() })
            }
            _ => Cow::Borrowed(head),
        }
    }
}

impl From<History> for Tape {
    fn from(heads: History) -> Tape {
        Tape { heads, values: None }
    }
}

/// The events of a history, in memory or on a [`Tape`].
#[derive(Clone, Copy, Debug)]
pub enum Events<'h> {
    /// All of them, with their values.
    Memory(&'h [Op]),
    /// Values only on demand.
    Tape(&'h Tape),
}

impl<'h> Events<'h> {
    /// The operations, of which values and extra keys may be missing.
    pub fn heads(self) -> &'h [Op] {
        match self {
            Events::Memory(ops) => ops,
            Events::Tape(tape) => tape.heads(),
        }
    }

    /// The operation at a position, with everything.
    pub fn op(self, at: usize) -> Cow<'h, Op> {
        match self {
            Events::Memory(ops) => Cow::Borrowed(&ops[at]),
            Events::Tape(tape) => tape.op(at),
        }
    }

    /// All operations with everything, for checkers that need them at once.
    pub fn whole(self) -> Cow<'h, [Op]> {
        match self {
            Events::Memory(ops) => Cow::Borrowed(ops),
            Events::Tape(Tape { heads, values: None }) => Cow::Borrowed(heads),
            Events::Tape(tape) => {
                (0..tape.heads.len()).map(|at| tape.op(at).into_owned()).collect()
            }
        }
    }
}

impl<'h> From<&'h [Op]> for Events<'h> {
    fn from(ops: &'h [Op]) -> Events<'h> {
        Events::Memory(ops)
    }
}

impl<'h> From<&'h History> for Events<'h> {
    fn from(ops: &'h History) -> Events<'h> {
        Events::Memory(ops)
    }
}

impl<'h> From<&'h Tape> for Events<'h> {
    fn from(tape: &'h Tape) -> Events<'h> {
        Events::Tape(tape)
    }
}
