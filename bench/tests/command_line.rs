//! The command lines of Jepsen's tests, and the files that a run leaves where tools look.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn seaworthy(store: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    let (name, flags) = line.split_first().unwrap();
    // Before the flags, since behind `--` it would be the node's.
    command.arg(name).arg("--store").arg(store).args(flags).current_dir(store);
    command
}

fn run(store: &Path, line: &str) -> (Option<i32>, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    told(&seaworthy(store, &words).output().unwrap())
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

const NODE: &str = env!("CARGO_BIN_EXE_faulty-node");

#[test]
fn every_flag_of_jepsens_tests_is_taken() {
    let store = tempfile::tempdir().unwrap();
    fs::write(store.path().join("names"), "b1\r\n\n b2 \n").unwrap();
    let line = format!(
        "test -w echo -w echo --bin {NODE} none --nodes-file names --node a1 -n a2 \
         --time-limit 60 --time-limit 1 --rate 9 --rate 20 --concurrency 1n --concurrency 8 \
         --username u --password p --no-ssh --strict-host-key-checking --ssh-private-key k \
         --leave-db-running --logging-json --init-timeout 20 --consistency-models read-committed"
    );
    let (status, text) = run(store.path(), &line);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("4 nodes") && text.contains("8 workers, 20 ops/s for 1 s"), "{text}");
    let logs = fs::read_dir(store.path().join("latest/node-logs")).unwrap();
    let mut logs: Vec<_> = logs.map(|log| log.unwrap().file_name()).collect();
    logs.sort();
    assert_eq!(logs, ["a1.log", "a2.log", "b1.log", "b2.log"]);

    // The nemesis acts at once, so a second could pass without an answer.
    let blank = "test -w unique-ids --time-limit 20 --node-count 3 --seed 1 --nemesis";
    let words: Vec<&str> = blank.split(' ').chain(["partition, kill"]).collect();
    let output = seaworthy(store.path(), &words).output();
    assert_eq!(told(&output.unwrap()).0, Some(0));
}

#[test]
fn at_rate_0_only_time_passes() {
    let store = tempfile::tempdir().unwrap();
    let line = "test -w lin-kv --node-count 3 --concurrency 2n --rate 0 --time-limit 20 \
                --nemesis partition --nemesis-interval 2";
    let (status, text) = run(store.path(), line);
    assert_eq!(status, Some(2), "{text}");
    let history = fs::read_to_string(store.path().join("latest/history.txt")).unwrap();
    assert!(history.contains("start-partition"), "the nemesis acts");
    assert!(!history.contains("invoke"), "{history}");
}

#[test]
fn a_run_that_tested_nothing_is_not_good() {
    let store = tempfile::tempdir().unwrap();
    let nothing = "No guarantee was seen broken, but no client did anything: not tested.";
    for (flags, sentence) in [
        ("-w echo --time-limit 0", nothing),
        ("-w lin-kv --time-limit 0 --concurrency 2n --nemesis partition", nothing),
        ("-w unique-ids --rate 0", nothing),
        ("-w kafka --time-limit 0", "clients did nothing but :assign :crash :poll: not tested."),
    ] {
        let (status, text) = run(store.path(), &format!("test --node-count 1 {flags}"));
        assert_eq!(status, Some(2), "{flags}: {text}");
        assert!(text.contains(sentence), "{flags}: {text}");
        let line = format!("analyze -t {}", store.path().join("latest").display());
        let (again, text) = run(store.path(), &line);
        assert_eq!(again, Some(2), "{flags}, analyzed: {text}");
        let history = fs::read_to_string(store.path().join("latest/history.txt")).unwrap();
        assert!(!history.contains("partition"), "{history}");
    }
}

#[test]
fn a_run_that_cannot_begin_leaves_the_last_one_alone() {
    let store = tempfile::tempdir().unwrap();
    let (status, text) = run(store.path(), "test -w echo --time-limit 1 --node-count 1");
    assert_eq!(status, Some(0), "{text}");
    let latest = fs::read_link(store.path().join("latest")).unwrap();
    assert_eq!(run(store.path(), "test -w echo --bin ./no-such-node").0, Some(254));
    assert_eq!(fs::read_link(store.path().join("latest")).unwrap(), latest);
    assert_eq!(fs::read_link(store.path().join("current")).unwrap(), latest);
    let by_workload = fs::canonicalize(store.path().join("echo/latest")).unwrap();
    assert_eq!(by_workload, fs::canonicalize(store.path().join("latest")).unwrap());
}

#[test]
fn a_stored_run_is_analyzed_as_it_was_judged() {
    let store = tempfile::tempdir().unwrap();
    let line = "test -w lin-kv --node-count 3 --concurrency 2n --time-limit 5 --rate 50 --seed 3 \
                --availability 0.1 -- lin-kv";
    let (status, tested) = run(store.path(), line);
    let results = |text: &str| text.split_once('{').unwrap().1.to_owned();
    let (again, analyzed) = run(store.path(), "analyze -t -1");
    assert_eq!((status, again), (Some(0), Some(0)), "{tested}{analyzed}");
    assert_eq!(results(&tested), results(&analyzed));
    assert!(run(store.path(), "analyze -t 7").1.contains("holds 1 runs, and none is number 7"));
    let key = store.path().join("latest/independent/0");
    assert!(fs::read_to_string(key.join("results.edn")).unwrap().contains(":valid? true"));
    assert!(fs::read_to_string(key.join("history.edn")).unwrap().contains(":f :write, :value "));
}

