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

fn refuses_paths_out_of_the_store(served: &Served) {
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
}

fn tells_pages_of_nodes_as_text(served: &Served, run: &Path) {
    // A page that a node wrote is text; one that the bench wrote has no part in the store.
    for name in ["data/report.html", "data/x.html", "x.html", "report.html"] {
        let file = run.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "<script>1</script>").unwrap();
    }
    fs::write(run.join("jepsen.log"), "").unwrap();
    for (name, kind) in [
        ("data/report.html", "text/plain"),
        ("data/x.html", "text/plain"),
        ("x.html", "text/plain"),
        ("report.html", "text/html"),
    ] {
        let answer = served.get(&format!("/files/echo/2026000000T000000.000Z/{name}"));
        assert!(answer.contains(&format!("content-type: {kind}")), "{name}: {answer}");
        assert!(answer.contains("content-security-policy: "), "{name}: {answer}");
        assert_eq!(answer.contains("sandbox allow-scripts"), kind == "text/html", "{name}");
    }
}

fn answers_beside_clients_that_do_not_read(served: &Served, run: &Path) {
    // Clients that never read a large answer do not keep others from theirs.
    fs::write(run.join("large"), vec![b'x'; 32 << 20]).unwrap();
    let before = served.memory_kb();
    let greedy: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(&served.address).unwrap();
            let request = format!(
                "GET /files/echo/2026000000T000000.000Z/large HTTP/1.1\r\nHost: {}\r\n\r\n",
                served.address
            );
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(status(&served.get("/files/echo/2026000000T000000.000Z/run.json")), "200");
    let after = served.memory_kb();
    assert!(after < before + 60_000, "{before} kB, then {after} kB");
    drop(greedy);
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
    refuses_paths_out_of_the_store(&served);
    let run = store.join("echo/2026000000T000000.000Z");
    tells_pages_of_nodes_as_text(&served, &run);
    answers_beside_clients_that_do_not_read(&served, &run);
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
fn a_run_that_goes_on_is_told_with_its_verdict_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("lin-kv/20260101T000000.000Z");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("test.edn"), "{:flags [\"-w\" \"lin-kv\"], :binary? true}").unwrap();
    // The log of a whole run, as far as it is written.
    let recorded = dir.path().join("recorded");
    let (exit, out) = run(
        "test -w lin-kv --concurrency 2n --time-limit 2 --seed 1 --rate 20 --latency 1 --no-report --store recorded",
        dir.path(),
    );
    assert_eq!(exit, 0, "{out}");
    let log = fs::read_to_string(recorded.join("lin-kv/latest/jepsen.log")).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    fs::write(place.join("jepsen.log"), lines[..lines.len() / 2].concat()).unwrap();
    fs::copy(recorded.join("lin-kv/latest/messages.jsonl"), place.join("messages.jsonl")).unwrap();
    let served = Served::of(dir.path());
    assert!(served.get("/").contains("running"));
    let page = served.get("/files/lin-kv/20260101T000000.000Z/");
    assert!(page.contains("Going on: ") && page.contains(" messages a second"), "{page}");
    assert!(page.contains("No anomaly so far."), "{page}");
    // A read of a value that was never written.
    let read =
        lines.iter().position(|line| line.contains(":ok") && line.contains(":read")).unwrap();
    let (head, value) = lines[read].rsplit_once('[').unwrap();
    let (key, _) = value.split_once(' ').unwrap();
    let wrong = format!("{head}[{key} 77777]\n");
    assert_ne!(wrong, lines[read]);
    fs::write(place.join("jepsen.log"), lines[..read].concat() + &wrong).unwrap();
    let page = served.get("/files/lin-kv/20260101T000000.000Z/");
    assert!(page.contains("Invalid so far: "), "{page}");
    // Half a line is no history at this moment, and no error either.
    fs::write(place.join("jepsen.log"), lines[..read].concat() + &wrong[..wrong.len() / 2])
        .unwrap();
    assert_eq!(status(&served.get("/files/lin-kv/20260101T000000.000Z/")), "200");
}

#[test]
fn several_runs_are_drawn_into_one_picture_and_cycles_by_their_kind() {
    let dir = tempfile::tempdir().unwrap();
    for seed in [1, 2] {
        let flags = "test -w broadcast --time-limit 2 --rate 20 --no-report --seed";
        let (exit, out) = run(&format!("{flags} {seed} --store {seed}"), dir.path());
        assert_eq!(exit, 0, "{out}");
    }
    let (exit, out) = run(
        "plot --out both --mark elsewhere,8.3,230,397 1/broadcast/latest 2/broadcast/latest",
        dir.path(),
    );
    assert_eq!(exit, 0, "{out}");
    for name in ["quantiles", "rate", "tradeoff"] {
        let svg = fs::read_to_string(dir.path().join(format!("both/{name}.svg"))).unwrap();
        assert!(svg.contains("seed 1") && svg.contains("seed 2"), "{name}: {svg}");
        assert_eq!(svg.contains("elsewhere"), name == "tradeoff");
    }
    let results = "{:workload {:anomalies {:G1c [{:cycle [{:index 3, :process 0, :value [[:append 1 1]]} \
        {:index 5, :process 1, :value [[:r 1 [1]]]} {:index 3, :process 0, :value []}], \
        :steps [{:type :wr, :key 1} {:type :rw, :key 1}]}]}}}";
    let place = dir.path().join("1/broadcast/latest");
    fs::write(place.join("results.edn"), results).unwrap();
    let (exit, out) = run("plot --from 0.5 --to 1 1/broadcast/latest", dir.path());
    assert_eq!(exit, 0, "{out}");
    let cycle = fs::read_to_string(place.join("cycle-G1c-1.svg")).unwrap();
    assert!(cycle.contains("T3") && cycle.contains("wr key 1"), "{cycle}");
    let part = fs::read_to_string(place.join("messages.svg")).unwrap();
    assert!(part.contains(">0.") && !part.contains(">1.1"), "{part}");
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
