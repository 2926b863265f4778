//! `seaworthy replay`: runs a plan and tells the story.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, say, usage};
use crate::challenge::Challenges;
use crate::explore::Space;
use crate::explore::plan::Plan;
use crate::explore::story::Story;

/// Runs a plan that `explore` wrote (or you did), and tells what happens in order:
/// operations, faults, and the messages that matter.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The plan
    plan: PathBuf,
}

/// Runs the command.
pub fn run(args: &ReplayArgs, challenges: &Challenges) -> Exit {
    let path = args.plan.display();
    let text = match fs::read_to_string(&args.plan) {
        Ok(text) => text,
        Err(e) => return usage(&format!("{path}: {e}")),
    };
    let story = Plan::from_text(&text, challenges).and_then(|plan| {
        let space = Space::of(challenges.find(&plan.run.workload)?);
        Ok((Story::of(&plan, &space)?, plan))
    });
    let (story, plan) = match story {
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
    Exit::of(&story.trial)
}
