//! Real servers under the bench: the example of the documentation is found to lose writes, and
//! nothing that the bench started outlives it.

// A test may fail by unwrapping; its helpers are not known to be tests. Processes end when they
// end, on the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/python.rs"]
mod python;
#[path = "support/wait.rs"]
mod wait;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use python::has_python;
use wait::await_that;

const LOSSY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lossy/spec.toml");

fn command(store: &Path, server: &str, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(["test", "-w", "lin-kv", "--server", server, "--store"]).arg(store);
    command.args(flags.split_whitespace());
    command
}

fn run(server: &str, flags: &str) -> (Option<i32>, String) {
    let store = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = command(store.path(), server, flags).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code(), text)
}

/// A spec in a directory of its own.
fn spec(dir: &Path, text: &str) -> String {
    let path = dir.join("spec.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_server_that_loses_acknowledged_writes_is_found() {
    if !has_python() {
        return;
    }
    // One run finds it nearly always; the first that does is the last.
    let flags = "--node-count 1 --concurrency 12n --rate 100 --time-limit 15 --nemesis kill \
                 --nemesis-interval 1 --test-count 5";
    let (status, text) = run(LOSSY, flags);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("Analysis invalid!") && text.contains(":linearizable"), "{text}");
}

#[test]
fn the_same_server_passes_once_it_saves_first() {
    if !has_python() {
        return;
    }
    // The faults come from a seed: drawn anew each time, they may leave the one server that keeps
    // the values dead from the first second to the last, so that nothing can succeed.
    for nemesis in ["partition,kill,pause,one-way,stall,slow", "reset,throttle,clients"] {
        let flags = format!(
            "--node-count 3 --concurrency 4n --rate 60 --time-limit 8 --nemesis {nemesis} \
             --nemesis-interval 2 --seed 1 -- --sync"
        );
        let (status, text) = run(LOSSY, &flags);
        assert_eq!(status, Some(0), "{text}");
    }
}

#[test]
fn programs_of_the_user_carry_requests_out() {
    if !has_python() {
        return;
    }
    let flags = "--node-count 1 --concurrency 6 --rate 30 --time-limit 6 --nemesis kill \
                 --nemesis-interval 3 --seed 5 -- --sync";
    let (status, text) = run(&LOSSY.replace("spec.toml", "command.toml"), flags);
    assert_eq!(status, Some(0), "{text}");
}

fn explore(server: &str, flags: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["explore", "-w", "lin-kv", "--server", server])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_swarm_of_runs_goes_over_servers_and_prints_the_one_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let dead = "command = [\"/bin/sh\", \"-c\", \"exit 3\"]\n[api]\nkind = \"rest\"";
    let dead = spec(dir.path(), dead);
    let (status, text) = explore(&dead, "--seeds 3");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("Seed 0. Try it again with:"), "{text}");
    assert!(text.contains(&format!("seaworthy test --server {dead} -w lin-kv")), "{text}");
    if has_python() {
        // Seed 0 draws full disks, on which this server loses values.
        let (status, text) = explore(LOSSY, "--from 1 --seeds 2 -- --sync");
        assert_eq!(status, Some(0), "{text}");
        assert!(text.contains("2 runs in "), "{text}");
    }
}

#[test]
fn flags_that_no_server_can_follow_are_refused_with_a_reason() {
    for (server, flags, why) in [
        ("etcd", "--loss 0.1", "use partition, stall and slow"),
        (LOSSY, "--nemesis membership", "which only etcd-v3 has"),
        ("etcd", "--torn-writes 0.5", "need the simulation"),
        ("etcd", "--clock-skew 0.1", "asks the kernel for the time"),
        ("etcd", "--nemesis full-disk --disk-mib 4", "--disk-mib must be from 16 to 1048576"),
        (LOSSY, "--network namespaces", "has no {host}"),
        ("etcd", "--network namespaces --nemesis slow", "slow, reset and throttle need proxies"),
        ("etcd", "-w kafka", "no kafka over the API of etcd; there are lin-kv"),
        ("etcd", "--bin x", "cannot be used with"),
        ("etcb", "", "built-in seaworthy-server, etcd"),
    ] {
        let flags = format!("--node-count 3 --concurrency 2n {flags}");
        let (status, text) = run(server, &flags);
        assert!(status != Some(0) && text.contains(why), "{flags}: {status:?} {text}");
    }
}

