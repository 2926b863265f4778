//! A challenge of another crate: built outside of this workspace against its paths, it
//! has the whole command line, finds its planted bug, shrinks it, and runs as real processes.
//!
//! The crate is `examples/lock.rs`, so that the example is held to its own words.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The profile of the workspace, so that crates from the registry need not be built again. The crates
/// with a path are: to Cargo they are others than those of the workspace. Unoptimized that takes a
/// fifth of the time.
fn manifest(root: &Path) -> String {
    let root = root.display();
    let local = ["seaworthy", "seaworthy-workloads", "seaworthy-bench"]
        .map(|name| format!("[profile.dev.package.{name}]\nopt-level = 0\ndebug = false\n"))
        .concat();
    format!(
        "[package]\nname = \"lock\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nserde_json = {{ version = \"1\", features = [\"raw_value\"] }}\n\
         seaworthy = {{ path = \"{root}\" }}\nseaworthy-bench = {{ path = \"{root}/bench\" }}\n\
         [profile.dev]\nopt-level = 1\ndebug = \"line-tables-only\"\n{local}[workspace]\n"
    )
}

/// Builds the crate in `dir` and returns its binary.
fn build(dir: &Path) -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = bench.parent().unwrap();
    fs::create_dir(dir.join("src")).unwrap();
    fs::copy(bench.join("examples/lock.rs"), dir.join("src/main.rs")).unwrap();
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    fs::write(dir.join("Cargo.toml"), manifest(root)).unwrap();
    // The directory of this test's own binary is TARGET/PROFILE/deps.
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--quiet"]).current_dir(dir);
    let output = cargo.env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug/lock")
}

fn run(bin: &Path, dir: &Path, args: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(bin).args(args.split_whitespace()).current_dir(dir).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn a_protocol_from_outside_is_explored_shrunk_told_and_run_as_processes() {
    let dir = tempfile::tempdir().unwrap();
    let bin = build(dir.path());
    let run = |args: &str| run(&bin, dir.path(), args);

    let (status, told) = run("explore -w lock --seeds 60 --plan plan.edn -- forgetful");
    assert_eq!(status, Some(1), "{told}");
    for part in ["Invalid: workload: ", "NEMESIS", "kill", "ok acquire", "seaworthy replay"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    // Acquired, killed, acquired: nothing else is needed.
    assert!(told.contains(" to 1 nodes, 2 operations, 1 faults"), "{told}");
    let (status, story) = run("replay plan.edn");
    assert_eq!(status, Some(1), "{story}");
    assert!(told.contains(&story) && !story.contains("not how it failed"), "{story}");

    let (status, told) = run("explore -w lock --seeds 60");
    assert_eq!(status, Some(0), "the node without the bug: {told}");

    let real =
        format!("test -w lock --bin {} --time-limit 1 --seed 1 --rate 50 -- node", bin.display());
    let (status, told) = run(&real);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("Everything looks good!"), "{told}");
    let (status, told) = run("check -w lock store/latest");
    assert_eq!(status, Some(0), "{told}");
    let (status, told) = run("explore -w echo");
    assert_eq!(status, Some(254), "{told}");
    assert!(told.contains("there is no workload echo; there are lock"), "{told}");
    assert!(!told.contains("Exploring"), "{told}");
}
