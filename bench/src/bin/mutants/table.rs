//! The table, on the terminal and as a page of the documentation.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use seaworthy::planted::Mutant;

use seaworthy_bench::check::Class;

use crate::hunt::{Catch, Detector, Method};
use crate::smallest::Smallest;

/// The catches of one mutant.
pub(crate) struct Row {
    pub(crate) mutant: Mutant,
    pub(crate) black: Option<Catch>,
    pub(crate) white: Option<Catch>,
}

/// The runs and the alarms of the same spaces without a mutant.
pub(crate) struct Healthy {
    pub(crate) seeds: u64,
    pub(crate) simulated_s: f64,
    pub(crate) alarms: Vec<Alarm>,
}

/// A failure without a mutant.
pub(crate) struct Alarm {
    pub(crate) seed: u64,
    /// In whose space it happened.
    pub(crate) mutant: Mutant,
    pub(crate) detector: Detector,
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
        let alarms: Vec<String> = self.alarms.iter().map(Alarm::tell).collect();
        let alarms = if alarms.is_empty() { "no alarm".to_owned() } else { alarms.join("; ") };
        format!(
            "| - | healthy | {alarms} | {seeds} | {seconds:.0} | {alarms} | {seeds} | {seconds:.0} |"
        )
    }
}

impl Alarm {
    fn tell(&self) -> String {
        let Alarm { seed, mutant, detector } = self;
        format!("seed {seed} in the space of {mutant:?}: {}", detector.tell())
    }
}

impl Detector {
    /// In a few words that fit into a cell.
    fn tell(&self) -> String {
        let (kind, why) = match self {
            Detector::Checker(why) => ("checker", why),
            Detector::Progress(why) => ("progress", why),
            Detector::Invariant(why) => ("invariant", why),
            Detector::Stop(why) => ("node stopped", why),
        };
        let why: String = why.chars().take(90).map(|c| if c == '|' { '/' } else { c }).collect();
        format!("{kind}: {}", why.replace('\n', " "))
    }
}

fn cells(catch: Option<&Catch>) -> String {
    let Some(Catch { detector, seeds, simulated_s, .. }) = catch else {
        return "missed | | ".to_owned();
    };
    format!("{} | {seeds} | {simulated_s:.0}", detector.tell())
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Everything that a page of the documentation has.
#[derive(Default)]
pub(crate) struct Page {
    /// After how many a mutant counts as missed.
    pub(crate) seeds: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) smallest: Vec<Smallest>,
    pub(crate) healthy: Option<Healthy>,
}

impl Page {
    /// Writes the page.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut page = include_str!("page.md").to_owned();
        let black = self.rows.iter().filter(|row| row.black.is_some()).count();
        let white = self.rows.iter().filter(|row| row.white.is_some()).count();
        let all = self.rows.len();
        let seeds = self.seeds;
        let _ = writeln!(
            page,
            "Found within {seeds} seeds: {black} of {all} black-box, {white} white-box.\n"
        );
        page.push_str("| # | mutant | black-box: found by | seeds | simulated s ");
        page.push_str("| white-box: found by | seeds | simulated s |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
        let rows = self.rows.iter().map(Row::line);
        for line in rows.chain(self.healthy.iter().map(Healthy::line)) {
            let _ = writeln!(page, "{line}");
        }
        if !self.smallest.is_empty() {
            page.push_str(include_str!("smallest.md"));
            page.push_str("| # | mutant | seen from | nodes | operations | faults ");
            page.push_str("| besides | fails again |\n");
            page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
        }
        for smallest in &self.smallest {
            let _ = writeln!(page, "{}", smallest.line());
        }
        std::fs::write(path, page)
    }
}

impl Smallest {
    /// The row in one line.
    pub(crate) fn line(&self) -> String {
        let Smallest { mutant, nodes, operations, faults, weather, .. } = self;
        let seen = if self.method == Method::BlackBox { "outside" } else { "inside" };
        let fails = self.fails.map_or("no", Class::name);
        let number = mutant.number();
        format!(
            "| {number} | {mutant:?} | {seen} | {nodes} | {operations} | {faults} | {weather} | {fails} |"
        )
    }
}
