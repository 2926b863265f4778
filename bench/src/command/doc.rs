//! `seaworthy doc`: the requests to the nodes of each workload, and their answers.

use clap::Args;

use super::{Exit, say, usage};
use crate::challenge::{Challenge, Challenges};

/// Prints the protocol that a node speaks: of one workload, or all of it.
#[derive(Clone, Debug, Args)]
pub struct DocArgs {
    /// A workload, or protocol, services or errors; by default everything
    topic: Option<String>,
}

const TEXT: &str = include_str!("doc.md");

/// Runs the command.
pub fn run(args: &DocArgs, challenges: &Challenges) -> Exit {
    let Some(topic) = &args.topic else {
        say(TEXT.trim_end());
        return Exit::Verdict(crate::check::Verdict::Valid);
    };
    let own = challenges.iter().find(|challenge| challenge.name() == topic);
    match own.and_then(Challenge::doc).map(str::to_owned).or_else(|| section(topic)) {
        Some(text) => {
            say(text);
            Exit::Verdict(crate::check::Verdict::Valid)
        }
        None => {
            let own = challenges.iter().filter(|challenge| challenge.doc().is_some());
            let topics: Vec<&str> = topics().into_iter().chain(own.map(Challenge::name)).collect();
            usage(&format!("nothing is said about {topic}; topics are {}", topics.join(", ")))
        }
    }
}

fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let parts = TEXT.split("\n## ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(name, text)| (name.trim(), text.trim()))
}

fn topics() -> Vec<&'static str> {
    sections().map(|(name, _)| name).collect()
}

fn section(topic: &str) -> Option<String> {
    let (name, text) = sections().find(|(name, _)| *name == topic)?;
    Some(format!("## {name}\n\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_section() {
        for workload in Challenges::builtin().names() {
            assert!(section(workload).is_some_and(|text| text.contains("```")), "{workload}");
        }
        assert!(section("juggling").is_none());
    }
}