#[test]
fn a_server_that_ends_by_itself_breaks_the_test_and_shows_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let text = "command = [\"/bin/sh\", \"-c\", \"echo no disk; exit 3\"]\n[api]\nkind = \"rest\"";
    let (status, text) = run(&spec(dir.path(), text), "--node-count 1 --concurrency 2");
    assert_eq!(status, Some(255), "{text}");
    assert!(text.contains("exited by itself (status 3)") && text.contains("| no disk"), "{text}");
}

#[test]
fn a_server_that_never_serves_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let text = "command = [\"/bin/sh\", \"-c\", \"sleep 60\"]\n[api]\nkind = \"rest\"";
    let flags = "--node-count 1 --concurrency 2 --init-timeout 1";
    let (status, text) = run(&spec(dir.path(), text), flags);
    assert_eq!(status, Some(255), "{text}");
    assert!(text.contains("not healthy in time"), "{text}");
}

/// A store in memory that knows when its disk was taken. Then it refuses to start, or serves for a
/// moment and ends.
const REPLACED: &str = "import http.server as h, os, sys, threading
port, data, mark, way = int(sys.argv[1]), *sys.argv[2:]
if os.path.exists(mark) and not os.path.exists(data):
    if way == 'refuses': sys.exit(3)
    threading.Timer(1, lambda: os._exit(3)).start()
for path in (mark, data): open(path, 'w').close()
values = {}
class Store(h.BaseHTTPRequestHandler):
    def answer(self, status, body=b''):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(200 if self.path in values else 404, values.get(self.path, b''))
    def do_PUT(self):
        values[self.path] = self.rfile.read(int(self.headers['Content-Length']))
        self.answer(201)
h.ThreadingHTTPServer(('127.0.0.1', port), Store).serve_forever()";

#[test]
fn a_server_without_its_disk_may_refuse_to_start_but_not_end_after_it_served() {
    if !has_python() {
        return;
    }
    let end = "exited by itself (status 3)";
    // An exit is waited for in a few runs: whether a node is replaced, and has a client then, is luck.
    let of = |way: &str| {
        let runs = (0..4).map(|seed| {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("replaced.py"), REPLACED).unwrap();
            let text = format!(
                "command = [\"/usr/bin/env\", \"python3\", \"{{spec_dir}}/replaced.py\", \
                 \"{{client_port}}\", \"{{data}}\", \"{{spec_dir}}/{{name}}.mark\", \
                 \"{way}\"]\n[api]\nkind = \"rest\""
            );
            let flags = format!(
                "--node-count 2 --concurrency 2n --rate 40 --time-limit 12 --nemesis replace \
                 --nemesis-interval 2.5 --seed {seed}"
            );
            run(&spec(dir.path(), &text), &flags)
        });
        runs.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let refused = scope.spawn(|| of("refuses"));
        let ended = of("ends");
        assert!(ended.iter().any(|(status, text)| *status == Some(255) && text.contains(end)));
        for (_, text) in refused.join().unwrap() {
            assert!(!text.contains(end), "{text}");
        }
    });
}

