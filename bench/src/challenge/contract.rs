//! The parts that a challenge brings.

use crate::backend::sim::{Factory, Inspector};
use crate::check::{CheckOptions, Outcome};
use crate::config::{Fault, RunArgs, RunConfig};
use crate::history::{Events, Op};
use crate::load::{Invocation, Load};
use crate::service;

/// An option of nodes, and the values that an exploration draws for it.
pub type Knob = (&'static str, &'static [&'static str]);

/// Every fault that an exploration draws, unless a challenge leaves some out. Replacement is
/// not among them: it promises nothing while anything else goes wrong. Nor is membership:
/// few nodes let their clients choose the members.
pub const FAULTS: &[Fault] =
    &[Fault::Partition, Fault::Kill, Fault::Pause, Fault::OneWay, Fault::Slow, Fault::Stall];

/// A protocol, its clients, its checker and its nodes.
pub trait Challenge: Send + Sync {
    /// The name that `--workload` takes.
    fn name(&self) -> &'static str;

    /// The load of one run: the requests of clients, and how they understand the answers.
    ///
    /// # Errors
    /// A sentence about the flag that does not suit it.
    fn load(&self, config: &RunConfig) -> Result<Box<dyn Load>, String>;

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
    /// [`Challenge::nodes`]; others may lack a request that a fault needs, such as one that changes
    /// the members.
    fn faults(&self, own: bool) -> Vec<Fault> {
        let _ = own;
        FAULTS.to_vec()
    }

    /// Whether a node that was removed from its cluster goes on to serve clients. If it does not, it owes
    /// answers from the moment on at which it is a voter again.
    fn serves_when_removed(&self) -> bool {
        true
    }

    /// Takes from a drawn run the trouble that the protocol does not promise to survive beyond
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
