//! The material of a page.

use super::traffic::Traffic;
use crate::check::Outcome;
use crate::config::{RunConfig, command};
use crate::edn::Edn;
use crate::history::Op;
use crate::run::Ran;
use crate::world::Report;

/// All that a page tells.
pub struct Material<'a> {
    /// The workload of the clients.
    pub workload: &'a str,
    /// Names and values that describe the run.
    pub facts: Vec<(&'static str, String)>,
    /// The command that makes the run again.
    pub reproduce: Option<String>,
    /// The names of the nodes.
    pub nodes: Vec<String>,
    /// Client workers, from which it follows which node a process asks; 0 if that is unknown.
    pub concurrency: usize,
    /// The history as the clients saw it.
    pub history: &'a [Op],
    /// The verdict and the findings of the checkers.
    pub outcome: &'a Outcome,
    /// The model of the object that must be linearizable, if one must, and its initial value.
    pub model: (&'a str, &'a Edn),
    /// The messages; none of a history alone.
    pub traffic: Traffic<'a>,
    /// When the operations began on the world's clock, in nanoseconds.
    pub origin: i64,
    /// Names of logs and their last lines.
    pub logs: Vec<(String, String)>,
    /// The rare events that came up.
    pub marks: Vec<String>,
}

impl<'a> Material<'a> {
    /// A history alone.
    pub fn of_history(workload: &'a str, history: &'a [Op], outcome: &'a Outcome) -> Material<'a> {
        Material {
            workload,
            facts: Vec::new(),
            reproduce: None,
            nodes: Vec::new(),
            concurrency: 0,
            history,
            outcome,
            model: ("cas-register", &Edn::Nil),
            traffic: Traffic::default(),
            origin: 0,
            logs: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// A run.
    pub fn of_run(ran: &'a Ran<'_>, outcome: &'a Outcome) -> Material<'a> {
        let (config, report) = (ran.config, &ran.report);
        let marks = seaworthy::coverage::Mark::ALL.into_iter().filter(|mark| ran.marks.has(*mark));
        Material {
            facts: facts(config, report),
            reproduce: Some(command(&config.flags_of_run())),
            nodes: config.nodes.iter().map(|node| node.as_str().to_owned()).collect(),
            concurrency: config.concurrency,
            origin: i64::try_from(report.origin.as_nanos()).unwrap_or(i64::MAX),
            marks: marks.map(|mark| mark.text().to_owned()).collect(),
            ..Material::of_history(&config.args.workload, &report.history, outcome)
        }
    }
}

fn facts(config: &RunConfig, report: &Report) -> Vec<(&'static str, String)> {
    let nemesis: Vec<String> =
        config.args.nemesis.iter().map(|fault| format!("{fault:?}").to_lowercase()).collect();
    vec![
        ("workload", config.args.workload.clone()),
        ("nodes", config.nodes.len().to_string()),
        ("workers", config.concurrency.to_string()),
        ("rate", format!("{}/s", config.args.rate)),
        ("time limit", format!("{} s", (config.time_limit.as_secs_f64() * 1e3).round() / 1e3)),
        ("duration", format!("{:.1} s", report.duration.as_nanos() as f64 / 1e9)),
        ("latency", format!("{} ms", config.args.latency)),
        ("nemesis", if nemesis.is_empty() { "none".into() } else { nemesis.join(", ") }),
        ("acts", report.acts.to_string()),
        ("seed", config.seed.0.to_string()),
        ("seaworthy", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}
