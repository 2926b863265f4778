//! Parts of an exploration, for many machines.

use std::str::FromStr;

use crate::check::Verdict;
use crate::command::merge::{Explored, FailedSeed};
use crate::config::command;
use crate::explore::swarm::{Failure, Tally};
use crate::explore::{Space, derive};
use crate::seed::Seed;

/// Part `index` (from 0) of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    index: u64,
    count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/');
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let parts = parts.and_then(|(index, count)| Some((number(index)?, number(count)?)));
        match parts {
            Some((index, count)) if index < count => Ok(Shard { index, count }),
            Some((_, 0)) => Err("there is no part of nothing".into()),
            Some((_, count)) => Err(format!("parts are numbered from 0 to {}", count - 1)),
            None => Err("K/N is wanted, such as 0/16".into()),
        }
    }
}

impl Shard {
    /// The first seed of this part of a range, and how many there are. The parts of a range
    /// have no seed in common and miss none.
    pub(super) fn of(self, from: u64, seeds: u64) -> (u64, u64) {
        let edge = |index: u64| {
            let edge = u128::from(seeds) * u128::from(index) / u128::from(self.count);
            u64::try_from(edge).expect("a part is not longer than the whole")
        };
        let (start, end) = (edge(self.index), edge(self.index + 1));
        (from.saturating_add(start), end - start)
    }
}

/// Returns the result of an exploration, for other programs.
pub(super) fn explored(
    space: &Space<'_>,
    (from, seeds): (u64, u64),
    tally: &Tally,
    is_interrupted: bool,
) -> Explored {
    let sums = &tally.sums;
    let failed = tally.failed.as_ref().map(|(seed, failure)| {
        let (verdict, why) = match failure {
            Failure::Run(trial) if trial.verdict == Verdict::Invalid => ("invalid", &trial.why),
            Failure::Run(trial) => ("unknown", &trial.why),
            Failure::Bench(message) => ("unknown", message),
        };
        let command = command(&derive(space, Seed(*seed)));
        FailedSeed { seed: *seed, verdict: verdict.into(), why: why.clone(), command }
    });
    Explored {
        workload: space.challenge.name().to_owned(),
        from,
        seeds,
        runs: sums.runs,
        operations: sums.operations as u64,
        succeeded: sums.succeeded as u64,
        acts: sums.acts,
        simulated_seconds: sums.simulated_seconds,
        marks: sums.coverage().into_iter().map(|(mark, hits)| (mark.text().into(), hits)).collect(),
        is_interrupted: is_interrupted && failed.is_none(),
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_range_and_do_not_overlap() {
        for (seeds, count) in [(10, 3), (2, 5), (1000, 7), (u64::MAX, 11)] {
            let mut next = 5;
            for index in 0..count {
                let (from, part) = Shard { index, count }.of(5, seeds);
                assert_eq!(from, next, "{seeds} {count}");
                next = from.saturating_add(part);
            }
            assert_eq!(next, 5_u64.saturating_add(seeds));
        }
    }

    #[test]
    fn a_part_is_numbered_from_zero() {
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, count: 4 }));
        for wrong in ["4/4", "0/0", "1", "a/b", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
