//! The table, on the terminal and as a page of the documentation.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use seaworthy::mutant::Mutant;

use crate::hunt::{Catch, Detector};

/// What became of one mutant.
pub(crate) struct Row {
    pub(crate) mutant: Mutant,
    pub(crate) black: Option<Catch>,
    pub(crate) white: Option<Catch>,
}

/// What the same spaces came to without a mutant.
pub(crate) struct Healthy {
    pub(crate) seeds: u64,
    pub(crate) simulated_s: f64,
    pub(crate) alarm: Option<(u64, Mutant, Detector)>,
}

impl Row {
    /// The seeds of the longer of its hunts.
    pub(crate) fn most_seeds(&self) -> u64 {
        [&self.black, &self.white].into_iter().flatten().map(|c| c.seeds).max().unwrap_or(0)
    }

    /// The row in one line.
    pub(crate) fn line(&self) -> String {
        let (number, mutant) = (self.mutant.number(), self.mutant);
        let [black, white] = [&self.black, &self.white].map(|c| cells(c.as_ref()));
        format!("| {number} | {mutant:?} | {black} | {white} |")
    }
}

impl Healthy {
    /// The row in one line.
    pub(crate) fn line(&self) -> String {
        let (seeds, seconds) = (self.seeds, self.simulated_s);
        let alarm = match &self.alarm {
            None => "none".to_owned(),
            Some((seed, mutant, why)) => format!("seed {seed} of {mutant:?}'s space: {why:?}"),
        };
        format!(
            "| - | healthy: alarms: {alarm} | | {seeds} | {seconds:.0} | | {seeds} | {seconds:.0} |"
        )
    }
}

fn cells(catch: Option<&Catch>) -> String {
    let Some(Catch { detector, seeds, simulated_s }) = catch else {
        return "missed | | ".to_owned();
    };
    let (kind, why) = match detector {
        Detector::Checker(why) => ("checker", why),
        Detector::Progress(why) => ("progress", why),
        Detector::Invariant(why) => ("invariant", why),
        Detector::Stop(why) => ("node stopped", why),
    };
    let why: String = why.chars().take(90).map(|c| if c == '|' { '/' } else { c }).collect();
    format!("{kind}: {} | {seeds} | {simulated_s:.0}", why.replace('\n', " "))
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes the page.
pub(crate) fn write(path: &Path, rows: &[Row], healthy: &Healthy) -> io::Result<()> {
    let mut page = include_str!("page.md").to_owned();
    page.push_str("| # | mutant | black-box: found by | seeds | simulated s ");
    page.push_str("| white-box: found by | seeds | simulated s |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for row in rows {
        let _ = writeln!(page, "{}", row.line());
    }
    let _ = writeln!(page, "{}", healthy.line());
    std::fs::write(path, page)
}
