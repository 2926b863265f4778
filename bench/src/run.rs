//! One run from its description to its report, on either backend.
//!
//! ```
//! use seaworthy_bench::challenge::builtin;
//! use seaworthy_bench::config::{RunArgs, RunConfig};
//! use seaworthy_bench::judge::judge;
//! use seaworthy_bench::run::Run;
//! use seaworthy_bench::seed::Seed;
//!
//! let flags = "-w echo --node-count 1 --time-limit 1".split(' ');
//! let config = RunConfig::new(RunArgs::from_flags(flags)?, Seed(7))?;
//! let ran = Run::of(builtin("echo")?, &config).simulate()?;
//! assert_eq!(judge(&ran).verdict, seaworthy_bench::check::Verdict::Valid);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::time::Duration;

use seaworthy::coverage::{self, Marks};
use seaworthy::planted;

use crate::backend::process::{Children, NodeCommand, ProcessCluster, clock};
use crate::backend::server::{self, ServerCluster, ServerCommand};
use crate::backend::sim::{Factory, Inspector, SimCluster};
use crate::backend::{Cluster, Live};
use crate::challenge::Challenge;
use crate::config::{Fault, NetworkKind, RunConfig};
use crate::load::omitting;
use crate::service::Services;
use crate::world::journal::Journal;
use crate::world::script::Course;
use crate::world::{Progress, Report, World};

/// How often the simulation reports progress, in events.
const EVENTS_PER_REPORT: u64 = 10_000;

/// How often a run on the real clock reports progress.
const DISPLAY: Duration = Duration::from_millis(50);

/// A run that is about to be made. Unless told otherwise its nodes are those of the challenge,
/// its course is drawn from its seed, and nothing is written down.
pub struct Run<'a, 'w> {
    challenge: &'a dyn Challenge,
    config: &'a RunConfig,
    nodes: Option<Factory>,
    inspector: Option<Inspector>,
    course: Course,
    journal: Journal,
    watch: Option<&'w mut dyn FnMut(Progress)>,
    stop: &'w dyn Fn() -> bool,
}

/// A run that was made.
pub struct Ran<'a> {
    /// The challenge that its nodes were tested by.
    pub challenge: &'a dyn Challenge,
    /// Its description.
    pub config: &'a RunConfig,
    /// The history, the counts and the faults that it left behind.
    pub report: Report,
    /// Which rare events came up in simulated nodes.
    pub marks: Marks,
    /// Whether its journal could be written.
    pub journal: io::Result<()>,
}

impl<'a, 'w> Run<'a, 'w> {
    /// The run that `config` describes.
    pub fn of(challenge: &'a dyn Challenge, config: &'a RunConfig) -> Run<'a, 'w> {
        assert_eq!(challenge.name(), config.args.workload, "the flags name another workload");
        Run {
            challenge,
            config,
            nodes: None,
            inspector: inspector(challenge, config),
            course: Course::Drawn,
            journal: Journal::off(),
            watch: None,
            stop: &|| false,
        }
    }

    /// Simulates these nodes instead; the factory is called at each start of one.
    #[must_use]
    pub fn nodes(mut self, nodes: Factory) -> Run<'a, 'w> {
        self.nodes = Some(nodes);
        self
    }

    /// Lets nothing look inside of simulated nodes: only the history of clients counts.
    #[must_use]
    pub fn uninspected(mut self) -> Run<'a, 'w> {
        self.inspector = None;
        self
    }

    /// Gives a simulated run its course, or has it written down.
    #[must_use]
    pub fn course(mut self, course: Course) -> Run<'a, 'w> {
        self.course = course;
        self
    }

