//! `seaworthy analyze`: judges a stored run once more.
//!
//! Messages and faults of nodes, which the history alone does not hold, are taken from the results
//! that the run wrote.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::test::last_line;
use super::{Exit, say, usage};
use crate::challenge::{Challenges, Judge};
use crate::check::{CheckOptions, Outcome, results, txn};
use crate::config::{RunArgs, RunConfig};
use crate::edn::{self, Edn};
use crate::history::{self, Ending};
use crate::seed::Seed;
use crate::store::TEST_FILE;

/// Judges a stored run once more, as it was judged when it ran, with today's checkers, and
/// prints the result map; it writes nothing.
#[derive(Clone, Debug, Args)]
pub struct AnalyzeArgs {
    /// The run: its directory, or a number, from 0 for the oldest or -1 for the newest
    #[arg(short, long, default_value = "-1", allow_hyphen_values = true, value_name = "RUN")]
    test: String,
    /// Where runs are
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// Runs the command.
pub fn run(args: &AnalyzeArgs, challenges: &Challenges) -> Exit {
    match analyze(args, challenges) {
        Ok(outcome) => {
            say(format_args!("{}\n", results(&outcome).pretty()));
            if let Some(story) = &outcome.story {
                say(story);
            }
            say(last_line(outcome.verdict));
            Exit::Verdict(outcome.verdict)
        }
        Err(message) => usage(&message),
    }
}

fn analyze(args: &AnalyzeArgs, challenges: &Challenges) -> Result<Outcome, String> {
    let dir = locate(args)?;
    let (judge, options) = described(&dir, challenges)?;
    let history = judge.read(&dir).map_err(|e| e.to_string())?;
    say(format_args!("Analyzing {} of {}", dir.display(), judge.name));
    let mut outcome = judge.judge(&history, &options);
    if Ending::of(&dir) == Ending::Missing {
        outcome.add_ending(Ending::Missing);
    }
    let Ok(text) = fs::read_to_string(dir.join("results.edn")) else { return Ok(outcome) };
    let stored = edn::parse(&text).map_err(|e| format!("{}/results.edn: {e}", dir.display()))?;
    Ok(complete(outcome, &stored))
}

/// Judges the operations that the run in a directory has noted so far, from its log if it is going
/// on.
///
/// # Errors
/// If they cannot be read, or nothing tells the workload.
pub(super) fn so_far(dir: &Path, challenges: &Challenges) -> Result<Outcome, String> {
    let (judge, options) = described(dir, challenges)?;
    let history = judge.read(dir).map_err(|e| e.to_string())?;
    Ok(judge.judge(&history, &options))
}

/// Adds the findings that only the run itself could make.
fn complete(mut outcome: Outcome, stored: &Edn) -> Outcome {
    for (key, part) in stored.entries().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if name == "valid?" {
            continue;
        }
        let own = outcome.details.iter_mut().find(|(known, _)| known == key);
        match own {
            Some((_, own)) if name == "net" => *own = part.clone(),
            Some(_) => {}
            None => {
                outcome.add_stored(name, part);
            }
        }
    }
    outcome
}

/// The workload of a run and how it is judged. A run of Maelstrom does not say how; its
/// workload is the name of the directory that it lies in.
fn described<'c>(
    dir: &Path,
    challenges: &'c Challenges,
) -> Result<(Judge<'c>, CheckOptions), String> {
    let file = dir.join(TEST_FILE);
    let Ok(text) = fs::read_to_string(&file) else {
        let full = fs::canonicalize(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let parent = full.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        return match challenges.judge(&parent) {
            Some(judge) => Ok((judge, CheckOptions::default())),
            None => Err(format!(
                "{}: neither a {TEST_FILE} nor its place tells the workload; use seaworthy check -w WORKLOAD",
                dir.display()
            )),
        };
    };
    let wrong = |what: String| format!("{}: {what}", file.display());
    let test = edn::parse(&text).map_err(|e| wrong(e.to_string()))?;
    let flags = test.get("flags").and_then(Edn::as_seq).ok_or_else(|| wrong("no :flags".into()))?;
    let flags = flags.iter().filter_map(Edn::as_text);
    let run = RunArgs::from_flags(flags).map_err(|e| wrong(e.to_string()))?;
    let config = RunConfig::new(run, Seed(0)).map_err(wrong)?;
    let mut txn = txn::Options::default();
    txn.models.clone_from(&config.models);
    let options = CheckOptions {
        availability: config.args.availability.0,
        txn,
        untested_is_unknown: test.get("server?") == Some(&Edn::Bool(true)),
        // Of foreign binaries it is reported, and not demanded.
        commits_are_shared: test.get("binary?") != Some(&Edn::Bool(true)),
        ..CheckOptions::default()
    };
    let name = &config.args.workload;
    let judge = challenges.judge(name).ok_or_else(|| wrong(format!("no workload {name}")))?;
    Ok((judge, options))
}

fn locate(args: &AnalyzeArgs) -> Result<PathBuf, String> {
    let Ok(index) = args.test.parse::<i64>() else {
        return Ok(history::run_dir(Path::new(&args.test)));
    };
    let runs = runs_in(&args.store);
    let count = i64::try_from(runs.len()).unwrap_or(i64::MAX);
    let from_start = if index < 0 { count + index } else { index };
    let run = usize::try_from(from_start).ok().and_then(|at| runs.get(at));
    run.cloned().ok_or_else(|| {
        format!("{} holds {count} runs, and none is number {index}", args.store.display())
    })
}

/// The runs in a store, the oldest first: directories are named after the moment.
fn runs_in(store: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let own = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        own.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut runs: Vec<PathBuf> = below(store).iter().flat_map(|dir| below(dir)).collect();
    runs.retain(|run| history::holds_run(run));
    runs.sort_by(|a, b| a.file_name().cmp(&b.file_name()).then_with(|| a.cmp(b)));
    runs
}
