//! The process arm: real binaries, spoken to over stdin and stdout.
//!
//! Each child has a thread that reads what it prints and one that writes what it
//! is to read, so that a child that is stopped, or does not read, holds up nobody
//! else. What it prints on stderr goes to its log file. A child is the leader of a
//! process group, and signals go to the whole group, so that a wrapper script does not
//! shield the node behind it.

// Real time, threads and signals are what this module is for.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;

use super::{Act, Cluster, NodeFault, Outbox, shorten};
use crate::world::World;

/// How many messages may wait between the readers and the world; beyond that a
/// child that prints faster is held up by its own pipe.
const BACKLOG: usize = 10_000;
/// The longest line that is taken from a child.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// How many lines of a log a report shows.
const LAST_LINES: usize = 10;

/// How to run a node.
#[derive(Clone, Debug)]
pub struct NodeCommand {
    /// The binary.
    pub bin: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory for the nodes' logs.
    pub log_dir: PathBuf,
    /// Whether to copy the nodes' stderr to the bench's own.
    pub echo_stderr: bool,
}

/// What a reader thread saw: a message or fault, or that the output ended.
struct Heard {
    node: usize,
    life: u64,
    what: Option<Act>,
}

/// Children, one for each node.
pub struct ProcessCluster {
    command: NodeCommand,
    names: Vec<NodeId>,
    running: Vec<Option<Running>>,
    lives: u64,
    heard: SyncSender<Heard>,
}

struct Running {
    child: Child,
    life: u64,
    input: Sender<Packet>,
}

/// The receiving end of a [`ProcessCluster`].
pub struct Ears(Receiver<Heard>);

impl ProcessCluster {
    /// A cluster of children that have not been started.
    pub fn new(command: NodeCommand, names: Vec<NodeId>) -> (ProcessCluster, Ears) {
        let (heard, ears) = mpsc::sync_channel(BACKLOG);
        let running = names.iter().map(|_| None).collect();
        (ProcessCluster { command, names, running, lives: 0, heard }, Ears(ears))
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.command.log_dir.join(format!("{}.log", self.names[node]))
    }

    fn spawn(&mut self, node: usize) -> std::io::Result<Running> {
        let stderr = if self.command.echo_stderr {
            Stdio::inherit()
        } else {
            let log = File::options().create(true).append(true).open(self.log_path(node))?;
            Stdio::from(log)
        };
        let mut child = Command::new(&self.command.bin)
            .args(&self.command.args)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        self.lives += 1;
        let life = self.lives;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (input, lines) = mpsc::channel();
        let heard = self.heard.clone();
        thread::spawn(move || write_all(stdin, &lines));
        thread::spawn(move || read_all(stdout, node, life, &heard));
        Ok(Running { child, life, input })
    }

    fn signal(&self, node: usize, signal: Signal) {
        if let Some(running) = &self.running[node] {
            let group = Pid::from_raw(running.child.id().cast_signed());
            // The group may have ended on its own; the reader will tell.
            let _ = killpg(group, signal);
        }
    }

    /// Whether output of this life may end: only if the child was killed.
    fn ended(&mut self, node: usize, life: u64) -> Option<NodeFault> {
        let running = self.running[node].as_mut()?;
        if running.life != life {
            return None;
        }
        // A child may close stdout and live on, mute; give it a moment to exit.
        let status = wait_briefly(&mut running.child);
        let status = status.map_or("closed its stdout".to_owned(), tell_status);
        self.signal(node, Signal::SIGKILL);
        Some(NodeFault::Exited { status })
    }
}

fn wait_briefly(child: &mut Child) -> Option<ExitStatus> {
    for _ in 0..50 {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

fn tell_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "status unknown".into(),
    }
}

impl Cluster for ProcessCluster {
    fn start(&mut self, _now: Time, node: usize, out: &mut Outbox) {
        match self.spawn(node) {
            Ok(running) => self.running[node] = Some(running),
            Err(error) => {
                let reason = format!("{}: {error}", self.command.bin.display());
                out.acts.push((node, Act::Fault(NodeFault::NotStarted { reason })));
            }
        }
    }

