//! `seaworthy replay`: runs a plan and tells the story.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, page, say, usage};
use crate::challenge::Challenges;
use crate::explore::Space;
use crate::explore::plan::Plan;
use crate::explore::story::Story;

/// Runs a plan that `explore` wrote (or you did), and tells its story in order: operations, faults,
/// and the messages that matter.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The plan
    plan: PathBuf,
    /// Where the page about the run goes [default: X.report.html beside X.plan.edn]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Writes no page
    #[arg(long, conflicts_with = "report")]
    no_report: bool,
}

/// Runs the command.
pub fn run(args: &ReplayArgs, challenges: &Challenges) -> Exit {
    let path = args.plan.display();
    let text = match fs::read_to_string(&args.plan) {
        Ok(text) => text,
        Err(e) => return usage(&format!("{path}: {e}")),
    };
    let page = args.report.clone().unwrap_or_else(|| page::beside(&args.plan));
    let story = Plan::from_text(&text, challenges).and_then(|plan| {
        let space = Space::of(challenges.find(&plan.run.workload)?);
        let story = Story::of(&plan, &space)?;
        let written = match args.no_report {
            true => Ok(()),
            false => page::write_plan(&plan, &space, page::replay_of(&args.plan), &page),
        };
        Ok((story, plan, written))
    });
    let (story, plan, written) = match story {
        Ok(told) => told,
        Err(message) => return usage(&format!("{path}: {message}")),
    };
    match plan.too_late() {
        Ok(late) => late.into_iter().for_each(say),
        Err(message) => return usage(&format!("{path}: {message}")),
    }
    say(&story);
    if let Some(symptom) = &plan.symptom
        && !symptom.is_shown_by(story.trial.symptom.as_ref())
    {
        let kinds: Vec<&str> = symptom.kinds.iter().map(String::as_str).collect();
        say(format_args!("This is not how it failed when the plan was written: {kinds:?}"));
    }
    match written {
        Ok(()) if args.no_report => {}
        Ok(()) => say(format_args!("\nThe run as a page: {}", page.display())),
        // The story is told, and the verdict stands.
        Err(e) => say(format_args!("\nThe page could not be written: {e}")),
    }
    Exit::of(&story.trial)
}
