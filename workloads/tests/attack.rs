//! Attacks on the data directory of a real node: flip, zero, truncate, delete, copy.
//!
//! After each attack the node is started again. It may refuse, with a reason, or serve
//! everything that it ever acknowledged; it must not serve less, and must not panic. The
//! table of `docs/storage.md` comes from
//!
//! ```text
//! ATTACKS=500 cargo test --release -p seaworthy-workloads --test attack -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many attacks of each kind are part of every test run.
const USUAL: u64 = 12;
const KEYS: u64 = 40;

/// A cluster of one in a process.
struct Node {
    child: Child,
    stdin: ChildStdin,
    replies: Receiver<Value>,
    asked: u64,
}

impl Node {
    /// The node, and its answer to `init`.
    fn start(root: &Path, name: &str) -> (Node, Value) {
        let args = [
            "lin-kv",
            "--compact-bytes",
            "1500",
            "--keep-entries",
            "5",
            "--election-timeout",
            "30",
        ];
        let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy-node"))
            .args(args)
            .arg("--data-dir")
            .arg(root)
            .env_remove("SEAWORTHY_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(fs::File::create(root.join("stderr")).unwrap()))
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, replies) = channel();
        #[allow(clippy::disallowed_methods, reason = "a pipe blocks")]
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let message: Value = serde_json::from_str(&line).unwrap();
                if sender.send(message["body"].clone()).is_err() {
                    return;
                }
            }
        });
        let mut node = Node { child, stdin, replies, asked: 0 };
        let init = json!({"type": "init", "node_id": name, "node_ids": [name]});
        let answer = node.ask(name, init);
        (node, answer)
    }

    /// The answer, once there is a leader.
    fn ask_leader(&mut self, name: &str, body: &Value) -> Value {
        let mut answer = Value::Null;
        for _ in 0..20 {
            answer = self.ask(name, body.clone());
            if answer["code"] != json!(11) {
                break;
            }
        }
        answer
    }

    /// The answer; null if the process ended without one.
    fn ask(&mut self, name: &str, mut body: Value) -> Value {
        self.asked += 1;
        body["msg_id"] = json!(self.asked);
        let message = json!({"src": "c1", "dest": name, "body": body});
        if writeln!(self.stdin, "{message}").is_err() {
            return Value::Null;
        }
        loop {
            match self.replies.recv_timeout(Duration::from_secs(20)) {
                Ok(reply) if reply["in_reply_to"] == json!(self.asked) => return reply,
                Ok(_) => {}
                Err(_) => return Value::Null,
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The content that a directory holds for certain.
type Acknowledged = BTreeMap<u64, u64>;

/// Writes `rounds` times to every key.
fn write(root: &Path, name: &str, rounds: std::ops::Range<u64>, acknowledged: &mut Acknowledged) {
    let (mut node, init) = Node::start(root, name);
    assert_eq!(init["type"], "init_ok", "{init}");
    for round in rounds {
        for key in 0..KEYS {
            let value = round * 1000 + key;
            let body = json!({"type": "write", "key": key, "value": value});
            let reply = node.ask_leader(name, &body);
            assert_eq!(reply["type"], "write_ok", "{reply}");
            acknowledged.insert(key, value);
        }
    }
    node.kill();
}

/// How a start after an attack ended.
fn outcome(root: &Path, acknowledged: &Acknowledged) -> &'static str {
    let (mut node, init) = Node::start(root, "n1");
    let stderr = || fs::read_to_string(root.join("stderr")).unwrap();
    if init["type"] != "init_ok" {
        let text = init["text"].as_str().unwrap_or_default().to_owned();
        node.kill();
        assert!(!text.is_empty(), "a refusal without a reason: {init}, {}", stderr());
        assert!(!stderr().contains("panicked"), "{}", stderr());
        return "refused";
    }
    for (key, value) in acknowledged {
        let reply = node.ask_leader("n1", &json!({"type": "read", "key": key}));
        assert_eq!(reply["value"], json!(value), "key {key} was lost in silence: {}", stderr());
    }
    node.kill();
    assert!(!stderr().contains("panicked"), "{}", stderr());
    "complete"
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.retain(|path| path.file_name().unwrap() != "stderr");
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

/// Everything that can be put in the place of something.
struct Stock {
    /// The directory under attack, as it was when the node was killed.
    whole: TempDir,
    /// The same, earlier.
    older: TempDir,
    /// Of another cluster, under the same name and another one.
    other: TempDir,
    acknowledged: Acknowledged,
}

impl Stock {
    fn new() -> Stock {
        let dir = || TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        let (whole, older, other) = (dir(), dir(), dir());
        let mut acknowledged = Acknowledged::new();
        write(whole.path(), "n1", 0..1, &mut acknowledged);
        copy(whole.path(), older.path());
        write(whole.path(), "n1", 1..3, &mut acknowledged);
        for name in ["n1", "n2"] {
            write(other.path(), name, 5..7, &mut Acknowledged::new());
        }
        Stock { whole, older, other, acknowledged }
    }

    fn attack(&self, kind: &str, rng: &mut Pcg64Mcg) -> &'static str {
        let root = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        copy(self.whole.path(), root.path());
        let all = files(root.path());
        let mut below = |bound: usize| (rng.next_u64() % bound.max(1) as u64) as usize;
        let path = &all[below(all.len())];
        let mut bytes = fs::read(path).unwrap();
        let len = bytes.len();
        match kind {
            "flip" if len > 0 => bytes[below(len)] ^= 1 << below(8),
            "zero" => {
                let from = below(len);
                let to = if below(2) == 0 { len } else { len.min(from + 1 + below(64)) };
                bytes[from..to].fill(0);
            }
            "truncate" => bytes.truncate(below(len)),
            "copy" => return self.replace(root.path(), path, below(5)),
            _ => {}
        }
        match (kind, below(4)) {
            ("delete", 0) => fs::remove_dir_all(root.path().join("n1")).unwrap(),
            ("delete", 1) => fs::remove_dir_all(root.path().join("n1/lin-kv")).unwrap(),
            ("delete", _) => fs::remove_file(path).unwrap(),
            _ => fs::write(path, bytes).unwrap(),
        }
        outcome(root.path(), &self.acknowledged)
    }

    /// Puts something else in the place of a file or a directory.
    fn replace(&self, root: &Path, path: &Path, what: usize) -> &'static str {
        let name = path.strip_prefix(root).unwrap();
        let whole_dir = |from: PathBuf| {
            fs::remove_dir_all(root.join("n1")).unwrap();
            copy(&from, &root.join("n1"));
        };
        match what {
            0 => whole_dir(self.older.path().join("n1")),
            1 => whole_dir(self.other.path().join("n1")),
            2 => whole_dir(self.other.path().join("n2")),
            3 if self.older.path().join(name).exists() => {
                fs::copy(self.older.path().join(name), path).map(drop).unwrap();
            }
            _ => {
                let others = files(root);
                let other = others.iter().find(|other| *other != path).unwrap();
                fs::copy(other, path).map(drop).unwrap();
            }
        }
        outcome(root, &self.acknowledged)
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_silence() {
    #[allow(clippy::disallowed_methods, reason = "how one asks a test for more")]
    let attacks = std::env::var("ATTACKS").map_or(USUAL, |text| text.parse().unwrap());
    let stock = Stock::new();
    assert_eq!(outcome(stock.whole.path(), &stock.acknowledged), "complete");
    for kind in ["flip", "zero", "truncate", "delete", "copy"] {
        let mut counts = BTreeMap::new();
        for seed in 0..attacks {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            *counts.entry(stock.attack(kind, &mut rng)).or_insert(0) += 1;
        }
        println!("{kind:10} {counts:?}");
    }
}
