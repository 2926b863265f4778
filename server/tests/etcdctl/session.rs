//! A cluster, and calls of `etcdctl` to it: one after the other, some in the background.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::mask::{ID, Masks};
use crate::support::{Cluster, free_port};

/// A call that does not end is an answer, too.
const LIMIT: Duration = Duration::from_secs(20);

/// The client's own log begins its lines so.
const LOGGED: [&str; 3] = ["{", "INFO: ", "WARNING: "];
/// Calls that list members by their ids, leases by theirs, or endpoints as they answer.
const UNORDERED: [&str; 4] = ["--cluster", "member list", "endpoint health", "lease list"];

fn sort(answer: &str) -> String {
    let mut lines: Vec<&str> = answer.lines().collect();
    // The status and the first line are one.
    let first = lines.first().copied().unwrap_or_default();
    let (status, rest) = first.split_once(") ").unwrap_or((first, ""));
    if let Some(first) = lines.first_mut() {
        *first = rest;
    }
    lines.sort_unstable();
    format!("{status} {}", lines.join("\n"))
}

pub(crate) struct Session {
    /// Its servers end with it.
    _cluster: Cluster,
    etcdctl: String,
    /// Of all calls that name none.
    endpoints: String,
    masks: Masks,
    /// The values of the names behind `$`.
    names: BTreeMap<String, String>,
    background: BTreeMap<String, Running>,
}

/// A call that goes on.
struct Running {
    child: Child,
    /// Open, so that the call does not see its end.
    _stdin: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Session {
    pub(crate) fn new(cluster: Cluster, etcdctl: String, endpoints: String) -> Session {
        let mut names = BTreeMap::new();
        names.insert("DIR".to_owned(), cluster.dir.path().display().to_string());
        names.insert("P9".to_owned(), format!("http://127.0.0.1:{}", free_port()));
        names.insert("E".to_owned(), format!("127.0.0.1:{}", cluster.servers[0].port));
        if cluster.servers.len() > 1 {
            for (i, server) in cluster.servers.iter().enumerate() {
                names.insert(format!("E{i}"), format!("127.0.0.1:{}", server.port));
                names.insert(format!("P{i}"), format!("http://127.0.0.1:{}", server.peer_port));
            }
        }
        let (masks, background) = (Masks::new(), BTreeMap::new());
        Session { _cluster: cluster, etcdctl, endpoints, masks, names, background }
    }

    /// The calls, each with its answer.
    pub(crate) fn run(mut self, script: &str) -> Vec<(String, String)> {
        let lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| (line.to_owned(), self.step(line))).collect()
    }

