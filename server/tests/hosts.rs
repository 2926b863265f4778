//! Three servers on three hosts: network namespaces with a switch between them, where each
//! server listens at every address and is known by its name.
//!
//! It takes root, and the programs `ip`, `unshare`, `nsenter` and `curl`; elsewhere a line says so
//! and nothing is tested. All namespaces go with the processes that hold them.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Process, has_program, wait_for};
use tempfile::TempDir;

/// A cable that is plugged in, or pulled out.
#[derive(Clone, Copy, Debug)]
enum Link {
    Up,
    Down,
}

struct Hosts {
    servers: Vec<Option<Process>>,
    /// Processes that do nothing but hold a namespace.
    hosts: Vec<Process>,
    switch: Process,
    dir: TempDir,
    advertised: Vec<String>,
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// A process in namespaces of its own.
fn holder() -> Process {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sleep", "600"]);
    let process = Process(command.spawn().unwrap());
    // The namespaces are there once the program is another one.
    let path = format!("/proc/{}/comm", process.0.id());
    wait_for("a namespace", Duration::from_secs(5), || {
        fs::read_to_string(&path).is_ok_and(|name| name.trim() == "sleep")
    });
    process
}

/// A command inside of the namespaces of a process.
fn inside(holder: &Process, command: &str) -> Command {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &holder.0.id().to_string(), "--net", "--mount"]);
    nsenter.args(command.split(' '));
    nsenter
}

fn run(holder: &Process, command: &str) {
    assert!(succeeds(&mut inside(holder, command)), "{command}");
}

/// Whether hosts can be made here; says why not.
fn can_have_hosts() -> bool {
    let has_all = ["ip", "unshare", "nsenter", "curl"].iter().all(|name| has_program(name));
    let try_it = "ip link add switch type bridge && ip link add cable type veth peer name port";
    let works =
        has_all && succeeds(Command::new("unshare").args(["--net", "--mount", "sh", "-c", try_it]));
    if !works {
        println!("no network namespaces here (root, ip, unshare, nsenter, curl): not tested");
    }
    works
}

impl Hosts {
    /// Makes three hosts and a switch; each server will advertise its address in `advertised`.
    fn new(advertised: [&str; 3]) -> Hosts {
        let (dir, switch) = (TempDir::new().unwrap(), holder());
        let names = (0..3).map(|i| format!("10.77.0.{} n{i}.example\n", i + 1));
        let file = dir.path().join("hosts");
        fs::write(&file, format!("127.0.0.1 localhost\n{}", names.collect::<String>())).unwrap();
        run(&switch, "ip link add switch type bridge");
        run(&switch, "ip link set switch up");
        let host = |i: usize| {
            let (host, number) = (holder(), i + 1);
            let other = format!("peer name port{i} netns {}", switch.0.id());
            run(&host, &format!("ip link add cable type veth {other}"));
            run(&switch, &format!("ip link set port{i} master switch up"));
            run(&host, &format!("ip addr add 10.77.0.{number}/24 dev cable"));
            run(&host, "ip link set cable up");
            run(&host, "ip link set lo up");
            run(&host, &format!("mount --bind {} /etc/hosts", file.display()));
            host
        };
        let hosts = (0..3).map(host).collect();
        let advertised = advertised.map(str::to_owned).to_vec();
        Hosts { servers: vec![None, None, None], hosts, switch, dir, advertised }
    }

    fn start(&mut self, i: usize) {
        let members = self.advertised.iter().enumerate();
        let members = members.map(|(i, host)| format!("n{i}=http://{host}:2380"));
        let members = members.collect::<Vec<_>>().join(",");
        let (program, host) = (env!("CARGO_BIN_EXE_seaworthy-server"), &self.advertised[i]);
        let data = self.dir.path().join(format!("n{i}"));
        let mut command = inside(&self.hosts[i], program);
        command.args(["--name", &format!("n{i}")]).arg("--data-dir").arg(data);
        for (flag, value) in [
            ("--listen-client-urls", "http://0.0.0.0:2379"),
            ("--listen-peer-urls", "http://0.0.0.0:2380"),
            ("--advertise-client-urls", &format!("http://{host}:2379")),
            ("--initial-advertise-peer-urls", &format!("http://{host}:2380")),
            ("--initial-cluster", &members),
        ] {
            command.args([flag, value]);
        }
        let log = File::create(self.log_file(i)).unwrap();
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.servers[i] = Some(Process(process));
    }

