//! The challenges of one command line.

use std::path::Path;
use std::sync::Arc;

use super::builtin;
use super::contract::Challenge;
use crate::check::{CheckOptions, Outcome, RECORDED, compose};
use crate::history::{Events, Hints, ReadError, Tape, read_as};

/// The challenges that a command line knows, in the order in which it lists them.
#[derive(Clone, Default)]
pub struct Challenges(Vec<Arc<dyn Challenge>>);

impl Challenges {
    /// The ten of Maelstrom.
    pub fn builtin() -> Challenges {
        let rows = builtin::ALL.iter().copied();
        Challenges(rows.map(|row| Arc::new(row) as Arc<dyn Challenge>).collect())
    }

    /// These and one more. A challenge of the same name is replaced.
    #[must_use]
    pub fn with(mut self, challenge: impl Challenge + 'static) -> Challenges {
        self.0.retain(|known| known.name() != challenge.name());
        self.0.push(Arc::new(challenge));
        self
    }

    /// The challenge of this name.
    ///
    /// # Errors
    /// A sentence with the names that there are.
    pub fn find(&self, name: &str) -> Result<&dyn Challenge, String> {
        let known = || match name {
            "kv-server" => "it is in builds with --features kv-server".to_owned(),
            _ => format!("there are {}", self.names().join(", ")),
        };
        let found = self.0.iter().find(|challenge| challenge.name() == name);
        let found = found.ok_or_else(|| format!("there is no workload {name}; {}", known()))?;
        Ok(&**found)
    }

    /// Finds the judge of histories of this name: a challenge's checker, or one of [`RECORDED`],
    /// which no load of this bench makes.
    pub fn judge(&self, name: &str) -> Option<Judge<'_>> {
        if let Ok(challenge) = self.find(name) {
            let check = Box::new(|history: Events<'_>, options: &CheckOptions| {
                challenge.check_events(history, options)
            });
            return Some(Judge {
                name: challenge.name(),
                operation: challenge.operation(),
                looks_once: challenge.looks_once(),
                check,
            });
        }
        let (name, check) = RECORDED.into_iter().find(|(known, _)| *known == name)?;
        let check = Box::new(move |history: Events<'_>, options: &CheckOptions| {
            check(&history.whole(), options)
        });
        Some(Judge { name, operation: None, looks_once: false, check })
    }

    /// The names that [`Challenges::judge`] knows.
    pub fn judged(&self) -> Vec<&'static str> {
        self.names().into_iter().chain(RECORDED.map(|(name, _)| name)).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Challenge> {
        self.0.iter().map(|challenge| &**challenge)
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.iter().map(Challenge::name).collect()
    }
}

/// A function that judges histories, with its borrows.
type Check<'a> = dyn Fn(Events<'_>, &CheckOptions) -> Outcome + 'a;

/// The checker of the histories of one name.
pub struct Judge<'a> {
    /// The name.
    pub name: &'static str,
    /// The `:f` of operations that do not name theirs.
    pub operation: Option<&'static str>,
    looks_once: bool,
    check: Box<Check<'a>>,
}

impl Judge<'_> {
    /// Reads a history in the way that suits the checker.
    ///
    /// # Errors
    /// If it cannot be read, or is no history; with the file's name and the place.
    pub fn read(&self, path: &Path) -> Result<Tape, ReadError> {
        let hints = Hints { f: self.operation };
        match self.looks_once {
            true => Tape::open(path, hints),
            false => read_as(path, hints).map(Tape::from),
        }
    }

    /// Judges a whole history: all parts of the results.
    pub fn judge<'h>(&self, history: impl Into<Events<'h>>, options: &CheckOptions) -> Outcome {
        let history = history.into();
        compose((self.check)(history, options), history, options)
    }
}

/// A command line for one challenge alone.
impl<C: Challenge + 'static> From<C> for Challenges {
    fn from(challenge: C) -> Challenges {
        Challenges::default().with(challenge)
    }
}
