//! Foreign nodes under the bench, each with the verdict that Maelstrom has for it.
//!
//! A row is a mode of `foreign-node` (tests/support), the flags of the test, the exit status, and
//! words that the output must have. Where our verdict is stricter than the reference's the row says
//! so. To add a node, add a mode and a row.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

mod rows;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rows::{ROWS, Row};

/// How many tests run side by side: they mostly wait.
const WORKERS: usize = 6;

/// The exit status, the output, and the run's history and results.
struct Ran {
    status: Option<i32>,
    text: String,
    history: String,
    results: String,
}

fn test(bin: &Path, flags: &str, args: &[&str]) -> Ran {
    let store = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .arg("test")
        .args(flags.split_whitespace())
        .arg("--bin")
        .arg(bin)
        .arg("--store")
        .arg(store.path())
        .arg("--")
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let file = |name: &str| {
        // A test that could not begin leaves `latest` alone, but has files of its own.
        let path = store.path().join("current").join(name);
        fs::read_to_string(path).unwrap_or_default()
    };
    let (history, results) = (file("history.edn"), file("results.edn"));
    Ran { status: output.status.code(), text: text.into_owned(), history, results }
}

fn foreign_node() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_foreign-node"))
}

/// The difference between the outcome of a row and the expected one, if there is any.
fn complaint(row: &Row) -> Option<String> {
    let args: Vec<&str> = row.mode.split(' ').collect();
    let Ran { status, text, history, results } = test(foreign_node(), row.flags, &args);
    let missing =
        row.says.iter().find(|needle| !text.contains(**needle) && !history.contains(**needle));
    let wrong = match missing {
        _ if status != Some(row.status) => format!("status {status:?}, not {}", row.status),
        Some(needle) => format!("nothing says {needle:?}"),
        None if results.is_empty() => "no results were written".to_owned(),
        None => return None,
    };
    Some(format!("{} with {}: {wrong} in\n{text}", row.mode, row.flags))
}

#[test]
fn every_foreign_node_gets_the_verdict_of_the_reference() {
    let next = AtomicUsize::new(0);
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut complaints = Vec::new();
            while let Some(row) = ROWS.get(next.fetch_add(1, Ordering::Relaxed)) {
                complaints.extend(complaint(row));
            }
            complaints
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// A file in `dir` with this text and mode.
fn script(dir: &Path, text: &str, mode: u32) -> std::path::PathBuf {
    let path = dir.join("node");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_script_that_does_not_name_its_interpreter_is_run_by_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("exec {} \"$@\"\n", foreign_node().display());
    let ran = test(&script(dir.path(), &text, 0o755), rows::ECHO, &["right"]);
    assert_eq!(ran.status, Some(0), "{}", ran.text);
}

#[test]
fn a_node_that_cannot_be_started_breaks_the_test_and_leaves_results() {
    let dir = tempfile::tempdir().unwrap();
    let ran = test(&script(dir.path(), "#!/no/such/interpreter\n", 0o755), rows::ECHO, &[]);
    assert_eq!(ran.status, Some(255), "{}", ran.text);
    assert!(ran.text.contains("could not be started"), "{}", ran.text);
    assert!(ran.results.contains("could not be started"), "{}", ran.results);
}