    fn step(&mut self, line: &str) -> String {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some(":="), Some(call)) => {
                let (status, out, err) = self.call_when_healthy(call);
                let id = regex::Regex::new(ID).unwrap().find(&out);
                let id = id.map(|id| id.as_str().to_owned()).unwrap_or_else(|| out.clone());
                self.names.insert(name.to_owned(), id);
                self.answer(status, &out, &err)
            }
            (Some("names"), Some(name), Some(call)) => self.learn(name, call),
            (Some("quietly"), Some(_), Some(_)) => {
                self.call(line.trim_start_matches("quietly "));
                String::new()
            }
            (Some("start"), Some(name), Some(call)) => self.start(name, call),
            (Some("read"), Some(name), Some(count)) => self.read(name, count.parse().unwrap()),
            (Some("stop"), Some(name), None) => self.stop(name),
            (Some("until"), Some(count), Some(call)) => self.until(count.parse().unwrap(), call),
            (Some("sleep"), Some(seconds), None) => {
                std::thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
                String::new()
            }
            _ => {
                let (status, out, err) = self.call(line);
                let answer = self.answer(status, &out, &err);
                if UNORDERED.iter().any(|words| line.contains(words)) {
                    sort(&answer)
                } else {
                    answer
                }
            }
        }
    }

    /// Learns the members' ids, which are `NAME` and the number of each.
    fn learn(&mut self, name: &str, call: &str) -> String {
        let (_, out, _) = self.call(call);
        for line in out.lines() {
            let words: Vec<&str> = line.split(", ").collect();
            self.names.insert(format!("{name}{}", &words[2][1..]), words[0].to_owned());
        }
        String::new()
    }

    fn answer(&self, status: Option<i32>, out: &str, err: &str) -> String {
        // Lines that the client logs of itself have times and addresses, and no certain order.
        let is_log = |line: &&str| LOGGED.iter().any(|begin| line.starts_with(begin));
        let told = err.lines().filter(|line| !is_log(line));
        let text = format!("{out}{}", told.map(|line| format!("! {line}\n")).collect::<String>());
        let text = self.masks.apply(&text, &self.names);
        format!("{status:?} {text}")
    }

    fn command(&self, call: &str) -> (Command, String) {
        let (call, input) = call.split_once(" < ").unwrap_or((call, ""));
        let mut call = call.to_owned();
        // `$E1` before `$E`.
        for (name, value) in self.names.iter().rev() {
            call = call.replace(&format!("${name}"), value);
        }
        let mut command = Command::new(&self.etcdctl);
        command.env("ETCDCTL_API", "3");
        if !call.contains("--endpoints") {
            command.args(["--endpoints", &self.endpoints]);
        }
        command.args(call.split(' ').map(|word| word.trim_matches('"')));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        (command, input.replace("\\n", "\n"))
    }

    fn call(&self, call: &str) -> (Option<i32>, String, String) {
        let (mut command, input) = self.command(call);
        let mut child = command.spawn().expect("etcdctl can be started");
        // A call that fails at once reads nothing.
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let begun = Instant::now();
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let mut status = child.try_wait().unwrap();
        while status.is_none() && begun.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(5));
            status = child.try_wait().unwrap();
        }
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        (status.and_then(|status| status.code()), out.join().unwrap(), err.join().unwrap())
    }

    /// A call that may change members. etcd refuses it until its servers have been connected for five
    /// seconds.
    fn call_when_healthy(&self, call: &str) -> (Option<i32>, String, String) {
        let begun = Instant::now();
        loop {
            let done = self.call(call);
            if !done.2.contains("unhealthy cluster") || begun.elapsed() > LIMIT {
                return done;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn start(&mut self, name: &str, call: &str) -> String {
        let (mut command, input) = self.command(call);
        let mut child = command.spawn().expect("etcdctl can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).unwrap();
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let running = Running { child, _stdin: stdin, lines, seen: Vec::new() };
        self.background.insert(name.to_owned(), running);
        String::new()
    }

    /// All that was printed, as soon as it has so many lines.
    fn read(&mut self, name: &str, count: usize) -> String {
        let running = self.background.get_mut(name).expect("it was started");
        let end = Instant::now() + LIMIT;
        while running.seen.len() < count {
            match running.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => running.seen.push(line),
                Err(_) => break,
            }
        }
        self.masks.apply(&running.seen.join("\n"), &self.names)
    }

    /// Interrupts a call; all that it has printed, and its status.
    fn stop(&mut self, name: &str) -> String {
        let mut running = self.background.remove(name).expect("it was started");
        let id = running.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let end = Instant::now() + LIMIT;
        let mut status = None;
        while status.is_none() && Instant::now() < end {
            status = running.child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = running.child.kill();
        let _ = running.child.wait();
        running.seen.extend(running.lines.iter());
        let mut err = String::new();
        running.child.stderr.take().expect("it is piped").read_to_string(&mut err).unwrap();
        let out: String = running.seen.iter().map(|line| format!("{line}\n")).collect();
        self.answer(status.and_then(|status| status.code()), &out, &err)
    }

    /// Repeats a call until it prints so many lines.
    fn until(&mut self, count: usize, call: &str) -> String {
        let begun = Instant::now();
        loop {
            let (status, out, err) = self.call(call);
            let lines = out.lines().filter(|line| !line.is_empty()).count();
            if lines == count || begun.elapsed() > LIMIT {
                return self.answer(status, &out, &err);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for running in self.background.values_mut() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// Reads to the end, beside the caller.
fn drain(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    let mut stream = stream.expect("it is piped");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