    fn deliver(&mut self, _now: Time, node: usize, packet: Packet, _out: &mut Outbox) {
        if let Some(running) = &self.running[node] {
            // The writer is gone if the child closed its stdin; then it hears nothing.
            let _ = running.input.send(packet);
        }
    }

    fn wake(&mut self, _now: Time, _node: usize, _out: &mut Outbox) {}

    fn kill(&mut self, _now: Time, node: usize) {
        self.signal(node, Signal::SIGKILL);
        if let Some(mut running) = self.running[node].take() {
            let _ = running.child.wait();
        }
    }

    fn pause(&mut self, _now: Time, node: usize) {
        self.signal(node, Signal::SIGSTOP);
    }

    fn resume(&mut self, _now: Time, node: usize, _out: &mut Outbox) {
        self.signal(node, Signal::SIGCONT);
    }

    fn mute(&mut self, _node: usize) {}

    fn last_lines(&self, node: usize) -> Vec<String> {
        let Ok(text) = fs::read(self.log_path(node)) else { return Vec::new() };
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(LAST_LINES));
        tail.map(|line| shorten(line, 300)).collect()
    }
}

impl Drop for ProcessCluster {
    fn drop(&mut self) {
        for node in 0..self.running.len() {
            self.kill(Time::ZERO, node);
        }
    }
}

fn write_all(stdin: ChildStdin, lines: &Receiver<Packet>) {
    let mut out = BufWriter::new(stdin);
    let mut line = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        while let Some(packet) = next {
            line.clear();
            packet.write_line(&mut line);
            if out.write_all(&line).is_err() {
                return;
            }
            next = lines.try_recv().ok();
        }
        if out.flush().is_err() {
            return;
        }
    }
}

fn read_all(stdout: ChildStdout, node: usize, life: u64, heard: &SyncSender<Heard>) {
    let mut reader = BufReader::with_capacity(1 << 16, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let what = match read {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(understand(&line)),
        };
        let ended = what.is_none();
        if heard.send(Heard { node, life, what }).is_err() || ended {
            return;
        }
    }
}

fn understand(line: &[u8]) -> Act {
    match Packet::from_line(line) {
        Ok(packet) => Act::Send(packet),
        Err(error) => {
            let text = String::from_utf8_lossy(line);
            let line = shorten(text.trim_end(), 200);
            Act::Fault(NodeFault::Garbage { line, reason: error.to_string() })
        }
    }
}

/// Runs a world of children to its end, on the real clock. `watch` is called now
/// and then with the world, for a display of progress.
pub fn run(
    world: &mut World<ProcessCluster>,
    ears: &Ears,
    watch: &mut dyn FnMut(&World<ProcessCluster>),
) {
    let start = Instant::now();
    let clock = || Time::ZERO + start.elapsed();
    world.begin();
    while let Some(next) = world.next_time() {
        let first = match ears.0.recv_timeout(next - clock()) {
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the cluster holds a sender"),
        };
        // A bounded helping, so that a child that never stops cannot stop time.
        let more = std::iter::from_fn(|| ears.0.try_recv().ok());
        for Heard { node, life, what } in first.into_iter().chain(more.take(BACKLOG / 10)) {
            let what = what.or_else(|| world.cluster_mut().ended(node, life).map(Act::Fault));
            let acts = what.into_iter().map(|act| (node, act)).collect();
            world.take_in(clock(), Outbox { acts, wakes: Vec::new() });
        }
        while world.next_time().is_some_and(|at| at <= clock()) {
            world.step(clock());
        }
        watch(world);
    }
}

/// Milliseconds since 1970, for names of directories, seeds nobody chose, and the
/// time a command took.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Resolves the binary's path as a shell would see it from here, since children
/// run elsewhere.
///
/// # Errors
/// If there is no such file.
pub fn resolve(bin: &Path) -> Result<PathBuf, String> {
    fs::canonicalize(bin).map_err(|e| format!("--bin {}: {e}", bin.display()))
}
