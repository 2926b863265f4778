//! `seaworthy explore --nodes-bin` and `--server`: the same swarm of configurations on real
//! processes.
//!
//! On the real clock a seed stands for a configuration, not for a run: a run that fails once may
//! pass the next time. So only repetition can shrink it ([`super::repeat`], of servers), runs are
//! short, and they come one after the other, so that they do not take each other's processor. Faults of clock and disk are left out,
//! which only the simulation has.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::{ExploreArgs, progress_bar, space};
use super::repeat::{Repetition, shrink};
use crate::backend::process::{Children, NodeCommand, resolve, unix_millis};
use crate::backend::server::{ServerCommand, Spec, lack_of_disks};
use crate::challenge::Challenge;
use crate::check::Verdict;
use crate::command::{Exit, crash, say, usage};
use crate::config::{Concurrency, Fault, LatencyDist, RunArgs, RunConfig, command, quote};
use crate::explore::{Trial, derive};
use crate::run::Run;
use crate::seed::Seed;

/// Seconds of operations in a run, under faults and without.
const TIME_LIMIT_S: f64 = 3.0;
const QUIET_PHASE_S: f64 = 5.0;
/// Milliseconds of latency, at most: a run this short has to get somewhere.
const LATENCY_MAX_MS: f64 = 20.0;

/// Seconds of operations of servers, which take one or two to elect a leader; and their size.
const SERVERS_TIME_LIMIT_S: f64 = 8.0;
const SERVERS_NODES_MAX: usize = 5;
const SERVERS_RATE_MAX: f64 = 100.0;
/// The faults that only explorations of servers draw, and how often.
const SERVERS_FAULTS: [(Fault, f64); 5] = [
    (Fault::Membership, 0.25),
    (Fault::Reset, 0.25),
    (Fault::Throttle, 0.15),
    (Fault::Clients, 0.25),
    (Fault::FullDisk, 0.2),
];
/// How many runs shrinking takes, at most: each takes ten seconds.
const SERVERS_SHRINK: usize = 40;

/// The processes that are explored.
pub(super) enum Crew<'a> {
    /// A binary that speaks over its pipes.
    Binary(&'a Path),
    /// Servers with sockets.
    Servers(&'a Spec),
}

impl Crew<'_> {
    /// The flag of `seaworthy test` that names them.
    fn flag(&self) -> String {
        match self {
            Crew::Binary(bin) => format!("--bin {}", quote(&bin.display().to_string())),
            Crew::Servers(spec) => format!("--server {}", quote(&spec.name)),
        }
    }

    /// Takes from a drawn run the faults and sizes that are not for these processes.
    fn tame(&self, run: &mut RunArgs, seed: Seed) {
        // Not every node lets clients choose the members.
        run.nemesis.retain(|fault| *fault != Fault::Membership);
        real(run);
        if let Crew::Servers(spec) = self {
            served(run, spec, seed);
        }
    }
}

/// Explores these processes.
pub(super) fn run(args: &ExploreArgs, challenge: &dyn Challenge, crew: &Crew<'_>) -> Exit {
    let children = Children::default();
    if let Err(e) = children.end_with_the_bench() {
        return crash(&format!("cannot catch signals: {e}"));
    }
    say("Real processes on the real clock: not deterministic, a seed may fail only sometimes.");
    if let (Crew::Servers(_), Some(why)) = (crew, lack_of_disks()) {
        say(format_args!("No disk is ever full: {why}."));
    }
    let started = unix_millis();
    let elapsed = || (unix_millis() - started) as f64 / 1000.0;
    let bar = progress_bar(args);
    let (mut runs, mut silent) = (0, 0);
    while args.r#for.map_or(runs < args.seeds, |limit| elapsed() < limit) {
        let seed = args.from.saturating_add(runs);
        let mut run = derive(&space(args, challenge), Seed(seed));
        run.args.clone_from(&args.args);
        crew.tame(&mut run, Seed(seed));
        let (trial, fs) = match attempt(challenge, &run, crew, &children) {
            Ok(made) => made,
            Err(message) => return usage(&message),
        };
        let exit = Exit::of(&trial);
        let says_nothing =
            matches!(crew, Crew::Servers(_)) && exit == Exit::Verdict(Verdict::Unknown);
        if exit != Exit::Verdict(Verdict::Valid) && !says_nothing {
            bar.finish_and_clear();
            if matches!(crew, Crew::Servers(_)) && args.shrink != Some(0) && !children.interrupted()
            {
                say(format_args!("Seed {seed} failed; trying smaller runs."));
                let repetition = Repetition {
                    tries: args.tries,
                    fails: args.fails,
                    runs: args.shrink.unwrap_or(SERVERS_SHRINK),
                };
                let mut again = |run: &RunArgs| {
                    attempt(challenge, run, crew, &children).map(|(trial, _)| trial)
                };
                match shrink(run.clone(), &trial, &fs, repetition, &mut again) {
                    Ok((smaller, made)) => {
                        say(format_args!("{}", told(&run, &smaller, made)));
                        run = smaller;
                    }
                    Err(message) => return usage(&message),
                }
            }
            say(format_args!("Seed {seed}. Try it again with:"));
            // Before the flags, as the last of them may be those of the nodes.
            let with_crew = format!("seaworthy test {}", crew.flag());
            say(format_args!("  {}", command(&run).replacen("seaworthy test", &with_crew, 1)));
            return exit;
        }
        runs += 1;
        silent += u64::from(says_nothing);
        bar.set_position(if args.r#for.is_some() { elapsed() as u64 } else { runs });
        bar.set_message(format!("{runs} runs in {:.0} s, none invalid", elapsed()));
    }
    bar.finish_and_clear();
    let seconds = elapsed();
    match silent {
        0 => say(format_args!("{runs} runs in {seconds:.1} s. All valid.")),
        _ => say(format_args!(
            "{runs} runs in {seconds:.1} s. {silent} said nothing, all others were valid."
        )),
    }
    Exit::Verdict(Verdict::Valid)
}

