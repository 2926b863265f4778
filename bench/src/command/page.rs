//! Pages about runs, where commands leave them.

use std::fs::{self, File};
use std::io::{self, Read};
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

/// Bytes of a journal that are read: a run of a million messages has 400 MB at most. The rest is
/// not in the page, and stays in the file.
const JOURNAL_BYTES: u64 = 1 << 30;

/// The name that Maelstrom gives to the operations by process.
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

/// Writes the page of a run, and its `card`, into its directory. `subject` names its nodes,
/// if they are processes.
///
/// # Errors
/// If the journal cannot be read, or the page not written.
pub(super) fn write(
    dir: &RunDir,
    ran: &Ran<'_>,
    outcome: &Outcome,
    card: &Card,
    subject: Subject,
) -> io::Result<()> {
    let mut journal = Vec::new();
    let file = File::open(dir.path().join("messages.jsonl"))?;
    file.take(JOURNAL_BYTES).read_to_end(&mut journal)?;
    let mut material = Material::of_run(ran, outcome);
    material.traffic = Traffic::read(&journal);
    material.reproduce = Some(card.command.clone());
    material.logs = report::last_lines(&dir.node_logs());
    let fact = |(flag, value)| (if flag == "bin" { "binary" } else { flag }, value);
    material.facts.extend(subject.map(fact));
    fs::write(dir.path().join(report::FILE), report::html(&material))?;
    // Where those look who know Maelstrom's directories.
    let svg = report::message_diagram(&material.traffic, material.origin, material.history);
    fs::write(dir.path().join("messages.svg"), standalone(&svg))?;
    fs::write(dir.path().join("timeline.html"), TIMELINE)?;
    let mut card = card.to_json();
    // Nothing in a store depends on where it is.
    card.as_object_mut().and_then(|card| card.remove("store"));
    fs::write(dir.path().join(report::CARD), format!("{card}\n"))
}

/// Where the page of a plan goes: `X.plan.edn` has `X.report.html`.
pub(super) fn beside(plan: &Path) -> PathBuf {
    let name = plan.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".edn").unwrap_or(&name);
    let stem = stem.strip_suffix(".plan").unwrap_or(stem);
    plan.with_file_name(format!("{stem}.report.html"))
}

/// Runs a plan and writes its page to `to`. `plan_file` is the plan's own name.
///
/// # Errors
/// A sentence about the flag that makes no sense, or the file that cannot be written.
pub fn write_plan(
    plan: &Plan,
    space: &Space<'_>,
    plan_file: &Path,
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
    let name = plan_file.display().to_string();
    material.reproduce = Some(format!("seaworthy replay {}", quote(&name)));
    fs::write(to, report::html(&material)).map_err(|e| format!("{}: {e}", to.display()))
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
