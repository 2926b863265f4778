//! The linearizability checker on whole histories: Maelstrom's own verdicts,
//! hand-written ones with theirs, and large simulated ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../benches/linear/generate.rs"]
mod generate;

use generate::{Plan, correct, mutated};
use seaworthy_bench::check::Verdict;
use seaworthy_bench::check::linear::{check, check_lin_kv, model};
use seaworthy_bench::edn::parse;
use seaworthy_bench::history;

fn histories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

#[test]
fn results_are_those_of_maelstrom() {
    for dir in ["maelstrom", "maelstrom-broken"] {
        let dir = histories().join(dir).join("lin-kv");
        let history = history::read(&dir.join("history.edn")).expect("a history");
        let text = fs::read_to_string(dir.join("results.edn")).expect("results");
        let expected = parse(&text).expect("EDN");
        let expected = expected.get("workload").expect("a workload result");
        let actual = check_lin_kv(&history).to_edn();
        assert_eq!(actual.pretty(), expected.pretty());
    }
}

/// Each file pins its verdict and entries of the result in its first comments:
/// `; verdict: invalid`, `; shows: :failures [0]`.
#[test]
fn histories_judged_by_hand() {
    let mut seen = 0;
    for file in fs::read_dir(histories().join("hand/lin-kv")).expect("fixtures") {
        let file = file.expect("entry").path();
        let text = fs::read_to_string(&file).expect("fixture");
        let comment = |key: &str| {
            let key = format!("; {key}: ");
            text.lines().filter_map(move |line| line.strip_prefix(&key).map(str::to_owned))
        };
        let history = history::from_text(&text).expect("a history");
        let judgement = check_lin_kv(&history);
        let verdict = format!("{:?}", judgement.verdict).to_lowercase();
        let result = judgement.to_edn().to_string();
        let pinned: Vec<String> = comment("verdict").collect();
        assert_eq!(pinned, [verdict], "{}: {result}", file.display());
        for shown in comment("shows") {
            assert!(result.contains(&shown), "{}: {shown} not in {result}", file.display());
        }
        let is_invalid = judgement.verdict == Verdict::Invalid;
        assert_eq!(judgement.story.is_some(), is_invalid, "{}", file.display());
        seen += 1;
    }
    assert!(seen >= 20, "{seen} histories");
}

#[test]
fn the_story_fits_on_a_screen_and_names_what_matters() {
    let file = histories().join("hand/lin-kv/two-cas-from-one-value.edn");
    let history = history::read(&file).expect("a history");
    let story = check_lin_kv(&history).story.expect("it is invalid");
    assert_eq!(
        story,
        "key 0 is not linearizable: this operation cannot have happened\n  \
           process 2 cas [1 3]        from 3 to 5\n\
         When it returned, the only possible values were\n  \
           2        after cas [1 2]: can't CAS 2 from 1 to 3\n\
         Open at that time: nothing\n\
         Returned before, the last one last\n  \
           process 0 write 1          from 0 to 1\n  \
           process 1 cas [1 2]        from 2 to 4\n"
    );
}

/// Twenty clients on ten keys, as a test of a minute leaves them behind.
const PLAN: Plan = Plan {
    operations: 3000,
    keys: 10,
    processes: 20,
    values: 5,
    info_per_mille: 20,
    mix: [2, 1, 2],
};

#[test]
fn simulated_registers_are_linearizable() {
    for seed in 0..20 {
        let outcome = check_lin_kv(&correct(PLAN, seed));
        assert_eq!(outcome.verdict, Verdict::Valid, "seed {seed}");
    }
}

#[test]
fn one_key_that_everybody_uses_is_decided() {
    let plan = Plan { operations: 1000, keys: 1, info_per_mille: 50, ..PLAN };
    for seed in 0..5 {
        let outcome = check_lin_kv(&correct(plan, seed));
        assert_eq!(outcome.verdict, Verdict::Valid, "seed {seed}");
        let outcome = check_lin_kv(&mutated(plan, seed, 200));
        assert_eq!(outcome.verdict, Verdict::Invalid, "seed {seed}");
    }
}

#[test]
fn wrong_reads_are_found() {
    // Few clients on many keys: then a wrong read has no excuse.
    let plan = Plan { processes: 4, info_per_mille: 0, ..PLAN };
    for seed in 0..20 {
        let judgement = check_lin_kv(&mutated(plan, seed, 5));
        assert_eq!(judgement.verdict, Verdict::Invalid, "seed {seed}");
        let story = judgement.story.expect("it is invalid");
        assert!(story.lines().count() <= 40, "{story}");
    }
}

/// Writes of distinct values that time out, and a read of a value that was never written:
/// telling the ways to the possible values must not cost more than finding the fault.
#[test]
fn a_story_with_many_pending_operations_is_bounded() {
    let mut text = String::new();
    for i in 0..2000 {
        text += &format!("{{:process {i}, :type :invoke, :f :write, :value {i}}}\n");
        text += &format!("{{:process {i}, :type :info, :f :write, :value {i}}}\n");
    }
    text += "{:process 9999, :type :invoke, :f :read, :value nil}\n";
    text += "{:process 9999, :type :ok, :f :read, :value -1}\n";
    let history = history::from_text(&text).expect("a history");
    let judgement = check(model::by_name("cas-register").expect("a model"), &history);
    assert_eq!(judgement.verdict, Verdict::Invalid);
    let story = judgement.story.expect("it is invalid");
    assert!(story.contains("... and 1991 more") && !story.contains("cut"), "{story}");
    assert!(story.lines().count() <= 40, "{story}");
}