#[test]
fn each_run_of_several_has_a_directory_of_its_own() {
    let store = tempfile::tempdir().unwrap();
    let line = format!(
        "test -w echo --bin {NODE} --node-count 1 --time-limit 1 --rate 20 --test-count 2 \
         -- none --data-dir {{run}}"
    );
    let (status, text) = run(store.path(), &line);
    assert_eq!(status, Some(0), "{text}");
    let runs = fs::read_dir(store.path().join("echo")).unwrap().map(|run| run.unwrap());
    let runs = runs.filter(|run| run.file_type().unwrap().is_dir());
    assert_eq!(runs.filter(|run| run.path().join("data").is_dir()).count(), 2);
}

/// A bench on real nodes that runs for a minute, once it has logged 20 operations.
#[allow(clippy::disallowed_methods, reason = "the bench runs beside the test")]
fn running(store: &Path) -> Child {
    let line = format!("test -w echo --bin {NODE} --node-count 2 --time-limit 60 --rate 50 none");
    let words: Vec<&str> = line.split_whitespace().chain(["--log-net-recv"]).collect();
    let mut bench =
        seaworthy(store, &words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bench.stderr.take().unwrap()).lines();
    assert_eq!(lines.by_ref().take(60).count(), 60);
    // The rest is read, or the bench would wait for a reader.
    std::thread::spawn(move || lines.count());
    bench
}

#[test]
fn an_interrupted_run_is_written_and_judged() {
    let store = tempfile::tempdir().unwrap();
    let bench = running(store.path());
    kill(Pid::from_raw(bench.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = bench.wait_with_output().unwrap();
    let (status, text) = told(&output);
    assert_eq!(status, None, "it dies of the signal, so that a script ends, too: {text}");
    let last = "Interrupted, so the verdict is unknown; no anomalies so far\n";
    assert!(text.ends_with(last), "{text}");
    assert!(text.contains(":interrupted {:valid? :unknown, :so-far "), "{text}");
    assert!(text.ends_with(last) && text.contains("\n :valid? :unknown}"), "{text}");
    let history = fs::read_to_string(store.path().join("latest/history.edn")).unwrap();
    assert!(history.lines().count() > 20, "{history}");
    for path in [store.path(), &store.path().join("latest/history.edn")] {
        let (status, text) = told(&judged(&["check", "-w", "echo"], path));
        assert_eq!(status, Some(2), "{text}");
        assert!(text.contains(": unknown: ending: the run was interrupted"), "{text}");
    }
}

#[test]
fn a_killed_run_has_left_its_operations() {
    let store = tempfile::tempdir().unwrap();
    let mut bench = running(store.path());
    bench.kill().unwrap();
    bench.wait().unwrap();
    assert!(!store.path().join("latest").exists());
    let log = store.path().join("current/jepsen.log");
    // As a write leaves it that the kill cut short.
    let mut torn = fs::read_to_string(&log).unwrap();
    torn.push_str("9.9\tINFO\t[jepsen worker 0] jepsen.util: 0\t:invoke\t:echo\t\"Please ec");
    fs::write(&log, torn).unwrap();
    for path in [store.path(), &store.path().join("current"), &log] {
        let (status, text) = told(&judged(&["check", "-w", "echo"], path));
        assert_eq!(status, Some(2), "{text}");
        let told = ": unknown: ending: the run has not ended, or its bench was killed: ";
        assert!(text.contains(told), "{text}");
    }
    let (status, text) = told(&judged(&["analyze", "--store"], store.path()));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("the run has not ended"), "{text}");
    // A log that was copied says nothing about its run.
    let copied = store.path().join("jepsen.log");
    fs::write(&copied, fs::read_to_string(&log).unwrap().rsplit_once('\n').unwrap().0).unwrap();
    let (status, text) = told(&judged(&["check", "-w", "echo"], &copied));
    assert_eq!(status, Some(0), "{text}");
}

/// Runs a command of the bench on a store or a file.
fn judged(words: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seaworthy")).args(words).arg(path).output().unwrap()
}

#[test]
fn a_shown_log_has_names_and_is_kept() {
    let store = tempfile::tempdir().unwrap();
    let line = format!("test -w echo --bin {NODE} --node-count 2 --time-limit 1 --log-stderr none");
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = seaworthy(store.path(), &words).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    for node in ["n0", "n1"] {
        assert!(shown.contains(&format!("{node}: faulty node, fault: none\n")), "{shown}");
        let log = store.path().join(format!("latest/node-logs/{node}.log"));
        assert_eq!(fs::read_to_string(log).unwrap(), "faulty node, fault: none\n");
    }
}

#[test]
fn in_a_pipe_there_are_signs_of_life() {
    let store = tempfile::tempdir().unwrap();
    let line = format!("test -w echo --bin {NODE} none --node-count 1 --time-limit 6");
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = seaworthy(store.path(), &words).output().unwrap();
    let signs = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(signs.contains(" s: running, "), "{signs}");
}

#[test]
fn the_command_on_a_page_names_the_seed_that_was_drawn() {
    let store = tempfile::tempdir().unwrap();
    let (_, shown) = run(store.path(), "test -w echo --node-count 1 --time-limit 1");
    let (_, rest) = shown.split_once(", seed ").unwrap_or_else(|| panic!("no seed: {shown}"));
    let seed: String = rest.chars().take_while(char::is_ascii_digit).collect();
    for file in ["report.html", "run.json"] {
        let text = fs::read_to_string(store.path().join("latest").join(file)).unwrap();
        assert!(text.contains(&format!("--seed {seed}")), "seed {seed} is not in {file}");
    }
}
