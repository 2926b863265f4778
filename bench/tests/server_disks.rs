//! Real servers on disks of their own, which the bench fills: for root, on loop mounts. Elsewhere the run is
//! refused with the reason, and a line says that nothing was tested.

// A test may fail by unwrapping; its helpers are not known to be tests. Processes end when they
// end, on the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

#[path = "support/python.rs"]
mod python;
#[path = "support/wait.rs"]
mod wait;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use python::has_python;
use wait::await_that;

/// A store whose every write is two more blocks of its file, which outlives the process without fsync. It knows no other answer to a full one than its end.
const STORE: &str = "import http.server as h, os, sys, threading
port, data = int(sys.argv[1]), sys.argv[2]
values, lock = {}, threading.Lock()
if os.path.exists(data):
    # The last block may have found no space for its end.
    os.truncate(data, os.path.getsize(data) // 8192 * 8192)
    for block in open(data): values.__setitem__(*block.split()[:2])
log = open(data, 'a')
class Store(h.BaseHTTPRequestHandler):
    def answer(self, status, body=b''):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        value = values.get(self.path)
        self.answer(200 if value else 404, (value or '').encode())
    def do_PUT(self):
        value = self.rfile.read(int(self.headers['Content-Length'])).decode()
        with lock:
            try:
                log.write(f'{self.path} {value}'.ljust(8190) + '.\\n')
                log.flush()
            except OSError as e:
                print(e, flush=True)
                os._exit(28)
            values[self.path] = value
        self.answer(201)
    def log_message(self, *_): pass
print('ready', flush=True)
h.ThreadingHTTPServer(('127.0.0.1', port), Store).serve_forever()";

/// The reason why there can be no disks here, as the bench says it.
const LACKS: [&str; 3] = ["takes root", "no loop devices", "no disk can be mounted"];

/// A run of the store in `dir`, which is its `--store` as well.
fn bench(dir: &Path, flags: &str) -> Command {
    fs::write(dir.join("store.py"), STORE).unwrap();
    let spec = "command = [\"/usr/bin/env\", \"python3\", \"{spec_dir}/store.py\", \"{client_port}\", \"{data}\"]\n\
                [api]\nkind = \"rest\"";
    fs::write(dir.join("spec.toml"), spec).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(["test", "-w", "lin-kv", "--omit", "cas", "--no-report", "--node-count", "1"]);
    command.args(["--nemesis", "full-disk", "--disk-mib", "32", "--concurrency", "4"]);
    command.arg("--server").arg(dir.join("spec.toml")).arg("--store").arg(dir);
    command.args(flags.split_whitespace());
    command
}

/// Whether a run was refused for a reason that it tells.
fn is_refused(text: &str) -> bool {
    let refused = LACKS.iter().any(|lack| text.contains(lack));
    if refused {
        println!("servers on full disks are not tested here: {text}");
    }
    refused
}

/// The loop devices whose file is in this directory.
fn devices(dir: &Path) -> Vec<String> {
    let all = fs::read_dir("/sys/block").unwrap().flatten();
    let file = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file"));
    let files = all.filter_map(|entry| file(entry).ok());
    files.filter(|file| file.contains(&dir.display().to_string())).collect()
}

/// Whether the server of the only run in this directory has begun.
fn is_ready(dir: &Path) -> bool {
    let runs = fs::read_dir(dir.join("lin-kv")).into_iter().flatten().flatten();
    let mut logs =
        runs.filter_map(|run| fs::read_to_string(run.path().join("node-logs/n0.log")).ok());
    logs.any(|log| log.contains("ready"))
}

#[test]
fn a_server_that_ends_on_a_full_disk_is_started_again_once_there_is_space() {
    if !has_python() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // The disk is full up to 2.4 s and from 4.9 to 6.5 s: between, a starved machine has time for a start.
    let flags = "--rate 60 --time-limit 7 --nemesis-interval 1.5 --seed 3";
    let output = bench(dir.path(), flags).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if is_refused(&text) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{text}");
    let read = |file: &str| fs::read_to_string(dir.path().join("latest").join(file)).unwrap();
    let log = read("node-logs/n0.log");
    assert!(log.matches("No space left on device").count() > 1, "{log}");
    let history = read("history.edn");
    let (before, after) = history.split_once(":free-disk").unwrap();
    let is_written = |line: &str| line.contains(":type :ok") && line.contains(":f :write");
    assert!(before.contains(":fill-disk") && after.lines().any(is_written), "{after}");
    assert_eq!(devices(dir.path()), [""; 0]);
}

#[test]
fn no_mount_outlives_the_bench_however_it_ends() {
    if !has_python() {
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = bench(dir.path(), "--rate 20 --time-limit 30 --nemesis-interval 1");
        let mut bench = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        await_that("a server runs, or is refused", 20, || {
            bench.try_wait().unwrap().is_some() || is_ready(dir.path())
        });
        if bench.try_wait().unwrap().is_some() {
            let output = bench.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(is_refused(&text), "{text}");
            return;
        }
        assert_eq!(devices(dir.path()).len(), 1);
        kill(Pid::from_raw(bench.id().cast_signed()), signal).unwrap();
        bench.wait().unwrap();
        await_that("no disk is left", 20, || devices(dir.path()).is_empty());
    }
}
