//! `serve` under a hostile client, `plot`, and the sums for other programs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::seaworthy;

/// A server that ends with the test.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn of(store: &Path) -> Served {
        let mut serve = seaworthy();
        serve.args(["serve", "--port", "0", "--store"]).arg(store).stdout(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{line}");
        Served { child, address }
    }

    /// Sends a request as it is and returns all that comes back.
    fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        let host = &self.address;
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Kilobytes that the process holds.
    fn memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// A store of so many runs that never took place.
fn store_of(runs: usize, store: &Path) {
    for n in 0..runs {
        let dir = store.join(["echo", "kafka"][n % 2]).join(format!("2026{n:06}T000000.000Z"));
        fs::create_dir_all(&dir).unwrap();
        let verdict = if n % 10 == 0 { "invalid" } else { "valid" };
        let card = format!(
            "{{\"verdict\":\"{verdict}\",\"why\":\"<i>x</i>\",\"operations\":{n},\"p99_ms\":{n}.5,\"command\":\"\"}}"
        );
        fs::write(dir.join("run.json"), card).unwrap();
        fs::write(dir.join("results.edn"), "{:valid? true}").unwrap();
    }
}

#[test]
fn a_hostile_client_gets_right_answers_and_memory_stays_flat() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    store_of(5000, &store);
    fs::write(dir.path().join("secret"), "the secret").unwrap();
    symlink(dir.path().join("secret"), store.join("echo/out")).unwrap();
    symlink("/etc", store.join("etc")).unwrap();
    let served = Served::of(&store);
    let list = served.get("/");
    assert_eq!(status(&list), "200");
    assert!(
        list.contains("5000 of 5000 runs") && list.contains("&lt;i&gt;x") && !list.contains("<i>x")
    );
    let newest = list.find("2026004999").unwrap();
    assert!(newest < list.find("2026004998").unwrap(), "newest first");
    let invalid = served.get("/?verdict=invalid&sort=-p99&workload=echo");
    assert!(invalid.contains("500 of 5000 runs"), "{}", &invalid[..2000]);
    assert_eq!(status(&served.get("/files/echo/2026000000T000000.000Z/run.json")), "200");
    for path in [
        "/../secret",
        "/files/../secret",
        "/files/../../secret",
        "/files/echo/../../secret",
        "/files/%2e%2e/secret",
        "/files/echo/%2e%2e%2f%2e%2e%2fsecret",
        "/files/echo/out",
        "/files/etc/passwd",
        "/files//etc/passwd",
        "/files/%00",
        "/files/%",
        "/nothing",
        "/files/echo/..\\..\\secret",
        "/compare?run=../secret&run=etc/passwd",
    ] {
        let answer = served.get(path);
        assert!(!answer.contains("the secret") && !answer.contains("root:"), "{path}: {answer}");
        assert!(matches!(status(&answer), "404" | "400" | "200"), "{path}: {answer}");
        assert!(status(&answer) != "200" || path.starts_with("/compare"), "{path}: {answer}");
    }
    let elsewhere = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&served.raw(elsewhere)), "403");
    let host = &served.address;
    let post = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(status(&served.raw(&post)), "405");
    for _ in 0..1000 {
        served.get("/files/echo/");
    }
    let before = served.memory_kb();
    for n in 0..9000 {
        let path = ["/files/%", "/nothing", "/files/echo/2026000000T000000.000Z/run.json"][n % 3];
        served.get(path);
    }
    let after = served.memory_kb();
    assert!(after < before + 8_000, "{before} kB, then {after} kB");
    let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    assert!(body(&served.get("/")) == body(&list), "another list than at first");
}

fn run(command: &str, dir: &Path) -> (i32, String) {
    let mut all = seaworthy();
    all.args(command.split_whitespace()).current_dir(dir).env_remove("GITHUB_STEP_SUMMARY");
    let output = all.output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_run_is_told_to_other_programs() {
    let dir = tempfile::tempdir().unwrap();
    let flags = "test -w echo --time-limit 1 --rate 20 --test-count 2 --seed 5";
    let (exit, out) = run(&format!("{flags} --json --junit a.xml --summary a.md"), dir.path());
    let runs: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((exit, runs.len()), (0, 2), "{out}");
    assert_eq!((&runs[0]["verdict"], &runs[1]["seed"]), (&"valid".into(), &6.into()));
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("a.xml").contains("tests=\"2\" failures=\"0\""), "{}", read("a.xml"));
    assert_eq!(read("a.md").matches("| valid |").count(), 2, "{}", read("a.md"));
    // Maelstrom's names, and those of plots.
    let latest = dir.path().join("store/latest");
    assert!(fs::read_to_string(latest.join("messages.svg")).unwrap().contains("<svg"));
    assert!(latest.join("timeline.html").exists());
    let (exit, _) = run("plot store/latest", dir.path());
    assert_eq!(exit, 0);
    for name in ["latency.svg", "quantiles.svg", "rate.svg"] {
        let svg = fs::read_to_string(latest.join(name)).unwrap();
        assert!(svg.starts_with("<?xml") && svg.contains("d=\"M"), "{name}");
    }
    let (exit, out) = run("test -w echo --time-limit 1 --no-report", dir.path());
    assert_eq!(exit, 0, "{out}");
    assert!(!latest.join("report.html").exists());
}

#[test]
fn shards_explore_what_the_whole_does() {
    let dir = tempfile::tempdir().unwrap();
    let flags = "explore -w broadcast --from 3 --seeds 10 --json --no-report";
    let mut files = String::new();
    for shard in 0..3 {
        let (exit, out) = run(&format!("{flags} --shard {shard}/3"), dir.path());
        assert_eq!(exit, 0, "{out}");
        fs::write(dir.path().join(format!("{shard}.json")), out).unwrap();
        files += &format!(" {shard}.json");
    }
    let (exit, merged) = run(&format!("merge --json{files}"), dir.path());
    assert_eq!(exit, 0, "{merged}");
    let (_, whole) = run(flags, dir.path());
    let [mut merged, mut whole] =
        [merged, whole].map(|text| serde_json::from_str::<Value>(text.trim()).unwrap());
    // Sums of seconds depend on their order in the last digit, and marks that were never hit
    // are named if others of their part were.
    for sum in [&mut merged, &mut whole] {
        let seconds = sum["simulated_seconds"].as_f64().unwrap().round();
        sum["simulated_seconds"] = seconds.into();
        let marks = sum["marks"].as_object_mut().unwrap();
        marks.retain(|_, hits| *hits != 0);
    }
    assert_eq!(merged, whole);
    let (exit, out) = run("merge 0.json 2.json", dir.path());
    assert_eq!(exit, 2, "{out}");
    assert!(out.contains("the seeds 6 to 8 are in no file"), "{out}");
    assert_eq!(run("merge 0.json 0.json", dir.path()).0, 254);
}