/// Few clients on one key, with indeterminate operations all along.
#[test]
fn a_long_history_of_few_clients_is_decided() {
    let plan = Plan { operations: 20_000, keys: 1, processes: 5, info_per_mille: 10, ..PLAN };
    assert_eq!(check_lin_kv(&correct(plan, 1)).verdict, Verdict::Valid);
}

/// `seaworthy check` of a file: its exit status and its output.
fn checked(file: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .arg("check")
        .args(flags)
        .arg(file)
        .output()
        .expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_command_line_says_what_an_object_begins_with() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("history.edn");
    let ops = "{:process 0 :type :invoke :f :read :value nil}\n\
               {:process 0 :type :ok :f :read :value 3}\n";
    fs::write(&file, ops).expect("written");
    let begin = |model: &str, initial: &str| {
        let (status, text) = checked(&file, &["--model", model, "--initial", initial]);
        assert!(!text.trim_end().ends_with(':'), "no reason after the colon: {text}");
        (status, text)
    };
    assert_eq!(begin("register", "3").0, Some(0));
    assert_eq!(begin("register", "4").0, Some(1));
    for (model, fits) in [("mutex", "held"), ("multi-register", "a map"), ("queue", "a sequence")] {
        // A usage error names the flag, its value and the values that would fit.
        let (status, text) = begin(model, "3");
        assert_eq!(status, Some(254), "{text}");
        assert!(text.contains("--initial 3: ") && text.contains(fits), "{text}");
    }
    let (status, text) = begin("set", "[1");
    assert!(status == Some(254) && text.contains("not EDN"), "{text}");
    // A history that does not fit the model is unknown, with the operation.
    let (status, text) = begin("mutex", "true");
    assert!(status == Some(2) && text.contains("a mutex has no operation read"), "{text}");
}

/// Queues and strings have no end of states if a pending call may take effect again and again.
#[test]
fn an_impossible_answer_beside_a_pending_call_is_refuted_at_once() {
    let pending = |f: &str, value: &str, read: &str, seen: &str| {
        format!(
            "{{:type :invoke, :process 1, :f :{f}, :value {value}}}\n\
             {{:type :invoke, :process 0, :f :{read}, :value nil}}\n\
             {{:type :ok, :process 0, :f :{read}, :value {seen}}}\n"
        )
    };
    for (name, f, value, read, [explained, impossible]) in [
        ("queue", "enqueue", "2", "dequeue", ["2", "7"]),
        ("fifo-queue", "enqueue", "2", "dequeue", ["2", "7"]),
        ("unordered-queue", "enqueue", "2", "dequeue", ["2", "7"]),
        ("append-kv", "append", "\"a\"", "get", ["\"a\"", "\"zz\""]),
        ("register", "write", "2", "read", ["2", "7"]),
        ("set", "add", "2", "read", ["[2]", "[7]"]),
    ] {
        for (seen, verdict) in [(explained, Verdict::Valid), (impossible, Verdict::Invalid)] {
            let history = history::from_text(&pending(f, value, read, seen)).expect("a history");
            let judgement = check(model::by_name(name).expect("a model"), &history);
            assert_eq!(judgement.verdict, verdict, "{name}: {seen}");
        }
    }
}

/// The same with many pending calls, in the memory and the time that a check may take.
#[cfg(target_os = "linux")]
#[test]
fn many_pending_calls_cost_a_second_and_200_megabytes_at_most() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("history.edn");
    // An unoptimized build takes about ten times as long.
    let seconds = if cfg!(debug_assertions) { 20 } else { 1 };
    let limits = format!("ulimit -v 204800; ulimit -t {seconds}; exec \"$0\" \"$@\"");
    let judged = |model: &str, history: &str| {
        fs::write(&file, history).expect("written");
        let output = Command::new("sh")
            .args(["-c", &limits, env!("CARGO_BIN_EXE_seaworthy"), "check", "--model", model])
            .arg(&file)
            .output()
            .expect("the command runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let quoted = |number: usize| format!("\"a{number}\"");
    for (model, f, read, seen) in [
        ("queue", "enqueue", "dequeue", "-7"),
        ("unordered-queue", "enqueue", "dequeue", "-7"),
        ("append-kv", "append", "get", "\"zz\""),
        ("set", "add", "read", "[-7]"),
    ] {
        let value = |number: usize| match model {
            "append-kv" => quoted(number),
            _ => number.to_string(),
        };
        let result = |number: usize| match model {
            "set" => format!("[{number}]"),
            _ => value(number),
        };
        for count in [20, 200, 3000] {
            let begin = |number: usize| {
                format!("{{:process {number} :type :invoke :f :{f} :value {}}}\n", value(number))
            };
            let mut text: String = (0..count).map(begin).collect();
            let ask = |text: &mut String, result: &str| {
                for (kind, value) in [("invoke", "nil"), ("ok", result)] {
                    *text +=
                        &format!("{{:process {count} :type :{kind} :f :{read} :value {value}}}\n");
                }
            };
            let mut impossible = text.clone();
            ask(&mut impossible, seen);
            let (status, told) = judged(model, &impossible);
            assert_eq!(status, Some(1), "{model}, {count}: {told}");
            // The same beside a read of a value that is possible: the search may give up.
            ask(&mut text, &result(1));
            ask(&mut text, seen);
            let (status, told) = judged(model, &text);
            assert!(matches!(status, Some(1 | 2)), "{model}, {count}: {status:?} {told}");
        }
    }
}