    fn log_file(&self, i: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("n{i}.log"))
    }

    fn log(&self, i: usize) -> String {
        fs::read_to_string(self.log_file(i)).unwrap_or_default()
    }

    /// A request from one host to a name; none if there is no answer in time.
    fn curl(&self, from: usize, url: &str, body: Option<&Value>) -> Option<String> {
        let mut command = inside(&self.hosts[from], "curl --silent --max-time 8");
        if let Some(body) = body {
            command.args(["--data", &body.to_string()]);
        }
        let answer = command.arg(url).output().unwrap();
        answer.status.success().then(|| String::from_utf8(answer.stdout).unwrap())
    }

    fn call(&self, from: usize, to: usize, path: &str, body: &Value) -> Option<Value> {
        let answer = self.curl(from, &format!("http://n{to}.example:2379{path}"), Some(body))?;
        serde_json::from_str(&answer).ok()
    }

    /// Which server leads, as one of these sees it.
    fn leader(&self, among: &[usize]) -> Option<usize> {
        among.iter().copied().find(|i| {
            let status = self.call(*i, *i, "/v3/maintenance/status", &json!({}));
            status.is_some_and(|s| s["header"]["member_id"] == s["leader"])
        })
    }

    fn put(&self, at: usize, value: &str) -> bool {
        let put = json!({"key": base64("key"), "value": base64(value)});
        self.call(at, at, "/v3/kv/put", &put).is_some_and(|a| a["header"]["revision"].is_string())
    }

    /// Whether a server holds this value itself, without asking others.
    fn has(&self, at: usize, value: &str) -> bool {
        let range = json!({"key": base64("key"), "serializable": true});
        let answer = self.call(at, at, "/v3/kv/range", &range);
        answer.is_some_and(|answer| answer["kvs"][0]["value"] == base64(value))
    }

    fn set(&self, i: usize, link: Link) {
        let word = match link {
            Link::Up => "up",
            Link::Down => "down",
        };
        run(&self.switch, &format!("ip link set port{i} {word}"));
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(text)
}

#[test]
fn hosts_that_know_each_other_by_name_survive_a_pulled_cable() {
    if !can_have_hosts() {
        return;
    }
    let mut hosts = Hosts::new(["n0.example", "n1.example", "n2.example"]);
    (0..3).for_each(|i| hosts.start(i));
    let patience = Duration::from_secs(20);
    wait_for("a leader", patience, || hosts.leader(&[0, 1, 2]).is_some());
    let old = hosts.leader(&[0, 1, 2]).unwrap();
    let other = (old + 1) % 3;
    // From one host to another, by its name.
    let answer = hosts.curl(old, &format!("http://n{other}.example:2380/"), None);
    let answer = answer.unwrap_or_default();
    let sentence = format!("Clients are served at http://n{other}.example:2379");
    assert!(answer.contains(&sentence), "{answer}");
    assert!(hosts.put(other, "before"), "{}", hosts.log(other));
    wait_for("everywhere", patience, || (0..3).all(|i| hosts.has(i, "before")));

    hosts.set(old, Link::Down);
    let rest: Vec<usize> = (0..3).filter(|i| *i != old).collect();
    let began = Instant::now();
    wait_for("another leader", patience, || hosts.leader(&rest).is_some());
    wait_for("a write without the host", patience, || hosts.put(rest[0], "meanwhile"));
    println!("a write after {:?} without the host that led", began.elapsed());
    // The deposed leader answers no write, and no read that would have to be the newest.
    assert!(!hosts.put(old, "lost"), "a write without a quorum was acknowledged");
    let newest = json!({"key": base64("key")});
    let read = hosts.call(old, old, "/v3/kv/range", &newest);
    assert!(read.is_none_or(|read| read["kvs"].is_null()), "a read without a quorum");
    assert!(hosts.has(old, "before"));

    hosts.set(old, Link::Up);
    let began = Instant::now();
    // A connection that waits for TCP would take as long again as the cable was out.
    let soon = Duration::from_secs(9);
    wait_for("the host catches up", soon, || hosts.has(old, "meanwhile"));
    println!("caught up {:?} after the cable was back", began.elapsed());
    assert!(hosts.put(old, "after") && (0..3).any(|i| hosts.has(i, "after")));
}

#[test]
fn an_address_that_leads_elsewhere_is_named_with_the_server_that_answers() {
    if !can_have_hosts() {
        return;
    }
    let mut hosts = Hosts::new(["n0.example", "n1.example", "localhost"]);
    (0..3).for_each(|i| hosts.start(i));
    for i in 0..2 {
        let named = format!("n2 advertises http://localhost:2380, which from here reaches n{i}");
        wait_for(&named, Duration::from_secs(5), || hosts.log(i).contains(&named));
    }
    wait_for("a leader", Duration::from_secs(20), || hosts.leader(&[0, 1]).is_some());
    assert!(hosts.put(0, "value"), "two of three go on");
    assert!(Path::new(&hosts.dir.path().join("n2")).exists());
}
