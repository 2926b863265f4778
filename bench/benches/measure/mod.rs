//! Judges a large history as `seaworthy check` does: from a file.
//!
//! The history is written by a process of its own, so that the memory of this one is that of
//! reading and judging alone.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use seaworthy_bench::challenge::Challenges;
use seaworthy_bench::check::{CheckOptions, Verdict};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::{Op, OpType};

/// The first argument of a process that only writes the history.
const WRITE: &str = "--write-to";

/// Where the operations go: a line each.
pub(crate) struct Sink {
    file: BufWriter<File>,
    written: usize,
}

impl Sink {
    pub(crate) fn record(&mut self, process: u64, kind: OpType, f: &str, value: Edn) {
        let (index, time) = (self.written, self.written as i64 * 1000);
        let op = Op { index, time, ..Op::new(kind, process, f, value) };
        self.written += 1;
        writeln!(self.file, "{}", op.to_edn()).unwrap();
    }
}

/// Has `write` write the history of these arguments in a process of its own, judges it, and
/// prints how long that took, in how much memory.
pub(crate) fn run(workload: &str, write: impl FnOnce(Sink, &[String]), is_valid: bool) {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [first, path, rest @ ..] = &args[..]
        && first == WRITE
    {
        let file = BufWriter::new(File::create(path).unwrap());
        return write(Sink { file, written: 0 }, rest);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.edn");
    let mut writer = Command::new(std::env::current_exe().unwrap());
    assert!(writer.arg(WRITE).arg(&path).args(&args).status().unwrap().success());
    judged(workload, &path, is_valid);
}

fn judged(workload: &str, path: &Path, is_valid: bool) {
    let text = path.metadata().unwrap().len() >> 20;
    let start = Instant::now();
    let challenges = Challenges::builtin();
    let judge = challenges.judge(workload).unwrap();
    let tape = judge.read(path).unwrap();
    let (read, memory) = (start.elapsed().as_secs_f64(), peak_mib());
    let outcome = judge.judge(&tape, &CheckOptions::default());
    let seconds = start.elapsed().as_secs_f64();
    assert!(!is_valid || outcome.verdict == Verdict::Valid, "{}", outcome.to_edn());
    println!(
        "{} operations of {workload}, {text} MiB of text: {:?} in {seconds:.1} s and {} MiB, \
         of which reading took {read:.1} s and {memory} MiB",
        tape.heads().len() / 2,
        outcome.verdict,
        peak_mib()
    );
}

/// The most memory this process has held at once.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}