#[test]
fn clocks_are_wrong_where_the_library_is_installed_and_refused_elsewhere() {
    let (dir, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text =
        "command = [\"/bin/sh\", \"-c\", \"date +%s; exec sleep 60\"]\n[api]\nkind = \"rest\"";
    let flags = "--node-count 5 --concurrency 10 --init-timeout 1 --clock-skew 0.5";
    let server = spec(dir.path(), text);
    let output = command(store.path(), &server, flags).output().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shown = String::from_utf8_lossy(&output.stderr);
    if shown.contains("needs libfaketime, which is not installed") {
        return;
    }
    let logs = fs::read_dir(store.path().join("lin-kv")).unwrap().flatten().next().unwrap().path();
    let clocks: Vec<u64> = (0..5)
        .map(|node| {
            let log = fs::read_to_string(logs.join(format!("node-logs/n{node}.log"))).unwrap();
            log.trim().parse().unwrap()
        })
        .collect();
    // Shifts are up to 300 seconds, to either side.
    assert!(clocks.iter().all(|clock| clock.abs_diff(now) < 310), "{clocks:?} {now}");
    assert!(clocks.iter().any(|clock| clock.abs_diff(now) > 20), "{clocks:?} {now}");
}

#[test]
fn faults_of_clients_and_connections_are_in_the_simulation_too() {
    let store = tempfile::tempdir().unwrap();
    let simulated = |nemesis: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
            .args(["test", "-w", "lin-kv", "--node-count", "3", "--concurrency", "4n", "--rate"])
            .args(["50", "--time-limit", "30", "--nemesis", nemesis, "--nemesis-interval", "2"])
            .args(["--seed", "1", "--store"])
            .arg(store.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, text) = simulated("clients,reset");
    assert_eq!(status, Some(0), "{text}");
    let history = fs::read_to_string(store.path().join("latest/history.edn")).unwrap();
    for event in ["lose-requests", "lose-answers", "heal-clients", "start-reset", ":info"] {
        assert!(history.contains(event), "{event}");
    }
    for fault in ["throttle", "full-disk"] {
        let (status, text) = simulated(fault);
        let refused = text.contains(&format!("--nemesis {fault} needs --server"));
        assert!(status != Some(0) && refused, "{text}");
    }
}

#[test]
fn a_run_in_which_nothing_succeeded_breaks_no_promise() {
    if !has_python() {
        return;
    }
    // Listens, so that it counts as started, and answers every request with an error.
    let busy = "import http.server as h, sys
class Busy(h.BaseHTTPRequestHandler):
    def do_GET(self): self.send_error(503)
    do_PUT = do_GET
print('ready', flush=True)
h.HTTPServer(('127.0.0.1', int(sys.argv[1])), Busy).serve_forever()";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("busy.py"), busy).unwrap();
    let text = "command = [\"/usr/bin/env\", \"python3\", \"{spec_dir}/busy.py\", \
                \"{client_port}\"]\n[api]\nkind = \"rest\"";
    let flags = "--node-count 1 --concurrency 2 --rate 30 --time-limit 1 --log-stderr";
    let (status, text) = run(&spec(dir.path(), text), flags);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("No guarantee was seen broken, but no :cas succeeded"), "{text}");
    assert!(text.contains("n0: ready"), "the server's output is shown: {text}");
}

/// The processes whose command line has `mark`, as `/proc` lists them.
fn processes(mark: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(mark).then_some(line)
    });
    lines.collect()
}

/// A bench whose three servers run and sleep, each with `mark` in its
/// command line.
fn begun(dir: &Path, mark: &str) -> Child {
    let text = format!(
        "command = [\"/bin/sh\", \"-c\", \"sleep 61 & sleep 62; : {mark}\"]\n[api]\nkind = \"rest\""
    );
    let flags = "--node-count 3 --concurrency 2n --init-timeout 50";
    let mut command = command(dir, &spec(dir, &text), flags);
    let bench = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    await_that("three servers run", 60, || processes(mark).len() >= 3);
    bench
}

#[test]
fn no_server_outlives_the_bench_however_it_ends() {
    for (signal, mark) in [(Signal::SIGINT, "mark-of-int"), (Signal::SIGKILL, "mark-of-kill")] {
        let dir = tempfile::tempdir().unwrap();
        let mut bench = begun(dir.path(), mark);
        kill(Pid::from_raw(bench.id().cast_signed()), signal).unwrap();
        bench.wait().unwrap();
        await_that("no server is left", 60, || processes(mark).is_empty());
    }
}
