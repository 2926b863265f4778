//! Pages about runs, where commands leave them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::check::Outcome;
use crate::config::{RunConfig, command, quote};
use crate::explore::Space;
use crate::explore::plan::Plan;
use crate::explore::story::Pages;
use crate::judge::judge;
use crate::plot::standalone;
use crate::report::{self, Card, Material, Traffic};
use crate::run::Ran;
use crate::store::RunDir;
use crate::world::journal::Journal;
use crate::world::script::Course;

/// Leads from the name that Maelstrom gives to the operations by process to their place.
const TIMELINE: &str = "<!DOCTYPE html>\n<meta charset=\"utf-8\"><title>timeline</title>\n\
     <meta http-equiv=\"refresh\" content=\"0; url=report.html#operations\">\n\
     <a href=\"report.html#operations\">Operations by process</a>\n";

/// A flag that names the processes of a run, and its value.
type Subject = Option<(&'static str, String)>;

/// The command that makes a run again. With processes the real clock takes its part: the
/// same command is not the same run.
pub(super) fn command_of(config: &RunConfig, subject: Subject) -> String {
    let command = command(&config.flags_of_run());
    let Some((flag, value)) = subject else { return command };
    let with_subject = format!("seaworthy test --{flag} {}", quote(&value));
    command.replacen("seaworthy test", &with_subject, 1)
}

/// The page of a run before it is written, so that another thread can write it.
pub(super) struct Page<'a> {
    dir: &'a RunDir,
    material: Material<'a>,
    card: &'a Card,
}

impl<'a> Page<'a> {
    /// Collects the material of a page. `traffic` are the run's messages, and `subject` names
    /// its nodes, if they are processes.
    pub(super) fn of(
        dir: &'a RunDir,
        ran: &'a Ran<'_>,
        traffic: Traffic<'a>,
        outcome: &'a Outcome,
        card: &'a Card,
        subject: Subject,
    ) -> Page<'a> {
        let mut material = Material::of_run(ran, outcome);
        material.traffic = traffic;
        material.reproduce = Some(card.command.clone());
        material.logs = report::last_lines(&dir.node_logs());
        let fact = |(flag, value)| (if flag == "bin" { "binary" } else { flag }, value);
        material.facts.extend(subject.map(fact));
        Page { dir, material, card }
    }

    /// Writes the page, and the card, into the run's directory.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(super) fn write(mut self) -> io::Result<()> {
        let dir = self.dir.path();
        // Where those look who know Maelstrom's directories.
        let Material { traffic, origin, history, .. } = &mut self.material;
        let svg = report::message_diagram(traffic, *origin, &(*origin..=i64::MAX), history);
        fs::write(dir.join("messages.svg"), standalone(&svg))?;
        fs::write(dir.join(report::TIMELINE), TIMELINE)?;
        fs::write(dir.join(report::FILE), report::html(&mut self.material))?;
        let mut card = self.card.to_json();
        // Nothing in a store depends on where it is.
        card.as_object_mut().and_then(|card| card.remove("store"));
        fs::write(dir.join(report::CARD), format!("{card}\n"))
    }
}

/// Where the page of a plan goes: `X.plan.edn` has `X.report.html`.
pub(super) fn beside(plan: &Path) -> PathBuf {
    let name = plan.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".edn").unwrap_or(&name);
    let stem = stem.strip_suffix(".plan").unwrap_or(stem);
    plan.with_file_name(format!("{stem}.report.html"))
}

/// The command that replays a plan.
pub fn replay_of(plan: &Path) -> String {
    format!("seaworthy replay {}", quote(&plan.display().to_string()))
}

/// Runs a plan and writes its page to `to`. `command` makes the run again.
///
/// # Errors
/// A sentence about the flag that makes no sense, or the file that cannot be written.
pub fn write_plan(
    plan: &Plan,
    space: &Space<'_>,
    command: String,
    to: &Path,
) -> Result<(), String> {
    let config = plan.config()?;
    let pages = Pages::default();
    let journal = Journal::to(Box::new(pages.clone()));
    let course = Course::Scripted(plan.script.clone());
    let ran = space.run(&config)?.course(course).journal(journal).simulate()?;
    let outcome = judge(&ran).without("stats");
    let journal = pages.bytes();
    let mut material = Material::of_run(&ran, &outcome);
    material.traffic = Traffic::read(&journal);
    material.reproduce = Some(command);
    fs::write(to, report::html(&mut material)).map_err(|e| format!("{}: {e}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_plan_is_beside_it() {
        assert_eq!(beside(Path::new("a/echo-7.plan.edn")), Path::new("a/echo-7.report.html"));
        assert_eq!(beside(Path::new("story")), Path::new("story.report.html"));
    }
}
