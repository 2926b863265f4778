//! Bugs of the server's own, hunted from outside: by the clients' operations alone.

use std::fmt::Write;

use seaworthy_bench::challenge::Challenge;
use seaworthy_bench::check::{CheckOptions, reasons};
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

/// A space with kills, partitions and small snapshots, where servers restart from them.
fn restarting(seed: Seed) -> RunConfig {
    changed(seed, |run, draw| {
        run.node_count = Some(*draw.pick(&[1, 3, 3, 5]));
        run.nemesis = vec![Fault::Kill];
        run.nemesis_interval = *draw.pick(&[1.0, 2.0]);
        run.time_limit = 20.0;
        run.rate = 50.0;
        (run.latency, run.latency_spread) = (*draw.pick(&[1.0, 5.0]), 1.0);
        run.chaos.loss = 0.0;
        run.chaos.lasting_fault = false;
        run.chaos.roll_back = 0.0;
        run.chaos.fsync = *draw.pick(&[1.0, 10.0]);
        let args = ["--snapshot-bytes", "3000", "--keep-entries", "3"];
        run.args = args.map(str::to_owned).to_vec();
    })
}

/// A space in which leaders are cut off, and write and lease go on elsewhere.
fn parted(seed: Seed) -> RunConfig {
    changed(seed, |run, draw| {
        run.node_count = Some(*draw.pick(&[3, 5]));
        run.nemesis = vec![Fault::Partition];
        run.nemesis.extend(draw.chance(0.5).then_some(Fault::Pause));
        run.nemesis_interval = *draw.pick(&[1.0, 2.0, 3.0]);
        run.time_limit = 20.0;
        run.rate = 50.0;
        (run.latency, run.latency_spread) = (*draw.pick(&[1.0, 5.0, 20.0]), 1.0);
        run.chaos.loss = *draw.pick(&[0.0, 0.05]);
        run.chaos.lasting_fault = false;
        run.chaos.roll_back = 0.0;
        let bytes = *draw.pick(&["3000", "30000"]);
        run.args = ["--snapshot-bytes", bytes, "--keep-entries", "3"].map(str::to_owned).to_vec();
    })
}

/// The same, with clocks that run at different speeds, so that an earlier leader still believes in
/// itself when the next one is elected.
fn skewed(seed: Seed) -> RunConfig {
    let mut run = parted(seed).args;
    run.nemesis = vec![Fault::Partition];
    run.chaos.clock_skew = 0.3;
    RunConfig::new(run, seed).unwrap()
}

/// A space in which members come and go, and servers restart from snapshots.
fn leaving(seed: Seed) -> RunConfig {
    let mut run = restarting(seed).args;
    run.node_count = Some(3);
    run.nemesis.push(Fault::Membership);
    RunConfig::new(run, seed).unwrap()
}

/// The space in which a bug is hunted, and its name.
fn space(mutant: Mutant) -> (&'static str, fn(Seed) -> RunConfig) {
    use Mutant::*;
    match mutant {
        TrustEmptied | TrustOlder => ("forgetful", forgetful),
        SnapshotAhead
        | CountUnflushed
        | ForgetSessions
        | RevisionOfKeys
        | SnapshotWithoutLeases
        | SnapshotDetaches
        | BatchAhead => ("restarting", restarting),
        SnapshotWithoutRemoved => ("leaving", leaving),
        RenewUnconfirmed => ("skewed", skewed),
        _ => ("parted", parted),
    }
}

/// The first seed at which a planted bug breaks a promise that holds without it, and how.
fn hunt(mutant: Mutant, seeds: u64) -> Option<(u64, String)> {
    let (_, space) = space(mutant);
    (0..seeds).find_map(|seed| {
        let config = space(Seed(seed));
        let why = seen_by_clients(&config, Some(mutant))?;
        assert_eq!(seen_by_clients(&config, None), None, "seed {seed}, nothing planted");
        Some((seed, why))
    })
}

/// Hunts bugs, and prints a row of the table for each.
fn assert_found(mutants: &[Mutant], seeds: u64) {
    let missed: Mutex<Vec<Mutant>> = Mutex::default();
    in_threads(mutants, |mutant| {
        let mut row = format!("| {mutant:?} | {} | ", space(*mutant).0);
        match hunt(*mutant, seeds) {
            Some((seed, why)) => write!(row, "{} | {why} |", seed + 1).unwrap(),
            None => {
                write!(row, "missed in {seeds} | |").unwrap();
                missed.lock().unwrap().push(*mutant);
            }
        }
        println!("{row}");
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
}

#[test]
fn disks_that_forget_are_not_trusted() {
    assert_found(&[Mutant::TrustEmptied, Mutant::TrustOlder], number("MUTANT_SEEDS", 400));
}

/// Bugs of each kind, found within a few seeds.
const QUICK: [Mutant; 8] = [
    Mutant::ReadLocal,
    Mutant::TxnPartial,
    Mutant::SnapshotAhead,
    Mutant::SkipCompacted,
    Mutant::WatchEarly,
    Mutant::MarkJumps,
    Mutant::DeposedEnds,
    Mutant::SnapshotDetaches,
];

#[test]
fn planted_bugs_are_found() {
    let wanted = std::env::var("MUTANTS").unwrap_or_default();
    let is_wanted = |mutant: &Mutant| wanted.split(',').any(|name| name == format!("{mutant:?}"));
    let chosen: Vec<Mutant> = match wanted.as_str() {
        "" => QUICK.to_vec(),
        "all" => Mutant::ALL.to_vec(),
        _ => Mutant::ALL.into_iter().filter(is_wanted).collect(),
    };
    assert!(!chosen.is_empty(), "there is no mutant {wanted}");
    assert_found(&chosen, number("MUTANT_SEEDS", 400));
}
