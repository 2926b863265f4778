//! Exploring one's own node, from a test.
//!
//! ```no_run
//! use seaworthy::node::{Context, Event, Workload};
//! use seaworthy_bench::explore::Explore;
//!
//! #[derive(Default)]
//! struct MyNode;
//!
//! impl Workload for MyNode {
//!     fn handle(&mut self, _cx: &mut Context<'_>, _event: Event) {}
//! }
//!
//! Explore::new("broadcast", || Box::<MyNode>::default()).seeds(200).run()?;
//! # Ok::<(), Box<seaworthy_bench::explore::Failed>>(())
//! ```
//!
//! The first argument names the built-in challenge by which the node is tested: its
//! operations and its checker. [`Explore::of`] takes a challenge of your own. A failure displays as the story of the smallest run that fails, and
//! holds its plan, which [`Explore::replay`] runs again.

use std::fmt;
use std::sync::Arc;

use seaworthy::node::Workload;

use super::ordered::cores;
use super::plan::Plan;
use super::shrink::{Budget, smallest};
use super::story::Story;
use super::swarm::{self, Sums, Swarm};
use super::trial::Trial;
use super::{Nodes, Space};
use crate::challenge::{Challenge, Challenges, builtin};
use crate::check::Availability;
use crate::config::{Demand, RunConfig};
use crate::seed::Seed;

/// How many runs shrinking takes at most, unless told otherwise.
const SHRINK_RUNS: usize = 2000;

/// An exploration of nodes by a challenge.
pub struct Explore {
    challenge: Arc<dyn Challenge>,
    nodes: Option<Box<Nodes>>,
    consistency_models: String,
    availability: Demand,
    args: Vec<String>,
    from: u64,
    seeds: u64,
    jobs: Option<usize>,
    shrink_runs: usize,
}

/// A run that failed, shrunk.
pub struct Failed {
    /// The seed that failed.
    pub seed: u64,
    /// How it failed before it was shrunk.
    pub first: Trial,
    /// The smallest run that fails in the same way.
    pub plan: Plan,
    /// The story of its run.
    pub story: Story,
}

impl Explore {
    /// Explores the nodes that `node` makes, one for each start, by the operations and
    /// the checker of the built-in challenge called `name` (see [`crate::challenge`]).
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn new(
        name: &str,
        node: impl Fn() -> Box<dyn Workload + Send> + Clone + Send + Sync + 'static,
    ) -> Explore {
        let row = builtin::ALL.into_iter().find(|row| row.name() == name);
        let known = || Challenges::builtin().names().join(", ");
        Explore::of(
            row.unwrap_or_else(|| panic!("there is no workload {name}; there are {}", known())),
        )
        .nodes(node)
    }

    /// Explores the nodes of a challenge.
    pub fn of(challenge: impl Challenge + 'static) -> Explore {
        let challenge = Arc::new(challenge);
        let Space { consistency_models, availability, .. } = Space::of(&*challenge);
        let args = challenge.arguments();
        Explore {
            challenge,
            nodes: None,
            consistency_models,
            availability,
            args,
            from: 0,
            seeds: 100,
            jobs: None,
            shrink_runs: SHRINK_RUNS,
        }
    }

    /// Explores the nodes that `node` makes, one for each start, instead of the challenge's.
    /// They get no arguments.
    #[must_use]
    pub fn nodes(
        mut self,
        node: impl Fn() -> Box<dyn Workload + Send> + Clone + Send + Sync + 'static,
    ) -> Explore {
        self.nodes = Some(Box::new(move |_: &RunConfig| Ok(Box::new(node.clone()) as _)));
        self.args.clear();
        self
    }

    /// Gives the challenge's own nodes these options.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Explore {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// How many operations must succeed in a run that takes no node down, as in
    /// `--availability`; none need to unless told otherwise.
    #[must_use]
    pub fn availability(mut self, demand: Availability) -> Explore {
        self.availability = Demand(Some(demand));
        self
    }

    /// How many seeds; 100 unless told otherwise.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Explore {
        self.seeds = seeds;
        self
    }

    /// The first seed; 0 unless told otherwise.
    #[must_use]
    pub fn from(mut self, seed: u64) -> Explore {
        self.from = seed;
        self
    }

    /// How many runs at a time; as many as there are cores unless told otherwise. The
    /// result is the same.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Explore {
        self.jobs = Some(jobs);
        self
    }

    /// How many runs shrinking may take; 0 for none.
    #[must_use]
    pub fn shrink_runs(mut self, runs: usize) -> Explore {
        self.shrink_runs = runs;
        self
    }

    /// Sets the models that transactions must satisfy, as in `--consistency-models`.
    #[must_use]
    pub fn consistency_models(mut self, models: &str) -> Explore {
        models.clone_into(&mut self.consistency_models);
        self
    }

    /// Runs the seeds in order, until one fails.
    ///
    /// # Errors
    /// The lowest seed that fails, shrunk.
    ///
    /// # Panics
    /// If the bench itself fails: a test cannot go on then. And if no operation succeeded at all:
    /// that is not a test.
    pub fn run(&self) -> Result<Sums, Box<Failed>> {
        let space = self.space();
        let swarm = Swarm {
            space: &space,
            from: self.from,
            seeds: self.seeds,
            jobs: self.jobs.unwrap_or_else(cores).max(1),
            stop: &|| false,
            watch: &|_| {},
        };
        let tally = swarm.run().unwrap_or_else(|message| panic!("{message}"));
        match tally.failed {
            None => {
                let Sums { operations, succeeded, .. } = tally.sums;
                let tested = operations == 0 || succeeded > 0;
                assert!(tested, "none of {operations} operations succeeded: nothing was tested");
                Ok(tally.sums)
            }
            Some((seed, swarm::Failure::Bench(message))) => {
                panic!("the bench failed at seed {seed}: {message}")
            }
            Some((seed, swarm::Failure::Run(first))) => {
                let failed = self.explain(seed, first);
                Err(Box::new(failed.expect("the same run worked a moment ago")))
            }
        }
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// A sentence about the flag in it that makes no sense.
    pub fn replay(&self, plan: &Plan) -> Result<Story, String> {
        Story::of(plan, &self.space())
    }

    fn space(&self) -> Space<'_> {
        Space {
            challenge: &*self.challenge,
            nodes: self.nodes.as_deref(),
            consistency_models: self.consistency_models.clone(),
            availability: self.availability,
            args: self.args.clone(),
            tuned: self.nodes.is_none(),
        }
    }

    fn explain(&self, seed: u64, first: Trial) -> Result<Failed, String> {
        let space = self.space();
        let config = space.config(Seed(seed))?;
        let budget = Budget { runs: self.shrink_runs, stop: &|| false };
        let plan = smallest(&config, &space, &budget)?.plan;
        let story = self.replay(&plan)?;
        Ok(Failed { seed, first, plan, story })
    }
}

impl Failed {
    /// How many faults the nemesis begins in the shrunk run.
    pub fn faults(&self) -> usize {
        self.plan.faults()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails: {}", self.seed, self.first.why)?;
        let (ops, nodes) = (self.plan.script.ops.len(), self.plan.run.node_count.unwrap_or(0));
        writeln!(f, "shrunk to {nodes} nodes, {ops} operations, {} faults:\n", self.faults())?;
        write!(f, "{}", self.story)
    }
}

/// As the story, so that a test that ends with it shows the story.
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Failed {}
