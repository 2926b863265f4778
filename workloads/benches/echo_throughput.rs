//! How many messages a second one node handles, reading and writing included.
//!
//! `cargo bench -p seaworthy-workloads --bench echo_throughput [-- MESSAGES]`
//!
//! Pushes echo requests through real pipes to the release binary, pinned to one
//! core, while this process, pinned to another, writes the requests and compares
//! every byte of the replies. The yardstick is a process that copies the same
//! bytes and does nothing else, in the same run. Not a timed test: on a busy
//! machine look at the messages per second of processor time.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock, spawns, and reports on stdout"
)]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// How many requests are written in one piece.
const BLOCK: usize = 500;
const ROUNDS: usize = 3;
/// How many messages the memory is watched for.
const MEMORY_MESSAGES: usize = 10_000_000;
const INIT: &str = r#"{"src":"c0","dest":"n0","body":{"type":"init","node_id":"n0","node_ids":["n0"],"msg_id":1}}"#;
const INIT_OK: &str = r#"{"src":"n0","dest":"c0","body":{"type":"init_ok","in_reply_to":1}}"#;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "--copy") {
        return copy_stdin();
    }
    let messages = args.first().map_or(2_000_000, |arg| arg.parse().expect("a number of messages"));
    let (requests, replies) = blocks();
    println!("{messages} echo messages of {} bytes, {ROUNDS} rounds", requests.len() / BLOCK);
    for _ in 0..ROUNDS {
        let node = measure(node(), messages, &requests, &replies);
        let copy = measure(copier(), messages, &requests, &requests);
        print_run("node", messages, &node);
        print_run("copy", messages, &copy);
        println!("ratio {:.1}", node.wall.as_secs_f64() / copy.wall.as_secs_f64());
    }
    let node = measure(node(), MEMORY_MESSAGES, &requests, &replies);
    let Run { early_kib, peak_kib, .. } = node;
    println!("peak memory: {early_kib} KiB after 10 %, {peak_kib} KiB after {MEMORY_MESSAGES}");
}

/// The time that one run took.
struct Run {
    wall: Duration,
    cpu: Duration,
    early_kib: u64,
    peak_kib: u64,
}

fn print_run(name: &str, messages: usize, run: &Run) {
    let per_second = |time: Duration| messages as f64 / time.as_secs_f64();
    println!(
        "{name}: {:9.0} messages/s, {:9.0} per second of processor time",
        per_second(run.wall),
        per_second(run.cpu)
    );
}

/// A block of requests as Maelstrom writes them, and the replies they must get.
fn blocks() -> (String, String) {
    let (mut requests, mut replies) = (String::new(), String::new());
    for i in 0..BLOCK {
        let (id, echo) = (1000 + i, i % 128);
        writeln!(requests, r#"{{"id":{id},"src":"c1","dest":"n0","body":{{"type":"echo","echo":"Please echo {echo}","msg_id":{id}}}}}"#).unwrap();
        writeln!(replies, r#"{{"src":"n0","dest":"c1","body":{{"type":"echo_ok","echo":"Please echo {echo}","in_reply_to":{id}}}}}"#).unwrap();
    }
    (requests, replies)
}

fn node() -> Child {
    let mut child = spawn_pinned(Command::new(env!("CARGO_BIN_EXE_seaworthy-node")).arg("echo"));
    writeln!(child.stdin.as_mut().unwrap(), "{INIT}").unwrap();
    let mut answer = vec![0; INIT_OK.len() + 1];
    child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(answer.trim_ascii_end(), INIT_OK.as_bytes());
    child
}

fn copier() -> Child {
    spawn_pinned(Command::new(std::env::current_exe().unwrap()).arg("--copy"))
}

fn copy_stdin() {
    let (mut stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = stdin.read(&mut buffer).unwrap();
        if n == 0 {
            return;
        }
        stdout.write_all(&buffer[..n]).unwrap();
        stdout.flush().unwrap();
    }
}

/// Starts a child on core 0; children inherit where their parent may run.
fn spawn_pinned(command: &mut Command) -> Child {
    pin(0);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    pin(1);
    child
}

/// Moves this thread to a core, if the machine has it.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).unwrap();
    if sched_setaffinity(Pid::from_raw(0), &cores).is_err() {
        println!("cannot use core {core} alone: expect worse numbers");
    }
}

/// Sends `messages` in blocks and compares everything that comes back.
fn measure(mut child: Child, messages: usize, requests: &str, replies: &str) -> Run {
    let count = messages.div_ceil(BLOCK);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let start = Instant::now();
    let (early_kib, wall) = std::thread::scope(|scope| {
        let stdin = &mut stdin;
        scope.spawn(move || (0..count).for_each(|_| stdin.write_all(requests.as_bytes()).unwrap()));
        let mut early_kib = 0;
        let mut got = vec![0; replies.len()];
        for i in 0..count {
            stdout.read_exact(&mut got).unwrap();
            assert!(got == replies.as_bytes(), "a wrong reply in block {i}");
            if i == count / 10 {
                early_kib = peak_kib(&child);
            }
        }
        (early_kib, start.elapsed())
    });
    let run = Run { wall, cpu: cpu_time(&child), early_kib, peak_kib: peak_kib(&child) };
    drop(stdin);
    assert!(child.wait().unwrap().success());
    run
}

/// The most memory a process ever had resident, in KiB.
fn peak_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The processor time of a process so far, its system calls included.
fn cpu_time(child: &Child) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // The name, the second field, may hold spaces; utime and stime are 14 and 15.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks = rest.split_ascii_whitespace().skip(11).take(2);
    let ticks: i64 = ticks.map(|field| field.parse::<i64>().unwrap()).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}