/// The parts that a smaller run lacks.
fn told(run: &RunArgs, smaller: &RunArgs, made: usize) -> String {
    let gone = run.nemesis.iter().filter(|fault| !smaller.nemesis.contains(fault));
    let mut gone: Vec<String> = gone.map(|fault| format!("{fault:?}").to_lowercase()).collect();
    gone.extend(smaller.omit.iter().map(|f| format!(":{f}")));
    if smaller.latency < run.latency {
        gone.push("latency".to_owned());
    }
    if let Some(nodes) = smaller.node_count.filter(|_| smaller.node_count != run.node_count) {
        gone.push(format!("all but {nodes} nodes"));
    }
    match gone.is_empty() {
        true => format!("{made} runs: no part of it could be left out."),
        false => format!("{made} runs: it fails as well without {}.", gone.join(", ")),
    }
}

/// Adapts a run to the real clock.
fn real(run: &mut RunArgs) {
    run.time_limit = TIME_LIMIT_S;
    run.latency = run.latency.min(LATENCY_MAX_MS);
    run.latency_spread =
        f64::min(run.latency_spread, LATENCY_MAX_MS / run.latency.max(1.0)).max(1.0);
    run.nemesis_interval = run.nemesis_interval.min(TIME_LIMIT_S / 3.0);
    let chaos = &mut run.chaos;
    chaos.quiet_phase = QUIET_PHASE_S;
    (chaos.clock_skew, chaos.fsync, chaos.torn_writes) = (0.0, 0.0, 0.0);
    chaos.roll_back = 0.0;
}

/// Makes a drawn run one for servers: a stream has no loss and no order of its own, and no run
/// is larger than a machine with two cores can serve.
fn served(run: &mut RunArgs, spec: &Spec, seed: Seed) {
    run.nemesis.retain(|fault| *fault != Fault::Replace);
    // Its own stream, as no other run draws these.
    let draw = &mut seed.stream("explore-servers", 0);
    for (fault, chance) in SERVERS_FAULTS {
        let is_drawn = draw.chance(chance);
        let can_be = match fault {
            Fault::Membership => spec.has_members(),
            Fault::FullDisk => lack_of_disks().is_none(),
            _ => true,
        };
        run.nemesis.extend((is_drawn && can_be).then_some(fault));
    }
    run.time_limit = SERVERS_TIME_LIMIT_S;
    run.nemesis_interval = run.nemesis_interval.max(1.0);
    run.rate = run.rate.min(SERVERS_RATE_MAX);
    run.node_count = run.node_count.map(|count| count.min(SERVERS_NODES_MAX));
    run.concurrency = Concurrency::PerNode(2);
    run.latency_dist = LatencyDist::Constant;
    let chaos = &mut run.chaos;
    (chaos.loss, chaos.duplicate, chaos.reorder) = (0.0, 0.0, 0.0);
    (chaos.quiet_phase, chaos.lasting_fault, chaos.no_disk) = (0.0, false, false);
}

/// Makes a run: its result, and the kinds of operations in its history.
fn attempt(
    challenge: &dyn Challenge,
    run: &RunArgs,
    crew: &Crew<'_>,
    children: &Children,
) -> Result<(Trial, Vec<String>), String> {
    let config = RunConfig::new(run.clone(), Seed(0))?;
    let log_dir = std::env::temp_dir().join(format!("seaworthy-explore-{}", std::process::id()));
    std::fs::create_dir_all(&log_dir).map_err(|e| format!("{}: {e}", log_dir.display()))?;
    let one = Run::of(challenge, &config);
    let (args, children) = (run.args.clone(), children.clone());
    let ran = match crew {
        Crew::Binary(bin) => one.processes(NodeCommand {
            bin: resolve(bin)?,
            args,
            log_dir: log_dir.clone(),
            echo_stderr: false,
            children,
        })?,
        Crew::Servers(spec) => one.servers(ServerCommand {
            spec: (*spec).clone(),
            args,
            data_dir: log_dir.join("data"),
            log_dir: log_dir.clone(),
            echo_logs: false,
            children,
        })?,
    };
    let trial = Trial::of(&ran);
    if trial.verdict == Verdict::Invalid
        || trial.verdict == Verdict::Unknown && matches!(crew, Crew::Binary(_))
    {
        say(format_args!("{:?}: {}", trial.verdict, trial.why));
        say(format_args!("The nodes' logs: {}", log_dir.display()));
    } else {
        // A file that cannot be removed from a directory for temporary files does no harm there.
        let _ = std::fs::remove_dir_all(&log_dir);
    }
    let clients = ran.report.history.iter().filter(|op| op.is_client());
    let fs: BTreeSet<String> = clients.map(|op| op.f.to_string()).collect();
    Ok((trial, fs.into_iter().collect()))
}
