//! Real nodes of the gossip engine on the directories of two clusters: they refuse each other,
//! each with both names and both identities, and neither's elements reach the other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The output of a node.
enum Printed {
    Message(Value),
    Complaint(String),
}

/// Two nodes and the network between them.
struct Cluster {
    nodes: Vec<(Child, ChildStdin)>,
    printed: Receiver<Printed>,
    complaints: Vec<String>,
    asked: u64,
}

impl Cluster {
    /// Node n0 on the first directory and n1 on the second.
    fn start(directories: [&Path; 2]) -> Cluster {
        let (sender, printed) = channel();
        let nodes = directories.into_iter().map(|directory| launch(directory, &sender)).collect();
        let mut cluster = Cluster { nodes, printed, complaints: Vec::new(), asked: 0 };
        for (node, name) in ["n0", "n1"].into_iter().enumerate() {
            let init = json!({"type": "init", "node_id": name, "node_ids": ["n0", "n1"]});
            assert_eq!(cluster.ask(node, init)["type"], "init_ok");
        }
        cluster
    }

    /// The answer of a node; messages between nodes are passed on meanwhile.
    fn ask(&mut self, node: usize, mut body: Value) -> Value {
        self.asked += 1;
        body["msg_id"] = json!(self.asked);
        self.send(node, &json!({"src": "c1", "dest": format!("n{node}"), "body": body}));
        loop {
            match self.pass_on() {
                Some(reply) if reply["in_reply_to"] == json!(self.asked) => return reply,
                _ => {}
            }
        }
    }

    /// Waits for a line, and passes it on if it is for a node; else it is a reply's body.
    fn pass_on(&mut self) -> Option<Value> {
        let printed = self.printed.recv_timeout(PATIENCE);
        match printed.unwrap_or_else(|_| panic!("silence; complaints: {:?}", self.complaints)) {
            Printed::Complaint(line) => self.complaints.push(line),
            Printed::Message(message) => match message["dest"].as_str().unwrap() {
                "n0" => self.send(0, &message),
                "n1" => self.send(1, &message),
                _ => return Some(message["body"].clone()),
            },
        }
        None
    }

    fn send(&mut self, node: usize, message: &Value) {
        writeln!(self.nodes[node].1, "{message}").unwrap();
    }

    fn add(&mut self, node: usize, element: u64) {
        let reply = self.ask(node, json!({"type": "add", "element": element}));
        assert_eq!(reply["type"], "add_ok");
    }

    fn read(&mut self, node: usize) -> BTreeSet<u64> {
        let reply = self.ask(node, json!({"type": "read"}));
        reply["value"].as_array().unwrap().iter().filter_map(Value::as_u64).collect()
    }

    /// Adds an element at each node and waits until the other one has it.
    fn exchange(&mut self, elements: [u64; 2]) {
        for (node, element) in elements.into_iter().enumerate() {
            self.add(node, element);
            while !self.read(1 - node).contains(&element) {}
        }
    }

    /// Whether `node` has refused `other` by name, with two different identities.
    fn has_refused(&self, node: usize, other: usize) -> bool {
        self.complaints.iter().any(|line| {
            let identity = |before: &str| {
                let (_, rest) = line.split_once(before)?;
                Some(rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>())
            };
            let own = identity(&format!("n{node} is of cluster "));
            let theirs = identity(&format!("n{other} of cluster "));
            own.zip(theirs).is_some_and(|(own, theirs)| own.len() == 8 && own != theirs)
        })
    }

    /// Ends both nodes with their input, so that everything is flushed.
    fn stop(self) {
        for (mut child, stdin) in self.nodes {
            drop(stdin);
            assert!(child.wait().unwrap().success());
        }
    }
}

fn launch(directory: &Path, printed: &Sender<Printed>) -> (Child, ChildStdin) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy-node"))
        .args(["g-set", "--data-dir"])
        .arg(directory)
        .env_remove("SEAWORTHY_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let message = |line: String| Printed::Message(serde_json::from_str(&line).unwrap());
    listen(child.stdout.take().unwrap(), printed.clone(), message);
    listen(child.stderr.take().unwrap(), printed.clone(), Printed::Complaint);
    (child, stdin)
}

fn listen(
    pipe: impl Read + Send + 'static,
    printed: Sender<Printed>,
    kind: impl Fn(String) -> Printed + Send + 'static,
) {
    #[allow(clippy::disallowed_methods, reason = "a pipe blocks")]
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if printed.send(kind(line)).is_err() {
                return;
            }
        }
    });
}

#[test]
fn directories_of_two_clusters_are_not_mixed() {
    let directories: Vec<TempDir> = (0..4).map(|_| TempDir::new().unwrap()).collect();
    let [a0, a1, b0, b1] = [0, 1, 2, 3].map(|place: usize| directories[place].path());
    for ([first, second], base) in [([a0, a1], 100), ([b0, b1], 200)] {
        let mut cluster = Cluster::start([first, second]);
        // Enough for each node to hear that all have the identity.
        for round in 0..3 {
            cluster.exchange([base + 2 * round, base + 2 * round + 1]);
        }
        assert_eq!(cluster.complaints, [""; 0]);
        cluster.stop();
    }

    let mut mixed = Cluster::start([a0, b1]);
    mixed.add(0, 300);
    mixed.add(1, 400);
    while !(mixed.has_refused(0, 1) && mixed.has_refused(1, 0)) {
        mixed.pass_on();
    }
    assert_eq!(mixed.read(0), (100..106).chain([300]).collect());
    assert_eq!(mixed.read(1), (200..206).chain([400]).collect());
    mixed.stop();

    // Each cluster is whole again once its nodes have their own directories.
    let mut whole = Cluster::start([a0, a1]);
    whole.exchange([106, 107]);
    assert_eq!(whole.complaints, [""; 0]);
    assert_eq!(whole.read(1), (100..108).chain([300]).collect());
    whole.stop();
}
