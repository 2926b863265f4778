//! The table of shapes, and the costs of each.

use std::fs;
use std::process::Command;

use seaworthy_bench::check::linear::check_lin_kv;

use crate::generate::{Plan, correct, garbled, mutated};

/// The fault of a history.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// So many reads saw another value.
    Stale(usize),
    /// The last read saw a value that was never written.
    Garbage,
}

/// Clients, operations, keys, values, indeterminate ones of a thousand, reads:writes:cas.
type Row = (usize, usize, usize, usize, usize, [usize; 3]);

const ROWS: [Row; 16] = [
    (2, 100_000, 1, 5, 20, [1, 1, 1]),
    (5, 100_000, 1, 5, 10, [1, 1, 1]),
    (5, 100_000, 1, 50, 20, [1, 1, 1]),
    (8, 50_000, 1, 20, 10, [1, 1, 1]),
    (8, 100_000, 1, 5, 10, [1, 1, 1]),
    (8, 100_000, 1, 50, 10, [1, 1, 1]),
    (8, 100_000, 1, 50, 20, [1, 1, 0]),
    (20, 100_000, 10, 5, 10, [2, 1, 2]),
    (20, 1_000_000, 10, 5, 10, [2, 1, 2]),
    (20, 100_000, 100, 5, 50, [2, 1, 2]),
    (20, 20_000, 1, 5, 50, [1, 1, 20]),
    (20, 10_000, 1, 5, 0, [2, 1, 2]),
    (20, 10_000, 1, 5, 50, [2, 1, 2]),
    (20, 10_000, 1, 5, 300, [2, 1, 2]),
    (60, 10_000, 1, 5, 10, [2, 1, 2]),
    (100, 10_000, 1, 5, 50, [2, 1, 2]),
];

const FAULTS: [Fault; 4] = [Fault::None, Fault::Stale(1), Fault::Stale(1000), Fault::Garbage];

/// Where the table is in the document, and the text after it.
const HEAD: &str = "## Measured\n";
const NEXT: &str = "\n## ";

/// Judges one history in this process, and tells its verdict and costs: `valid | 0.12 s | 34 MB`.
pub(crate) fn measure(number: usize) -> Result<String, String> {
    let (row, fault) = (ROWS.get(number / FAULTS.len()), FAULTS[number % FAULTS.len()]);
    let &(processes, operations, keys, values, info_per_mille, mix) = row.ok_or("no such case")?;
    let plan = Plan { operations, keys, processes, values, info_per_mille, mix };
    let history = match fault {
        Fault::None => correct(plan, 1),
        Fault::Stale(count) => mutated(plan, 1, count),
        Fault::Garbage => garbled(plan, 1),
    };
    let before = cpu()?;
    let outcome = check_lin_kv(&history);
    let seconds = cpu()? - before;
    let verdict = format!("{:?}", outcome.verdict).to_lowercase();
    Ok(format!("{seconds:.2} s | {} MB | {verdict}", peak()?))
}

/// Seconds of this process on any core: fields 14 and 15 of `/proc/self/stat`, in hundredths.
fn cpu() -> Result<f64, String> {
    let text = fs::read_to_string("/proc/self/stat").map_err(|why| format!("CPU time: {why}"))?;
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>().map_err(|why| format!("CPU time: {why}"))?;
    Ok(ticks as f64 / 100.0)
}

/// The most memory that this process had, in megabytes.
fn peak() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/self/status").map_err(|why| format!("memory: {why}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.ok_or("memory: no VmHWM")? / 1024)
}

/// The whole table, each case in a process of its own.
pub(crate) fn make() -> Result<String, String> {
    let mut table = String::from(
        "| clients | operations | keys | values | indeterminate | read:write:cas | history | CPU | peak | verdict |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let this = std::env::current_exe().map_err(|why| why.to_string())?;
    for (at, (clients, operations, keys, values, info, [r, w, c])) in ROWS.iter().enumerate() {
        for (fault, kind) in FAULTS.iter().enumerate() {
            let number = (at * FAULTS.len() + fault).to_string();
            let output = Command::new(&this).args(["case", &number]).output();
            let output = output.map_err(|why| why.to_string())?;
            let measured = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let name = match kind {
                Fault::None => "good".to_owned(),
                Fault::Stale(count) => format!("bad: {count} stale"),
                Fault::Garbage => "bad: garbage".to_owned(),
            };
            let share = *info as f64 / 10.0;
            table += &format!(
                "| {clients} | {operations} | {keys} | {values} | {share} % | {r}:{w}:{c} | {name} | {measured} |\n"
            );
        }
    }
    Ok(table)
}

/// `text` with `table` as its section on the measurements.
pub(crate) fn replaced(text: &str, table: &str) -> Result<String, String> {
    let (before, rest) = text.split_once(HEAD).ok_or("there is no section Measured")?;
    let after = rest.find(NEXT).map_or("", |at| &rest[at..]);
    let machine = machine();
    Ok(format!(
        "{before}{HEAD}\n`cargo bench -p seaworthy-bench --bench linear -- write docs/checkers.md` wrote this \
         table, on {machine}.\nEach line is one check in a process of its own; the memory includes the history. \
         *Bad* histories\nare good ones with another value in so many reads (*stale*), or a value that \
         was never written in\nthe last one (*garbage*). A stale read among many clients, or where many \
         operations are\nindeterminate, often has an explanation: then it is valid.\n\n{table}{after}"
    ))
}

/// The processor, as the system calls it.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or("this machine".into(), |name| name.trim_matches([' ', '\t', ':']).to_owned())
}
