//! The smallest run in which a mutant is still found, as a plan.
//!
//! It is shrunk as `seaworthy explore` shrinks any failure, with the mutant planted, and
//! then read back from its file and run once more: a plan that does not fail is no
//! story.

use std::fs;
use std::path::Path;

use seaworthy::planted::Mutant;
use seaworthy_bench::challenge::{Challenges, builtin};
use seaworthy_bench::check::Class;
use seaworthy_bench::command::page::write_plan;
use seaworthy_bench::config::{ChaosArgs, RunConfig, quote};
use seaworthy_bench::explore::Space;
use seaworthy_bench::explore::plan::Plan;
use seaworthy_bench::explore::shrink::{self, Budget};
use seaworthy_bench::explore::story::Story;
use seaworthy_bench::seed::Seed;

use crate::hunt::{Catch, Method, plant};
use crate::schedule::Schedule;

/// How many runs shrinking takes at most.
const RUNS: usize = 1500;

/// A catch, shrunk.
pub(crate) struct Smallest {
    pub(crate) mutant: Mutant,
    pub(crate) method: Method,
    pub(crate) nodes: usize,
    pub(crate) operations: usize,
    /// Acts of the nemesis that begin a fault.
    pub(crate) faults: usize,
    /// The other faults of network, clocks and disks.
    pub(crate) weather: String,
    /// How the plan fails when it is run again; none if it does not.
    pub(crate) fails: Option<Class>,
}

/// Shrinks a catch, and writes its plan into `dir`.
///
/// # Errors
/// A sentence on why there is no plan.
pub(crate) fn smallest(
    mutant: Mutant,
    method: Method,
    catch: &Catch,
    dir: &Path,
) -> Result<Smallest, String> {
    let plan = plant(Some(mutant), method, || shrunk(mutant, catch))?;
    let path = dir.join(format!("{:02}-{mutant:?}.plan.edn", mutant.number()));
    let failed = |e| format!("{}: {e}", path.display());
    let text = plan.to_text()?;
    fs::create_dir_all(dir).and_then(|()| fs::write(&path, text)).map_err(failed)?;
    let plan = read(&path)?;
    let again = story(mutant, method, &plan)?.trial;
    Ok(Smallest {
        mutant,
        method,
        nodes: plan.config()?.nodes.len(),
        operations: plan.script.ops.len(),
        faults: plan.faults(),
        weather: weather(plan.run.latency, &plan.run.chaos),
        fails: again.symptom.map(|symptom| symptom.class),
    })
}

/// Runs a plan with a mutant planted, and writes the page about the run if `page` says where.
///
/// # Errors
/// A sentence on the fault of the file.
pub(crate) fn replay(
    mutant: Mutant,
    method: Method,
    path: &Path,
    page: Option<&Path>,
) -> Result<Story, String> {
    let plan = read(path)?;
    if let Some(page) = page {
        let space = Space::of(builtin(&plan.run.workload)?);
        let command = command(mutant, method, path);
        plant(Some(mutant), method, || write_plan(&plan, &space, command, page))?;
    }
    story(mutant, method, &plan)
}

/// The command that replays a plan: without the mutant nothing would fail.
fn command(mutant: Mutant, method: Method, plan: &Path) -> String {
    let white_box = if method == Method::WhiteBox { " --white-box" } else { "" };
    format!(
        "cargo run --release -p seaworthy-bench --features mutants --bin mutants -- --only {}{white_box} --replay {}",
        mutant.number(),
        quote(&plan.display().to_string()),
    )
}

fn story(mutant: Mutant, method: Method, plan: &Plan) -> Result<Story, String> {
    let challenge = builtin(&plan.run.workload)?;
    plant(Some(mutant), method, || Story::of(plan, &Space::of(challenge)))
}

fn read(path: &Path) -> Result<Plan, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Plan::from_text(&text, &Challenges::builtin())
}

fn shrunk(mutant: Mutant, catch: &Catch) -> Result<Plan, String> {
    let seed = Seed(catch.seed);
    let config = RunConfig::new(Schedule::of(mutant).run(seed), seed)?;
    let space = Space::of(builtin(&config.args.workload)?);
    let shrunk = shrink::smallest(&config, &space, &Budget { runs: RUNS, stop: &|| false })?;
    if shrunk.fails { Ok(shrunk.plan) } else { Err("as a plan it does not fail".into()) }
}

fn weather(latency: f64, chaos: &ChaosArgs) -> String {
    let parts = [
        ("latency", latency),
        ("loss", chaos.loss),
        ("duplicates", chaos.duplicate),
        ("reordering", chaos.reorder),
        ("clock skew", chaos.clock_skew),
        ("slow fsync", chaos.fsync),
        ("torn writes", chaos.torn_writes),
        ("a lasting fault", f64::from(u8::from(chaos.lasting_fault))),
    ];
    let present = parts.into_iter().filter(|(_, strength)| *strength > 0.0);
    present.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}
