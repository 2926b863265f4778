//! Golden scripts: one behaviour a file, named after it.
//!
//! A script is commands and, below `---`, every message that was sent: when, by whom,
//! its number, the number it echoes, the deltas it carries by author, and how it is
//! meant. A hop takes 100 ms. To accept new output, run the test with `REWRITE=1`;
//! commit the difference only if you understand it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use super::net::Net;
use crate::gossip::{Element, GrowSet, Options, Rank};
use crate::testing::Weather;

#[derive(goldenscript::Command)]
enum Command {
    /// Starts a cluster and lets every node find the hub.
    Cluster {
        nodes: u16,
        #[arg(key, optional)]
        budget: Option<u64>,
    },
    /// Adds elements at a node.
    Add(u16, Vec<i64>),
    /// Lets milliseconds pass.
    Run(u64),
    /// Cuts two nodes off from each other.
    Cut(u16, u16),
    /// Cuts the link from the first to the second.
    CutOneWay(u16, u16),
    /// Ends all cuts.
    Heal,
    /// Loses all messages on their way.
    Lose,
    /// Delivers all messages on their way at once, the latest first.
    Reverse,
    /// Doubles every message from now on.
    Repeat,
    /// Kills a node; it forgets everything if so said.
    Kill {
        node: u16,
        #[arg(key, optional)]
        forget: Option<bool>,
    },
    /// Starts a killed node.
    Boot(u16),
    /// Shows the state of each node, and whether anything is still to come.
    Status,
}

#[derive(Default)]
struct Script {
    net: Option<Net<GrowSet>>,
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        if let Command::Cluster { nodes, budget } = command {
            let mut config = Options::default();
            if let Some(budget) = budget {
                config.latency_budget = Duration::from_millis(*budget);
            }
            self.net = Some(Net::new(*nodes, config, Weather::fair(100), 1));
        }
        let net = self.net.as_mut().ok_or("there is no cluster yet")?;
        perform(net, command);
        let mut output = std::mem::take(&mut net.trace);
        if let Command::Status = command {
            output += &status(net);
        }
        Ok(output)
    }
}

fn perform(net: &mut Net<GrowSet>, command: &Command) {
    match *command {
        Command::Cluster { .. } => net.run_for(1000),
        Command::Add(node, ref elements) => {
            elements.iter().for_each(|e| net.add(Rank(node), GrowSet::of(Element::Int(*e))));
        }
        Command::Run(millis) => net.run_for(millis),
        Command::Cut(a, b) => net.cut(&[Rank(a)], &[Rank(b)]),
        Command::CutOneWay(a, b) => net.network.cut(Rank(a), Rank(b)),
        Command::Heal => net.network.mend_all(),
        Command::Lose => net.network.lose(|_| true),
        Command::Reverse => net.network.reverse(net.now),
        Command::Repeat => net.network.weather.repeat_percent = 100,
        Command::Kill { node, forget } => net.kill(Rank(node), forget != Some(true)),
        Command::Boot(node) => net.boot(Rank(node)),
        Command::Status => {}
    }
}

fn status(net: &Net<GrowSet>) -> String {
    let mut text = String::new();
    for rank in net.ranks() {
        text += &match &net.nodes[rank.index()].engine {
            None => format!("{rank} is dead\n"),
            Some(engine) => {
                let elements: Vec<i64> = engine.state().ints().collect();
                format!("{rank} hub={} {elements:?}\n", engine.hub())
            }
        };
    }
    let coming = net.next().map_or("silent".to_owned(), |at| format!("next at {at}"));
    text + &coming + "\n"
}

#[test]
fn scripts() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/gossip/tests/scripts");
    #[allow(clippy::disallowed_methods, reason = "how one asks a test to accept its output")]
    let rewrite = std::env::var("REWRITE").is_ok();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 15, "scripts are missing");
    let mut changed = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let output = goldenscript::generate(&mut Script::default(), &script)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if rewrite {
            std::fs::write(&path, output).unwrap();
        } else if output != script {
            changed.push(path.display().to_string());
        }
    }
    assert!(changed.is_empty(), "run with REWRITE=1 to accept:\n{}", changed.join("\n"));
}
