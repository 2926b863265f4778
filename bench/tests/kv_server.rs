//! The served cluster in the simulation: the faults that an exploration draws break no promise,
//! and two planted bugs are found.
//!
//! `cargo test -p seaworthy-bench --features kv-mutants --test kv_server`; `KV_SEEDS` is
//! the number of seeds of each test, `KV_FROM` the first one.

// Tests take their number of seeds from the environment.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use seaworthy_bench::challenge::kv_server::KvServer;
use seaworthy_bench::check::{Verdict, reasons};
use seaworthy_bench::config::{Fault, RunConfig};
use seaworthy_bench::explore::{Explore, Space, derive};
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn faults_and_snapshots_break_no_promise() {
    let explored = Explore::of(KvServer).seeds(number("KV_SEEDS", 60)).run();
    assert!(explored.is_ok(), "{}", explored.err().unwrap());
}

/// A space in which servers are killed and cut off all the time, and each kill takes durable
/// data along.
fn forgetful(seed: Seed) -> RunConfig {
    let mut run = derive(&Space::of(&KvServer), seed);
    let mut draw = seed.stream("forgetful", 0);
    run.node_count = Some(*draw.pick(&[3, 3, 5]));
    run.nemesis = vec![Fault::Kill, Fault::Partition];
    run.nemesis_interval = *draw.pick(&[1.0, 2.0, 3.0]);
    run.time_limit = 20.0;
    run.rate = 50.0;
    run.latency = *draw.pick(&[1.0, 5.0]);
    run.latency_spread = 1.0;
    run.chaos.loss = 0.0;
    run.chaos.lasting_fault = false;
    run.chaos.roll_back = 1.0;
    run.chaos.fsync = 1.0;
    RunConfig::new(run, seed).unwrap()
}

/// Why a run is not valid, if it is not.
fn broken(config: &RunConfig) -> Option<String> {
    let ran = Run::of(&KvServer, config).simulate().unwrap();
    let outcome = judge(&ran).without("stats");
    let why = reasons(&outcome.findings).join("; ");
    (outcome.verdict != Verdict::Valid).then_some(why)
}

fn assert_none_broken(configs: impl Iterator<Item = RunConfig>) {
    let broken = configs.filter_map(|config| {
        let why = broken(&config)?;
        println!("seed {:?}: {why}", config.seed);
        Some(config.seed)
    });
    let broken: Vec<Seed> = broken.collect();
    assert!(broken.is_empty(), "these seeds break a promise: {broken:?}");
}

#[test]
fn emptied_and_older_disks_break_no_promise() {
    let (from, seeds) = (number("KV_FROM", 1000), number("KV_SEEDS", 60));
    assert_none_broken((from..from + seeds).map(|seed| forgetful(Seed(seed))));
}

/// Seeds at which a promise was broken once: an older copy of a data directory was refused when it
/// was started, and listened to when it was started again, because its life had a higher number by
/// then; or the bench held a server to a promise that it had given with a directory that was taken
/// from it since.
#[test]
fn seeds_that_broke_a_promise_keep_it() {
    let forgetful = [4, 12, 17, 21, 23, 74, 80, 107, 1049, 1116, 1122].map(Seed).map(forgetful);
    let drawn = [126, 157, 372].map(|seed| {
        let seed = Seed(seed);
        RunConfig::new(derive(&Space::of(&KvServer), seed), seed).unwrap()
    });
    assert_none_broken(forgetful.into_iter().chain(drawn));
}

#[cfg(feature = "kv-mutants")]
mod planted {
    use seaworthy_bench::challenge::Challenge;
    use seaworthy_bench::check::CheckOptions;
    use seaworthy_server::planted::{Mutant, plant};

    use super::*;

    /// Why the history of a run is invalid by the clients' operations, if it is.
    fn seen_by_clients(config: &RunConfig, mutant: Option<Mutant>) -> Option<String> {
        plant(mutant);
        let ran = Run::of(&KvServer, config).uninspected().simulate().unwrap();
        plant(None);
        let workload = KvServer.check(&ran.report.history, &CheckOptions::default());
        (workload.verdict == Verdict::Invalid).then(|| reasons(&workload.findings).join("; "))
    }

    /// Finds the first seed at which a planted bug breaks a promise that holds without it.
    fn hunt(mutant: Mutant) {
        let seeds = number("MUTANT_SEEDS", 400);
        for seed in 0..seeds {
            let config = forgetful(Seed(seed));
            if let Some(why) = seen_by_clients(&config, Some(mutant)) {
                assert_eq!(seen_by_clients(&config, None), None, "seed {seed}, nothing planted");
                println!("{mutant:?}: seed {seed}: {why}");
                return;
            }
        }
        panic!("{mutant:?} was not found within {seeds} seeds");
    }

    #[test]
    fn a_server_that_trusts_an_emptied_disk_loses_what_was_acknowledged() {
        hunt(Mutant::TrustEmptied);
    }

    #[test]
    fn a_server_that_trusts_an_older_copy_loses_what_was_acknowledged() {
        hunt(Mutant::TrustOlder);
    }
}
