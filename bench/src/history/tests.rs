//! Jepsen's files come back byte for byte; what is no history is refused with a reason.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Every recorded `history.edn`.
fn recorded() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("histories");
    let dirs = ["maelstrom", "maelstrom-broken"].map(|dir| root.join(dir));
    let workloads = dirs.iter().flat_map(|dir| fs::read_dir(dir).expect("fixtures"));
    let files = workloads.map(|entry| entry.expect("entry").path().join("history.edn"));
    // A directory may hold a transcript and nothing else.
    let files: Vec<_> = files.filter(|file| file.exists()).collect();
    assert!(files.len() >= 20, "{} histories", files.len());
    files
}

#[test]
fn recorded_histories_come_back_byte_for_byte() {
    for file in recorded() {
        let text = fs::read_to_string(&file).expect("fixture");
        let history = read(&file).expect("a history");
        assert!(to_edn_lines(&history) == text, "{}", file.display());
        assert!(pairs(&history).is_ok(), "{}", file.display());
    }
}

#[test]
fn every_format_holds_the_same_history() {
    for file in recorded() {
        let history = read(&file).expect("a history");
        let json = from_text(&to_json_lines(&history)).expect("our own JSON");
        assert!(to_edn_lines(&json) == to_edn_lines(&history), "{}", file.display());
        let records: Vec<Edn> = history.iter().map(Op::to_record).collect();
        let vector = from_text(&Edn::Vector(records).pretty()).expect("a vector of records");
        assert!(vector == history, "{}", file.display());
    }
}

#[test]
fn txt_is_tab_separated() {
    let history = from_text(
        r#"{:type :invoke, :process 0, :f :echo, :value "hi"}
           {:type :fail, :process 0, :f :echo, :value "hi", :error [:timeout "5 s"]}
           {:type :info, :process :nemesis, :f :start-partition, :value {"n0" #{"n1"}}}
           {:type :info, :process 1, :f :read, :error "broken pipe"}"#,
    );
    let expected = "0\t:invoke\t:echo\t\"hi\"\n\
                    0\t:fail\t:echo\t\"hi\"\t[:timeout \"5 s\"]\n\
                    :nemesis\t:info\t:start-partition\t{\"n0\" #{\"n1\"}}\n\
                    1\t:info\t:read\tnil\tbroken pipe\n";
    assert_eq!(to_txt(&history.expect("a history")), expected);
}

#[test]
fn what_is_missing_is_filled_in() {
    let history = from_text(
        "; a comment first\n [{:process 3, :type :invoke, :f :read}, {:index 7, :time 5, :process 3,
         :type :ok, :f :read, :value [1], :final? true, :debug {:n 1}}]",
    )
    .expect("a history");
    assert_eq!(history.iter().map(|op| op.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(history[0].value, Edn::Nil);
    assert!(history[1].is_final);
    assert_eq!(
        history[1].to_edn().to_string(),
        "{:index 1, :time 5, :type :ok, :process 3, :f :read, :value [1], :final? true, :debug {:n 1}}"
    );
}

#[test]
fn complaints_name_line_and_reason() {
    let good = "{:index 0, :type :invoke, :process 0, :f :read}\n";
    let table = [
        ("{:type :done, :process 0, :f :read}", "line 2: unknown :type :done"),
        ("{:process 0, :f :read}", "line 2: no :type"),
        ("{:type :ok, :f :read}", "line 2: no :process"),
        ("{:type :ok, :process 0}", "line 2: no :f"),
        (
            "{:type :ok, :process -1, :f :a}",
            "line 2: :process is -1, neither a number nor :nemesis",
        ),
        ("{:index 0, :type :ok, :process 0, :f :a}", "line 2: :index 0 after :index 0"),
        ("{:time 1.5, :type :ok, :process 0, :f :a}", "line 2: :time is 1.5, no integer"),
        ("{\"type\" :ok}", "line 2: key \"type\" is no keyword"),
        ("[1 2]", "line 2: expected an operation, found [1 2]"),
        ("#foo{:a 1}", "line 2: expected an operation, found #foo"),
        ("{:type :ok, :process", "line 2: column 21: expected a value, found the end"),
    ];
    for (record, complaint) in table {
        let error = from_text(&format!("{good}{record}")).map_err(|e| e.to_string());
        assert_eq!(error, Err(complaint.to_owned()), "{record}");
    }
    let error = from_text("[{:type :ok, :process 0, :f :a}\n\n").map_err(|e| e.to_string());
    assert_eq!(error, Err("line 3: the vector of operations is never closed".to_owned()));
    let error = from_text("{\"type\": \"ok\"}").map_err(|e| e.to_string());
    assert_eq!(error, Err("line 1: no :process".to_owned()));
    let missing = read(std::path::Path::new("/nonexistent/history.edn")).map_err(|e| e.to_string());
    assert!(missing.is_err_and(|e| e.starts_with("/nonexistent/history.edn: ")));
}

fn paired(text: &str) -> Result<String, String> {
    let history = from_text(text).expect("a history");
    let pairs = pairs(&history).map_err(|e| e.to_string())?;
    let show = |pair: &Pair<'_>| {
        format!("{}-{}", pair.invoke.index, pair.completion.map_or(-1, |op| op.index as i64))
    };
    Ok(pairs.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[test]
fn pairs_join_invocations_and_completions() {
    let op = |kind: &str, process: u64, f: &str| {
        format!("{{:type :{kind}, :process {process}, :f :{f}}}\n")
    };
    let overlapping = op("invoke", 0, "a")
        + &op("invoke", 1, "b")
        + "{:type :info, :process :nemesis, :f :kill}"
        + &op("ok", 1, "b")
        + &op("fail", 0, "a")
        + &op("invoke", 0, "a");
    assert_eq!(paired(&overlapping), Ok("0-4 1-3 5--1".to_owned()));
    let twice = op("invoke", 0, "a") + &op("invoke", 0, "b");
    let never = op("invoke", 0, "a") + &op("ok", 1, "a");
    let other = op("invoke", 0, "a") + &op("ok", 0, "b");
    assert_eq!(
        paired(&twice),
        Err("process 0 invokes at index 1 while its operation 0 is open".to_owned())
    );
    assert_eq!(
        paired(&never),
        Err("process 1 completes at index 1 but has invoked nothing".to_owned())
    );
    assert_eq!(
        paired(&other),
        Err("process 0 completes at index 1 what it did not invoke".to_owned())
    );
}
