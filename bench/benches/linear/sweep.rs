//! Histories whose verdict is known, many of them: see docs/checkers.md.

use std::ops::Range;
use std::time::Instant;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy_bench::check::linear::finding::Finding;
use seaworthy_bench::check::linear::generate::{self, NAMES, Shape};
use seaworthy_bench::check::linear::referee;
use seaworthy_bench::check::linear::search::{Limits, search};

/// The verdicts on the histories of a sweep.
#[derive(Debug, Default)]
struct Tally {
    histories: usize,
    operations: usize,
    valid: usize,
    invalid: usize,
    gave_up: usize,
    wrong: usize,
    /// Neither the referee knew.
    undecided: usize,
}

/// Judges a history for each seed and prints wrong verdicts, and a line of numbers.
pub(crate) fn run(seeds: Range<u64>) {
    let mut tally = Tally::default();
    for seed in seeds {
        judge(seed, &mut tally);
    }
    println!("{tally:?}");
}

/// Three of four histories are small ones of any model, and most of those corrupted; one
/// is large.
fn judge(seed: u64, tally: &mut Tally) {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut below = |bound: u64| (rng.next_u64() % bound) as usize;
    let is_large = seed.is_multiple_of(4);
    let name = match (is_large, seed / 4) {
        (true, at) if at % 3 > 0 => NAMES[0],
        // The larger states of sets and queues are for the small histories.
        (true, at) => NAMES[at as usize / 3 % 5],
        (false, _) => NAMES[seed as usize % NAMES.len()],
    };
    let operations = [1000, 3000, 10_000, 50_000][below(4)];
    let shape = Shape {
        clients: if is_large { 2 + below(59) } else { 2 + below(12) },
        operations: if is_large { operations } else { 2 + below(40) },
        crashed_per_mille: [0, 5, 10, 50, 200][below(5)],
        eagerness: 20 + 20 * below(4),
    };
    let values = 1 + below(6) as i64;
    let mut repertoire = generate::repertoire(name, values, &mut rng);
    let model = repertoire.model.as_mut();
    let (certain, crashed) = (&repertoire.certain, &repertoire.crashed);
    let mut timeline = generate::linearizable(model, certain, crashed, &shape, &mut rng);
    let mut expected = Some(true);
    if !is_large && !seed.is_multiple_of(3) {
        let count = 1 + (rng.next_u64() % 3) as usize;
        timeline = generate::corrupted(&timeline, certain, count, &mut rng);
        expected = referee::is_linearizable(model, &timeline, 200_000);
    }
    let start = Instant::now();
    let found = match search(model, &timeline, Limits::DEFAULT) {
        Finding::Linearizable(_) => Some(true),
        Finding::Violation { .. } => Some(false),
        Finding::GaveUp { reason } => {
            let seconds = start.elapsed().as_secs_f64();
            println!("seed {seed}: gave up after {seconds:.1} s: {name} {shape:?}: {reason}");
            None
        }
    };
    tally.histories += 1;
    tally.operations += shape.operations;
    tally.valid += usize::from(found == Some(true));
    tally.invalid += usize::from(found == Some(false));
    tally.gave_up += usize::from(found.is_none());
    tally.undecided += usize::from(expected.is_none());
    if found.is_some() && expected.is_some() && found != expected {
        println!("seed {seed}: WRONG: {found:?}, expected {expected:?}: {name} {shape:?}");
        tally.wrong += 1;
    }
}
