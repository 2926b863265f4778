//! `seaworthy merge`: adds up the results of an exploration's shards.
//!
//! Each shard was `seaworthy explore --shard K/N --json`, on a machine of its own. A shard that
//! is missing, or that is there twice, is no detail: the sum would claim seeds that never ran.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Exit, print_json, say, usage};
use crate::check::Verdict;

/// Adds up the JSON of explorations: runs, operations, marks, and the lowest seed that failed.
///
/// Exit status: 0 all valid; 1 a seed failed; 2 a checker could not tell, an exploration was
/// interrupted, or seeds between those of two files are in none; 254 a file is not such a JSON, or seeds
/// are in two files.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Print the sums as JSON
    #[arg(long)]
    json: bool,
    /// Output of `seaworthy explore --json`, one or more lines a file
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// The result of an exploration, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explored {
    /// The workload of the clients.
    pub workload: String,
    /// The first seed.
    pub from: u64,
    /// How many seeds were to be explored.
    pub seeds: u64,
    /// Runs that were made.
    pub runs: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Acts of the nemesis.
    pub acts: u64,
    /// Time on the worlds' clocks.
    pub simulated_seconds: f64,
    /// In how many runs each rare event came up.
    pub marks: BTreeMap<String, u64>,
    /// Whether it ended before all seeds had run, without a failure.
    pub is_interrupted: bool,
    /// The lowest seed that failed.
    pub failed: Option<FailedSeed>,
}

/// A seed that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedSeed {
    /// The seed.
    pub seed: u64,
    /// `invalid` or `unknown`.
    pub verdict: String,
    /// Why, in a few words.
    pub why: String,
    /// The command that makes the run again.
    pub command: String,
}

impl Explored {
    /// Adds another part of the same exploration, which begins later.
    fn add(&mut self, other: Explored) {
        self.seeds = (other.from - self.from).saturating_add(other.seeds);
        self.runs += other.runs;
        self.operations += other.operations;
        self.succeeded += other.succeeded;
        self.acts += other.acts;
        self.simulated_seconds += other.simulated_seconds;
        self.is_interrupted |= other.is_interrupted;
        for (mark, hits) in other.marks {
            *self.marks.entry(mark).or_default() += hits;
        }
        if self.failed.is_none() {
            self.failed = other.failed;
        }
    }
}

/// Runs the command.
pub fn run(args: &MergeArgs) -> Exit {
    let sums = read(&args.files).and_then(merge);
    let (sums, gaps) = match sums {
        Ok(sums) => sums,
        Err(message) => return usage(&message),
    };
    for sum in &sums {
        tell(sum, args.json);
    }
    if !args.json {
        gaps.iter().for_each(say);
    }
    let failed = sums.iter().filter_map(|sum| sum.failed.as_ref());
    let verdicts = failed.map(|failed| match failed.verdict.as_str() {
        "invalid" => Verdict::Invalid,
        _ => Verdict::Unknown,
    });
    let is_whole =
        gaps.is_empty() && sums.iter().all(|sum| !sum.is_interrupted && sum.succeeded > 0);
    let least = if is_whole { Verdict::Valid } else { Verdict::Unknown };
    Exit::Verdict(verdicts.max().unwrap_or(least).max(least))
}

fn read(files: &[PathBuf]) -> Result<Vec<Explored>, String> {
    let mut all = Vec::new();
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
        let before = all.len();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            all.push(serde_json::from_str(line).map_err(|e| format!("{name}: {e}"))?);
        }
        if all.len() == before {
            return Err(format!("{name}: nothing is in it"));
        }
    }
    Ok(all)
}

/// The sums by workload, and a sentence for each range of seeds that no shard has.
///
/// # Errors
/// If seeds are in two shards.
fn merge(mut shards: Vec<Explored>) -> Result<(Vec<Explored>, Vec<String>), String> {
    shards.sort_by(|a, b| (&a.workload, a.from).cmp(&(&b.workload, b.from)));
    let (mut sums, mut gaps): (Vec<Explored>, Vec<String>) = (Vec::new(), Vec::new());
    for shard in shards {
        let Some(sum) = sums.last_mut().filter(|sum| sum.workload == shard.workload) else {
            sums.push(shard);
            continue;
        };
        let next = sum.from.saturating_add(sum.seeds);
        let workload = &shard.workload;
        if shard.from < next && shard.seeds > 0 {
            return Err(format!("{workload}: seed {} is in two files", shard.from));
        }
        if shard.from > next {
            let last = shard.from - 1;
            gaps.push(format!("{workload}: the seeds {next} to {last} are in no file"));
        }
        sum.add(shard);
    }
    Ok((sums, gaps))
}

fn tell(sum: &Explored, is_json: bool) {
    if is_json {
        return print_json(&serde_json::to_value(sum).expect("it has no key that is no text"));
    }
    let Explored { workload, runs, operations, acts, simulated_seconds, .. } = sum;
    say(format_args!(
        "{workload}: {runs} runs, {operations} operations, {acts} acts of the nemesis, \
         {simulated_seconds:.0} simulated seconds"
    ));
    for (mark, hits) in &sum.marks {
        say(format_args!("  {mark:<46} in {hits} of {runs} runs"));
    }
    match &sum.failed {
        None if sum.is_interrupted => say("  interrupted; all valid so far"),
        None => say("  all valid"),
        Some(failed) => {
            say(format_args!("  seed {}: {}: {}", failed.seed, failed.verdict, failed.why));
            say(format_args!("  {}", failed.command));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(from: u64, seeds: u64, failed: Option<u64>) -> Explored {
        let failed = failed.map(|seed| FailedSeed {
            seed,
            verdict: "invalid".into(),
            why: "lost".into(),
            command: "seaworthy test".into(),
        });
        Explored {
            workload: "echo".into(),
            from,
            seeds,
            runs: seeds,
            operations: 10 * seeds,
            succeeded: 9 * seeds,
            acts: seeds,
            simulated_seconds: 2.0,
            marks: BTreeMap::from([("election".to_owned(), seeds)]),
            is_interrupted: false,
            failed,
        }
    }

    #[test]
    fn shards_add_up_in_any_order() {
        let shards = vec![shard(20, 10, Some(25)), shard(0, 10, None), shard(10, 10, Some(12))];
        let (sums, gaps) = merge(shards).unwrap();
        assert_eq!(gaps, Vec::<String>::new());
        let [sum] = &sums[..] else { panic!("{sums:?}") };
        assert_eq!((sum.from, sum.seeds, sum.runs, sum.operations), (0, 30, 30, 300));
        assert_eq!(sum.marks["election"], 30);
        assert_eq!(sum.failed.as_ref().map(|failed| failed.seed), Some(12));
    }

    #[test]
    fn a_shard_that_is_missing_or_there_twice_is_seen() {
        let (_, gaps) = merge(vec![shard(0, 10, None), shard(20, 10, None)]).unwrap();
        assert_eq!(gaps, ["echo: the seeds 10 to 19 are in no file"]);
        let twice = merge(vec![shard(0, 10, None), shard(9, 10, None)]);
        assert_eq!(twice.unwrap_err(), "echo: seed 9 is in two files");
    }
}
