//! A protocol that nodes are tested by, and everything the bench knows about it.
//!
//! A [`Challenge`] brings the load of its clients, the checker of what they saw, nodes for
//! the simulation, and which faults make sense. The ten [`mod@builtin`] ones use nothing else, and
//! a crate outside of this workspace adds its own:
//!
//! * `Explore::of(MyChallenge)` explores it from a test ([`crate::explore::Explore`]);
//! * `seaworthy_bench::main(Challenges::builtin().with(MyChallenge))` is the whole command
//!   line, `test --bin` with real processes, `explore`, `replay` and `check` included.
//!
//! `bench/examples/bank.rs` is a protocol, its node and a planted bug in under 150 lines.

pub mod builtin;

use std::path::Path;
use std::sync::Arc;

use crate::backend::sim::{Factory, Inspector};
use crate::check::{CheckOptions, Outcome, RECORDED, compose};
use crate::config::{Fault, RunArgs, RunConfig};
use crate::history::{Events, Hints, Op, ReadError, Tape, read_as};
use crate::service;
use crate::workload::{Invocation, Workload};

pub use builtin::builtin;

/// An option of nodes, and the values that an exploration draws for it.
pub type Knob = (&'static str, &'static [&'static str]);

/// Every fault that an exploration draws, unless a challenge leaves some out. Replacement is
/// not among them: it promises nothing while anything else goes wrong. Nor is membership:
/// few nodes let their clients choose the members.
pub const FAULTS: &[Fault] =
    &[Fault::Partition, Fault::Kill, Fault::Pause, Fault::OneWay, Fault::Slow, Fault::Stall];

/// A protocol, its clients, its checker and its nodes; see the module.
pub trait Challenge: Send + Sync {
    /// The name that `--workload` takes.
    fn name(&self) -> &'static str;

    /// The load of one run: what clients ask, and how they understand the answers.
    ///
    /// # Errors
    /// A sentence about the flag that does not suit it.
    fn load(&self, config: &RunConfig) -> Result<Box<dyn Workload>, String>;

    /// Judges the history of a run: the part `:workload` of the results.
    fn check(&self, history: &[Op], options: &CheckOptions) -> Outcome;

    /// The same of a history that may be on a tape. A checker that looks at each value once
    /// takes this one, and says so by [`Challenge::looks_once`].
    fn check_events(&self, history: Events<'_>, options: &CheckOptions) -> Outcome {
        self.check(&history.whole(), options)
    }

    /// Whether [`Challenge::check_events`] looks at each value once, so that a large history is
    /// judged in a fraction of the memory from a tape.
    fn looks_once(&self) -> bool {
        false
    }

    /// The nodes of a simulated run, which get `config.args.args` as their options. The
    /// factory is called at each start of a node.
    ///
    /// # Errors
    /// A sentence about the option that makes no sense.
    fn nodes(&self, config: &RunConfig) -> Result<Factory, String>;

    /// The options of nodes that serve nothing else, for explorations that name none.
    fn arguments(&self) -> Vec<String> {
        Vec::new()
    }

    /// Options that an exploration of the challenge's own nodes draws as well.
    fn knobs(&self) -> &'static [Knob] {
        &[]
    }

    /// The faults that an exploration may draw. `own` tells whether the nodes are those of
    /// [`Challenge::nodes`]; others may lack what a fault needs, such as requests that change
    /// the members.
    fn faults(&self, own: bool) -> Vec<Fault> {
        let _ = own;
        FAULTS.to_vec()
    }

    /// Takes from a drawn run what the protocol does not promise to survive beyond
    /// [`Challenge::faults`], such as the loss of messages.
    fn tame(&self, run: &mut RunArgs) {
        let _ = run;
    }

    /// Servers that nodes may ask; Maelstrom's four unless told otherwise.
    fn services(&self) -> Vec<service::Named> {
        service::maelstrom()
    }

    /// Checks that look inside of simulated nodes while they run.
    fn inspector(&self) -> Option<Inspector> {
        None
    }

    /// Whether an operation in a plan has the shape that the load gives to its own.
    fn is_well_formed(&self, op: &Invocation) -> bool {
        let _ = op;
        true
    }

    /// The `:f` of operations in histories that do not name it, if there is only one.
    fn operation(&self) -> Option<&'static str> {
        None
    }

    /// The protocol as `seaworthy doc NAME` prints it, in Markdown.
    fn doc(&self) -> Option<&str> {
        None
    }
}

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
        let known = || self.names().join(", ");
        let found = self.0.iter().find(|challenge| challenge.name() == name);
        let found =
            found.ok_or_else(|| format!("there is no workload {name}; there are {}", known()))?;
        Ok(&**found)
    }

    /// What judges histories of this name: a challenge's checker, or one of
    /// [`RECORDED`], which no load of this bench makes.
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

/// A function that judges histories, with what it borrows.
type Check<'a> = dyn Fn(Events<'_>, &CheckOptions) -> Outcome + 'a;

/// What judges the histories of one name.
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