    /// Notes messages and operations in this journal.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Run<'a, 'w> {
        self.journal = journal;
        self
    }

    /// Calls `watch` now and then, for a display of progress.
    #[must_use]
    pub fn watch(mut self, watch: &'w mut dyn FnMut(Progress)) -> Run<'a, 'w> {
        self.watch = Some(watch);
        self
    }

    /// Ends the run before its time once `stop` says so.
    #[must_use]
    pub fn until(mut self, stop: &'w dyn Fn() -> bool) -> Run<'a, 'w> {
        self.stop = stop;
        self
    }

    /// Makes nothing but the nodes, to see whether their options make sense.
    ///
    /// # Errors
    /// A sentence about the option that does not.
    pub fn build(mut self) -> Result<(), String> {
        self.factory().map(drop)
    }

    fn factory(&mut self) -> Result<Factory, String> {
        match self.nodes.take() {
            Some(nodes) => Ok(nodes),
            None => self.challenge.nodes(self.config),
        }
    }

    /// Makes the run in the simulation: a function of its description and its nodes.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn simulate(mut self) -> Result<Ran<'a>, String> {
        refuse_faults_of_servers(self.config)?;
        let mut cluster = SimCluster::new(self.config, self.factory()?);
        if let Some(inspector) = self.inspector.take() {
            cluster.inspect(inspector);
        }
        // Whatever this thread did before is not of this run.
        coverage::take();
        let mut world = self.world(cluster)?;
        world.begin();
        let mut events = 0;
        while let Some(next) = world.next_time() {
            world.step(next);
            events += 1;
            if events % EVENTS_PER_REPORT == 0 {
                self.show(world.progress());
                if (self.stop)() {
                    world.interrupt();
                }
            }
        }
        Ok(self.end(world))
    }

    /// Makes the run with real processes, on the real clock.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn processes(mut self, command: NodeCommand) -> Result<Ran<'a>, String> {
        refuse_faults_of_servers(self.config)?;
        let chaos = &self.config.args.chaos;
        let disk = chaos.fsync > 0.0 || chaos.torn_writes > 0.0 || chaos.roll_back > 0.0;
        if chaos.clock_skew > 0.0 || disk || chaos.no_disk {
            return Err("faults of clock and disk need the simulation, without --bin".into());
        }
        let children = command.children.clone();
        let (cluster, ears) = ProcessCluster::new(command, self.config.nodes.clone());
        let world = self.world(cluster)?;
        Ok(self.live(world, |patience| ears.listen(patience).collect(), &children))
    }

    /// Makes the run with real servers, on the real clock.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense, or the port or directory that there is not.
    pub fn servers(mut self, command: ServerCommand) -> Result<Ran<'a>, String> {
        server::check(&command.spec, self.config)?;
        let children = command.children.clone();
        let patience = self.challenge.load(self.config)?.patience();
        let (cluster, ears) = ServerCluster::new(command, self.config, patience)
            .map_err(|e| format!("--server: {e}"))?;
        let world = self.world(cluster)?;
        Ok(self.live(world, |patience| ears.listen(patience), &children))
    }

    /// Lets a world go on until it is over, on the real clock. `listen` waits until its cluster has
    /// told something, at most that long.
    fn live<C: Live>(
        &mut self,
        mut world: World<C>,
        listen: impl Fn(Duration) -> Vec<C::Heard>,
        children: &Children,
    ) -> Ran<'a> {
        let clock = clock();
        let mut shown = clock();
        world.begin();
        let mut now = clock();
        while let Some(next) = world.next_time() {
            let all = listen(next - now);
            // All of them had come by now; a look at the clock takes longer than most steps.
            now = clock();
            for heard in all {
                let out = world.cluster_mut().take(now, heard);
                world.take_in(now, out);
            }
            let seen = world.cluster_mut().glance();
            world.take_in(now, seen);
            while world.next_time().is_some_and(|at| at <= now) {
                world.step(now);
                now = clock();
            }
            if now - shown >= DISPLAY {
                shown = now;
                self.show(world.progress());
            }
            if (children.interrupted() || (self.stop)()) && !world.is_over() {
                world.interrupt();
            }
        }
        let quitters = world.cluster_mut().quitters();
        world.take_in(clock(), quitters);
        self.end(world)
    }

    fn world<C: Cluster>(&mut self, cluster: C) -> Result<World<C>, String> {
        let load = omitting(self.challenge.load(self.config)?, &self.config.args.omit);
        let services = Services::new(self.config.seed, self.challenge.services());
        let taken = services
            .names()
            .into_iter()
            .find(|name| self.config.nodes.iter().any(|node| node.as_str() == *name));
        if let Some(name) = taken {
            return Err(format!("--nodes: {name:?} is the name of a service"));
        }
        let journal = std::mem::replace(&mut self.journal, Journal::off());
        let course = std::mem::take(&mut self.course);
        Ok(World::new(self.config.clone(), load, services, cluster, journal).on(course))
    }

    fn show(&mut self, progress: Progress) {
        if let Some(watch) = &mut self.watch {
            watch(progress);
        }
    }

    fn end<C: Cluster>(&self, world: World<C>) -> Ran<'a> {
        let (report, journal) = world.into_report();
        let marks = coverage::take();
        Ran { challenge: self.challenge, config: self.config, report, marks, journal }
    }
}

/// Refuses the faults that only servers can have. Messages between other nodes have no connections,
/// whose bytes could be limited, and their disks are no file systems, which could be full.
fn refuse_faults_of_servers(config: &RunConfig) -> Result<(), String> {
    for (fault, name) in [(Fault::Throttle, "throttle"), (Fault::FullDisk, "full-disk")] {
        if config.has(fault) {
            return Err(format!("--nemesis {name} needs --server"));
        }
    }
    match config.args.chaos.network {
        NetworkKind::Proxies => Ok(()),
        NetworkKind::Namespaces => Err("--network namespaces needs --server".into()),
    }
}

/// Returns the inspector that looks into nodes during a run. Without disks a kill may take back an
/// acknowledged write, and nothing can be demanded; nor where a planted bug is to be found by the
/// histories of clients.
fn inspector(challenge: &dyn Challenge, config: &RunConfig) -> Option<Inspector> {
    let demands = !config.args.chaos.no_disk && !planted::spares_assertions();
    if demands { challenge.inspector() } else { None }
}
