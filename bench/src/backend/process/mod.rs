//! The process backend: real binaries, spoken to over stdin and stdout.
//!
//! Each child has a thread that reads its stdout and one that writes its stdin, so that a child
//! that is stopped, or does not read, does not hold up others. Its stderr goes to its log file. A
//! child is the leader of a process group, and signals go to the whole group, so that a wrapper
//! script does not shield the node behind it.

// Real time, threads and signals are the business of this module.
#![allow(clippy::disallowed_methods)]

mod children;
mod line;
mod output;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;

use super::ears::{Ears, ears};
use super::log;
use super::{Cluster, Live, NodeFault, Outbox, Output, Printed, shorten};
pub use children::Children;
pub(super) use children::tell_status;
use output::{Tail, each_line};

/// Linux's error for a file that may be executed but names no interpreter (ENOEXEC).
const NO_INTERPRETER: i32 = nix::libc::ENOEXEC;
/// How much of a line of a log is shown at a time.
const ECHO_BYTES: u64 = 1 << 16;

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
    /// Where the children are entered while they live.
    pub children: Children,
}

/// The output that a reader thread saw of one incarnation of a node.
pub struct Heard {
    node: usize,
    life: u64,
    what: Sound,
}

enum Sound {
    /// A line: a message or a fault.
    Line(Output),
    /// The output ended, with this much of a line that never did.
    End { rest: Vec<u8> },
}

/// Children, one for each node.
pub struct ProcessCluster {
    command: NodeCommand,
    names: Vec<NodeId>,
    running: Vec<Option<Running>>,
    /// The output of each node's last life.
    tails: Vec<Tail>,
    lives: u64,
    heard: SyncSender<Heard>,
}

struct Running {
    child: Child,
    life: u64,
    /// Messages with their numbers.
    input: Sender<(u64, Packet)>,
}

impl ProcessCluster {
    /// A cluster of children that have not been started.
    pub fn new(command: NodeCommand, names: Vec<NodeId>) -> (ProcessCluster, Ears<Heard>) {
        let (heard, ears) = ears();
        let running = names.iter().map(|_| None).collect();
        let tails = names.iter().map(|_| Tail::default()).collect();
        (ProcessCluster { command, names, running, tails, lives: 0, heard }, ears)
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.command.log_dir.join(format!("{}.log", self.names[node]))
    }

    fn spawn(&mut self, node: usize) -> Result<Running, String> {
        let bin = &self.command.bin;
        let run = |program: &Path, first: Option<&Path>| {
            let mut command = Command::new(program);
            command.args(first).args(&self.command.args).current_dir(std::env::temp_dir());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(self.stderr(node)?);
            self.command.children.spawn(&mut command)
        };
        let child = match run(bin, None) {
            // A script that does not say who runs it: `execvp` and Java hand it to the shell.
            Err(e) if e.raw_os_error() == Some(NO_INTERPRETER) => {
                run("/bin/sh".as_ref(), Some(bin))
            }
            child => child,
        };
        let mut child = child.map_err(|e| format!("{}: {}", bin.display(), reason(bin, &e)))?;
        self.lives += 1;
        let life = self.lives;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (input, lines) = mpsc::channel();
        let heard = self.heard.clone();
        self.tails[node] = Tail::default();
        let tail = self.tails[node].clone();
        if let Some(stderr) = child.stderr.take() {
            let (log, name) = (self.log(node), self.names[node].clone());
            thread::spawn(move || echo(stderr, log.ok(), &name));
        }
        thread::spawn(move || write_all(stdin, &lines));
        thread::spawn(move || read_all(stdout, &tail, node, life, &heard));
        Ok(Running { child, life, input })
    }

    fn stderr(&self, node: usize) -> io::Result<Stdio> {
        let log = self.log(node)?;
        // Lines that are shown pass through the bench, too.
        Ok(if self.command.echo_stderr { Stdio::piped() } else { Stdio::from(log) })
    }

    fn log(&self, node: usize) -> io::Result<File> {
        log::open(&self.log_path(node))
    }

    fn signal(&self, node: usize, signal: Signal) {
        if let Some(running) = &self.running[node] {
            self.command.children.signal(&running.child, signal);
        }
    }

    /// Returns the outputs at the end of this incarnation: none if the child was killed, even if
    /// the kill left half a line behind. A last line without an end counts like any other.
    fn ended(&mut self, node: usize, life: u64, rest: &[u8]) -> Vec<Output> {
        let Some(mut running) = self.running[node].take_if(|running| running.life == life) else {
            return Vec::new();
        };
        // A child may close stdout and live on, mute; give it a moment to exit. One that is
        // on its way out but gets no processor keeps its status when it is killed.
        let in_time = wait_briefly(&mut running.child);
        let at_last = self.command.children.kill(&mut running.child).ok();
        let by_itself = |status: &ExitStatus| status.signal() != Some(Signal::SIGKILL as i32);
        let status = in_time.or(at_last.filter(by_itself)).map(tell_status);
        let mut outputs = Vec::new();
        let mut torn = String::new();
        match line::read(rest) {
            _ if rest.is_empty() => {}
            Ok(packet) => outputs.push(Output::Send(packet)),
            Err(_) => torn = shorten(&String::from_utf8_lossy(rest), 200),
        }
        outputs.push(Output::Fault(match status {
            None => NodeFault::ClosedStdout { rest: torn },
            Some(status) if torn.is_empty() => NodeFault::Exited { status },
            Some(status) => {
                NodeFault::Exited { status: format!("{status}, in the middle of a line: {torn}") }
            }
        }));
        outputs
    }
}

