//! One run from its description to what it leaves behind, in either arm.

use seaworthy::mutant;
use seaworthy_workloads::{build, parse_args};

use crate::arm::process::{self, NodeCommand, ProcessCluster};
use crate::arm::sim::{Factory, Inspector, SimCluster};
use crate::config::RunConfig;
use crate::invariant::RaftInvariants;
use crate::workload;
use crate::world::journal::Journal;
use crate::world::script::Course;
use crate::world::{Progress, Report, World};

/// What a run leaves behind, and whether its journal could be written.
pub type Finished = (Report, std::io::Result<()>);

/// How often the simulation reports progress, in events.
const EVENTS_PER_REPORT: u64 = 10_000;

/// Runs our own nodes in the simulation: a function of `config` alone.
///
/// # Errors
/// A sentence about the flag that makes no sense.
pub fn simulate(
    config: &RunConfig,
    journal: Journal,
    watch: &mut dyn FnMut(Progress),
) -> Result<Finished, String> {
    let nodes = factory(config)?;
    simulate_nodes(config, nodes, inspector(config), journal, watch)
}

/// The same, until `stop` says so: the run ends there.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_until(
    config: &RunConfig,
    journal: Journal,
    watch: &mut dyn FnMut(Progress),
    stop: &dyn Fn() -> bool,
) -> Result<Finished, String> {
    let nodes = factory(config)?;
    let mut world = world_of(config, nodes, inspector(config), Course::Drawn, journal)?;
    run_world(&mut world, watch, stop);
    Ok(world.into_report())
}

/// What looks into our own nodes during a run. Without disks a kill may take back what
/// was acknowledged, and nothing can be demanded; nor where a planted bug is to be found
/// by what clients see.
pub fn inspector(config: &RunConfig) -> Option<Inspector> {
    let demands = !config.args.chaos.no_disk && !mutant::spares_assertions();
    demands.then(|| Box::new(RaftInvariants::default()) as Inspector)
}

/// Runs anybody's nodes in the simulation: `factory` makes one for each start, and
/// `inspector`, if there is one, looks into them.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_nodes(
    config: &RunConfig,
    factory: Factory,
    inspector: Option<Inspector>,
    journal: Journal,
    watch: &mut dyn FnMut(Progress),
) -> Result<Finished, String> {
    simulate_course(config, factory, inspector, Course::Drawn, journal, watch)
}

/// The same, where the course of the run is to be written down, or given.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_course(
    config: &RunConfig,
    factory: Factory,
    inspector: Option<Inspector>,
    course: Course,
    journal: Journal,
    watch: &mut dyn FnMut(Progress),
) -> Result<Finished, String> {
    let mut world = world_of(config, factory, inspector, course, journal)?;
    run_world(&mut world, watch, &|| false);
    Ok(world.into_report())
}

fn world_of(
    config: &RunConfig,
    factory: Factory,
    inspector: Option<Inspector>,
    course: Course,
    journal: Journal,
) -> Result<World<SimCluster>, String> {
    let workload = workload::build(config)?;
    let mut cluster = SimCluster::new(config, factory);
    if let Some(inspector) = inspector {
        cluster.inspect(inspector);
    }
    Ok(World::new(config.clone(), workload, cluster, journal).on(course))
}

fn run_world(
    world: &mut World<SimCluster>,
    watch: &mut dyn FnMut(Progress),
    stop: &dyn Fn() -> bool,
) {
    world.begin();
    let mut events = 0;
    while let Some(next) = world.next_time() {
        world.step(next);
        events += 1;
        if events % EVENTS_PER_REPORT == 0 {
            watch(world.progress());
            if stop() {
                world.interrupt();
            }
        }
    }
}

/// Runs real processes, on the real clock.
///
/// # Errors
/// As [`simulate`].
pub fn run_processes(
    config: &RunConfig,
    command: NodeCommand,
    journal: Journal,
    watch: &mut dyn FnMut(Progress),
) -> Result<Finished, String> {
    let chaos = &config.args.chaos;
    let disk = chaos.fsync > 0.0 || chaos.torn_writes > 0.0 || chaos.roll_back > 0.0;
    if chaos.clock_skew > 0.0 || disk || chaos.no_disk {
        return Err("faults of clock and disk need the simulation, without --bin".into());
    }
    let workload = workload::build(config)?;
    let children = command.children.clone();
    let (cluster, ears) = ProcessCluster::new(command, config.nodes.clone());
    let mut world = World::new(config.clone(), workload, cluster, journal);
    process::run(&mut world, &ears, &mut |world| {
        watch(world.progress());
        if children.interrupted() && !world.is_over() {
            world.interrupt();
        }
    });
    Ok(world.into_report())
}

/// Builds nodes from the arguments after `--`, as the binary would. Which workload
/// they serve is theirs to say; by default they serve everything, as the binary does.
///
/// # Errors
/// A sentence about the argument that makes no sense.
pub fn factory(config: &RunConfig) -> Result<Factory, String> {
    let cli = parse_args(&config.args.args).map_err(|e| e.to_string())?;
    build(cli.workload.as_deref(), &cli.options()).map_err(|e| e.to_string())?;
    Ok(Box::new(move || {
        build(cli.workload.as_deref(), &cli.options()).expect("it was built a moment ago")
    }))
}