impl Live for ProcessCluster {
    type Heard = Heard;

    fn take(&mut self, _now: Time, Heard { node, life, what }: Heard) -> Outbox {
        let outputs = match what {
            Sound::Line(output) => vec![output],
            Sound::End { rest } => self.ended(node, life, &rest),
        };
        let outputs = outputs.into_iter().map(|output| (node, output)).collect();
        Outbox { outputs, wakes: Vec::new() }
    }

    /// The nodes that have exited by themselves although something they left behind
    /// holds their stdout open, so that no reader could tell.
    fn quitters(&mut self) -> Outbox {
        let mut out = Outbox::default();
        for (node, slot) in self.running.iter_mut().enumerate() {
            let status = slot.as_mut().and_then(|running| running.child.try_wait().ok().flatten());
            if let Some(status) = status {
                let status = tell_status(status);
                out.outputs.push((node, Output::Fault(NodeFault::Exited { status })));
            }
        }
        out
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

/// The reason why `bin` could not be started. The kernel's "No such file" about a script that is there means
/// the interpreter that its first line names.
fn reason(bin: &Path, error: &io::Error) -> String {
    let is_missing = error.kind() == io::ErrorKind::NotFound && bin.exists();
    let first = is_missing.then(|| fs::read(bin).ok()).flatten().unwrap_or_default();
    let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.strip_prefix(b"#!") {
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            format!(
                "its first line names an interpreter that is not there: {}",
                name.trim().escape_debug()
            )
        }
        None => error.to_string(),
    }
}

impl Cluster for ProcessCluster {
    fn start(&mut self, _now: Time, node: usize, out: &mut Outbox) {
        match self.spawn(node) {
            Ok(running) => self.running[node] = Some(running),
            Err(reason) => {
                out.outputs.push((node, Output::Fault(NodeFault::NotStarted { reason })));
            }
        }
    }

    fn deliver(&mut self, _now: Time, node: usize, id: u64, packet: Packet, _out: &mut Outbox) {
        if let Some(running) = &self.running[node] {
            // The writer is gone if the child closed its stdin; then it hears nothing.
            let _ = running.input.send((id, packet));
        }
    }

    fn wake(&mut self, _now: Time, _node: usize, _out: &mut Outbox) {}

    fn kill(&mut self, _now: Time, node: usize) {
        if let Some(mut running) = self.running[node].take() {
            // The end of a node that was killed is not reported.
            let _ = self.command.children.kill(&mut running.child);
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
        log::last_lines(&self.log_path(node))
    }

    fn printed(&self, node: usize) -> Option<Printed> {
        Some(self.tails[node].printed())
    }
}

impl Drop for ProcessCluster {
    fn drop(&mut self) {
        for node in 0..self.running.len() {
            self.kill(Time::ZERO, node);
        }
    }
}

fn write_all(stdin: ChildStdin, lines: &Receiver<(u64, Packet)>) {
    let mut out = BufWriter::new(stdin);
    let mut line = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        while let Some((id, packet)) = next {
            line.clear();
            packet.write_numbered_line(id, &mut line);
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

/// Copies the log of a node to its file, and to the bench's stderr with the node's name.
pub(super) fn echo(output: impl Read, mut log: Option<File>, name: &NodeId) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    // A line of any length is copied in pieces.
    while lines.by_ref().take(ECHO_BYTES).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        if let Some(log) = &mut log {
            // A full disk must not stop the node.
            let _ = log.write_all(&line);
        }
        let text = format!("{name}: {}\n", String::from_utf8_lossy(&line).trim_end());
        let _ = io::stderr().write_all(text.as_bytes());
        line.clear();
    }
}

fn read_all(stdout: ChildStdout, tail: &Tail, node: usize, life: u64, heard: &SyncSender<Heard>) {
    let tell = |what| heard.send(Heard { node, life, what }).is_ok();
    let rest = each_line(stdout, tail, |line| tell(Sound::Line(understand(line))));
    tell(Sound::End { rest });
}

fn understand(line: &[u8]) -> Output {
    match line::read(line) {
        Ok(packet) => Output::Send(packet),
        Err(reason) => {
            let line = shorten(&String::from_utf8_lossy(line), 200);
            Output::Fault(NodeFault::Garbage { line, reason })
        }
    }
}

/// A clock that shows the real time since now.
pub fn clock() -> impl Fn() -> Time {
    let start = Instant::now();
    move || Time::ZERO + start.elapsed()
}

/// Milliseconds since 1970, for names of directories, seeds that were not given, and the
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
    let path = fs::canonicalize(bin).map_err(|e| {
        let hint = match bin.components().count() {
            1 if e.kind() == io::ErrorKind::NotFound => "; PATH is not searched, so give its path",
            _ => "",
        };
        format!("--bin {}: {e}{hint}", bin.display())
    })?;
    if path.is_dir() {
        return Err(format!("--bin {}: this is a directory", bin.display()));
    }
    Ok(path)
}
