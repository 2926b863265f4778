//! Jepsen's files come back byte for byte; a text that is not a history is refused with a reason.

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

/// Lines are written without the map that they are.
#[test]
fn a_line_is_the_map_of_its_operation() {
    let text = r#"{:index 0, :time -5, :type :ok, :process 3, :f :read, :value [1 nil "a\"b"],
                   :error [:timeout "5 s"], :final? true, :poll-ms 7, :odd/key {"k" #{1}}}
                  {:index 1, :time 6, :type :info, :process :nemesis, :f :kill, :value {"n0" #{"n1"}}}"#;
    let mut histories: Vec<_> =
        recorded().iter().map(|file| read(file).expect("a history")).collect();
    let mut odd = from_text(text).expect("a history");
    odd[0].process = Process::Client(u64::MAX);
    histories.push(odd);
    for history in histories {
        let (edn, json) = (to_edn_lines(&history), to_json_lines(&history));
        assert_eq!(edn.lines().count(), history.len());
        for ((op, edn), json) in history.iter().zip(edn.lines()).zip(json.lines()) {
            assert_eq!((edn, json), (&*op.to_edn().to_string(), &*op.to_edn().to_json()));
        }
    }
}

#[test]
fn a_line_of_the_log_has_nanoseconds_and_a_thread() {
    let history = from_text(
        "{:time 12000000345, :type :ok, :process 7, :f :read, :value 5}
         {:time 999999999, :type :info, :process :nemesis, :f :kill, :value :all}",
    )
    .expect("a history");
    let line = |op: &Op| {
        let mut line = String::new();
        write_log_line(op, 5, &mut line);
        line
    };
    assert_eq!(
        history.iter().map(line).collect::<Vec<_>>(),
        [
            "12.000000345\tINFO\t[jepsen worker 2] jepsen.util: 7\t:ok\t:read\t5",
            "0.999999999\tINFO\t[jepsen nemesis] jepsen.util: :nemesis\t:info\t:kill\t:all",
        ]
    );
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
        ("{:type :done, :process 0, :f :read}", "unknown :type :done"),
        ("{:process 0, :f :read}", "no :type, found :process :f"),
        ("{}", "no :type, found an empty map"),
        ("{:type :ok, :f :read}", "no :process"),
        ("{:type :ok, :process 0}", "no :f, found :type :process"),
        ("{:type :ok, :process -1, :f :a}", ":process is -1, neither a number nor :nemesis"),
        (
            "{:type :ok, :process \"\u{1b}[2J\", :f :a}",
            ":process is \"\\u{1b}[2J\", neither a number nor :nemesis",
        ),
        ("{:index 0, :type :ok, :process 0, :f :a}", ":index 0 after :index 0"),
        ("{:time :now, :type :ok, :process 0, :f :a}", ":time is :now, not a number"),
        ("{7 :ok}", "key 7 is not a name"),
        ("[1 2]", "expected an operation, found [1 2]"),
        ("#foo [1]", "expected an operation, found #foo"),
        ("#foo{:a 1}", "no :type, found :a"),
    ];
    for (record, complaint) in table {
        let error = from_text(&format!("{good}  {record}")).map_err(|e| e.to_string());
        assert_eq!(error, Err(format!("line 2, column 3: {complaint}")), "{record}");
    }
    // Times need not be whole.
    for time in ["7", "7.5", "15/2", "7.5M"] {
        let text = format!("{{:time {time}, :index 0, :type :invoke, :process 0, :f :read}}");
        assert_eq!(from_text(&text).unwrap()[0].time, 7, "{time}");
    }
    let whole = [
        ("{:type :ok, :process", "line 1, column 21: expected a value, found the end"),
        (
            "[{:type :ok, :process 0, :f :a}\n\n",
            "line 1, column 1: the vector of operations is never closed",
        ),
        ("[] 7", "line 1, column 4: more after the history: 7"),
        (
            "{\"type\": \"ok\", \"f\": \"a\"}\n[",
            "line 2, column 2: EOF while parsing a list, found the end",
        ),
        ("{\"type\": \"ok\", é}", "line 1, column 16: key must be a string, found 'é'"),
        ("[{\"type\": \"ok\"},\n {\"type\": 7}]", "line 1, column 2: no :f, found :type"),
        (
            "{\"type\": \"o\tk\"}",
            "line 1, column 12: control character (\\u0000-\\u001F) found while parsing a string, found '\\t'",
        ),
        ("0\t:ok\t:read\té (", "line 1, column 15: expected one value, found more"),
        ("0\t:ok\t:read\t[1 2\tno", "line 1, column 13: '[' is never closed"),
        ("0\t:ok\t:\t1", "line 1, column 7: expected a name after the colon, found the end"),
        (
            "1.0 INFO [jepsen worker 0] jepsen.util: 0\t:ok\t:read\t",
            "line 1, column 53: expected a value, found the end",
        ),
        (
            "0\t:ok\t:read\t1\n0 :ok :read\n",
            "line 2, column 1: expected process, :type, :f and value with tabs between them, found 0 :ok :read\\n",
        ),
    ];
    for (text, complaint) in whole {
        let error = from_text(text).map_err(|e| e.to_string());
        assert_eq!(error, Err(complaint.to_owned()), "{text}");
    }
    let missing = read(std::path::Path::new("/nonexistent/history.edn")).map_err(|e| e.to_string());
    assert!(missing.is_err_and(|e| e.starts_with("/nonexistent/history.edn: ")));
}

/// The operations read from a text, on one line an operation: process, type, f, value.
fn told(text: &str, workload: &str) -> String {
    let history = from_text_as(text, Hints::of(workload)).unwrap_or_else(|e| panic!("{e}: {text}"));
    to_txt(&history).trim_end().replace('\t', " ").replace('\n', "; ")
}

#[test]
fn every_notation_of_one_history_is_read() {
    let expected = "0 :invoke :txn [[:w \"x\" 2]]; 0 :ok :txn [[:w \"x\" 2]]";
    let table = [
        // As elle-cli and its users have it.
        r#"[{"type":"invoke","f":"txn","value":[["w","x",2]],"process":0,"index":1},
            {"type":"ok","f":"txn","value":[["w","x",2]],"process":0,"index":2}]"#,
        "[\n  {\n    \"process\": 0,\n    \"type\": \"invoke\",\n    \"value\": [\n      [\"w\", \"x\", 2]\n    ]\n  },\n  {\n    \"process\": 0, \"type\": \"ok\", \"value\": [[\"w\", \"x\", 2]] }\n]\n",
        "{\n \"type\" : \"invoke\", \"process\": 0, \"value\": [[\"w\",\"x\",2]]\n}\n{\n \"type\": \"ok\", \"process\": 0, \"value\": [[\"w\",\"x\",2]]}\n",
        // Programs that keep the colons.
        r#"{":type":":invoke",":f":":txn",":value":[[":w","x",2]],":process":"0"}
           {":type":":ok",":f":":txn",":value":[[":w","x",2]],":process":0.0,"time":null}"#,
        // In Clojure's notation.
        r#"{:type :invoke, :value [[:w "x" 2]], :process 0} {:type :ok, :value [[:w "x" 2]], :process 0}"#,
        r#"{"type" "invoke" "value" [["w" "x" 2]] "process" 0} {type ok value [[w "x" 2]] process 0}"#,
        "\u{FEFF}({:type :invoke, :value [[:w \"x\" 2]], :process 0}\r\n {:type :ok, :value ([:w \"x\" 2]), :process 0})\r\n",
        r#"#knossos.op.Op{:type :invoke, :value [[:w "x" 2]], :process 0, :extra 3.14M}
           #my.own/op {:type :ok, :value [[:w "x" 2]], :process 0, :debug #object[java.lang.Object 0x1f "o"]}"#,
        // With namespaces.
        r#"#:jepsen{:type :invoke, :value [[:w "x" 2]], :process 0} {:jepsen.history/type :ok, :op/value [[:w "x" 2]], :p/process 0}"#,
        // The map of a whole test.
        r#"{"name": "t", "history": [{"type":"invoke","value":[["w","x",2]],"process":0},
            {"type":"ok","value":[["w","x",2]],"process":0}], "valid?": true}"#,
        r#"{:name "t", :history [{:type :invoke, :value [[:w "x" 2]], :process 0}
            {:type :ok, :value [[:w "x" 2]], :process 0}], :valid? true}"#,
        r#"#:jepsen{:history ({:type :invoke, :value [[:w "x" 2]], :process 0} {:type :ok, :value [[:w "x" 2]], :process 0})}"#,
        r#"#jepsen.core.Test {:history [#:op{:type :invoke, :value [[:w "x" 2]], :process 0} {:type :ok, :value [[:w "x" 2]], :process 0}]}"#,
        // Without processes.
        r#"{:type :invoke, :value [[:w "x" 2]]} ^:meta {:type :ok, :value [[:w "x" 2]]}"#,
        // As printed for people.
        "0\t:invoke\t:txn\t[[:w \"x\" 2]]\n0\t:ok\t:txn\t[[:w \"x\" 2]]\n",
        "2024-01-01 INFO starts\n2024\tINFO\t[w 0] jepsen.util: 0\t:invoke\t:txn\t[[:w \"x\" 2]]\nnoise\n2024\tINFO\t[w 0] jepsen.util: 0\t:ok\t:txn\t[[:w \"x\" 2]]\n",
    ];
    for text in table {
        let read = told(text, "txn-rw-register");
        // A word in a list that was a symbol or a list stays one; they compare as equal.
        let read = read.replace("[w ", "[:w ").replace("([:w \"x\" 2])", "[[:w \"x\" 2]]");
        assert_eq!(read, expected, "{text}");
    }
    assert!(from_text(table[1]).is_err(), "without a workload there is no :f");
    let wrapped = "{:name 1, :history [{:type :invoke, :f :read, :process 0}";
    for (rest, complaint) in [
        ("", "the vector of operations is never closed"),
        ("]", "the map around it is never closed"),
        ("], :a}", "unexpected"),
        ("]} 5", "more after the history: 5"),
        (" 5]}", "expected an operation, found 5"),
    ] {
        let error = from_text(&format!("{wrapped}{rest}")).expect_err(rest).to_string();
        assert!(error.contains(complaint), "{rest}: {error}");
    }
}

#[test]
fn a_tuple_of_independent_keys_is_a_pair() {
    let text = "{:type :invoke, :process 0, :f :read, :value #jepsen.independent/tuple [7 nil]}";
    assert_eq!(told(text, "lin-kv"), "0 :invoke :read [7 nil]");
}

#[test]
fn completions_without_a_process_find_their_invocations() {
    let op =
        |kind: &str, f: &str, value: &str| format!("{{:type :{kind}, :f :{f}, :value {value}}}\n");
    let overlapping = op("invoke", "read", "nil")
        + &op("invoke", "write", "1")
        + &op("ok", "write", "1")
        + &op("invoke", "write", "2")
        + &op("info", "write", "2")
        + &op("invoke", "cas", "[1 2]")
        + &op("ok", "read", "[1 2]")
        + &op("fail", "cas", "nil");
    assert_eq!(paired(&overlapping), Ok("0-6 1-2 3-4 5-7".to_owned()));
    let history = from_text(&overlapping).expect("a history");
    let processes: Vec<String> = history.iter().map(|op| op.process.to_edn().to_string()).collect();
    // Process 1 is in doubt with operation 3, and not used again.
    assert_eq!(processes.join(" "), "0 1 1 1 1 2 0 2");

    let refused = |text: String| from_text(&text).map_err(|e| e.to_string()).expect_err("refused");
    let twice = op("invoke", "read", "nil").repeat(2) + &op("ok", "read", "3");
    assert_eq!(
        refused(twice),
        "line 3, column 1: no :process, and operations 0 and 1 are open that it fits"
    );
    assert_eq!(
        refused(op("invoke", "write", "1") + &op("ok", "write", "2")),
        "line 2, column 1: no :process, and no :write is open that it fits"
    );
    assert_eq!(
        refused(op("invoke", "write", "1") + "{:type :ok, :process 3, :f :write}"),
        "line 2, column 1: :process 3, although earlier operations have none"
    );
}

#[test]
fn files_directories_and_encodings() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = dir.path().join("echo/run");
    fs::create_dir_all(&run).expect("made");
    let reason = |path: &std::path::Path| read(path).expect_err("nothing there").reason();
    assert!(reason(&run).starts_with("this directory has none of history.edn, "));
    let line = "{:type :invoke, :process 0, :f :echo, :value \"é\"}\n";
    fs::write(run.join("jepsen.log"), "x jepsen.util: 7\t:invoke\t:echo\t1\n").expect("written");
    let first = |path: &std::path::Path| read(path).expect("a history")[0].process;
    assert_eq!(first(&run), Process::Client(7));
    fs::write(run.join("history.edn"), line).expect("written");
    assert_eq!(first(&run), Process::Client(0), "history.edn holds more");
    std::os::unix::fs::symlink("echo/run", dir.path().join("current")).expect("linked");
    assert_eq!(first(dir.path()), Process::Client(0), "a store means its newest run");

    let file = dir.path().join("history");
    for mark in ["\u{FEFF}", ""] {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let utf16: Vec<u8> = format!("{mark}{line}").encode_utf16().flat_map(order).collect();
            fs::write(&file, utf16).expect("written");
            assert_eq!(read(&file).expect("UTF-16")[0].value, Edn::str("é"));
        }
    }
    for (bytes, complaint) in [
        (
            &b"\x1f\x8b\x08"[..],
            "this is compressed by gzip: gunzip -c FILE | seaworthy check ... -",
        ),
        (b"{}\n\xC3\xA9 \xE9", "line 2, column 3: found the byte 0xE9, which is not UTF-8"),
    ] {
        fs::write(&file, bytes).expect("written");
        assert_eq!(reason(&file), complaint);
    }
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

/// A tape gives every operation as the history has it, in each notation.
#[test]
fn a_tape_holds_the_same_history() {
    for file in recorded() {
        let history = read(&file).expect("a history");
        let records: Vec<Edn> = history.iter().map(Op::to_record).collect();
        let texts = [
            to_edn_lines(&history),
            format!("\u{FEFF}{}", to_json_lines(&history)),
            Edn::Vector(records.clone()).pretty(),
            Edn::Vector(records).to_json(),
            to_txt(&history),
        ];
        for text in texts {
            let history = from_text(&text).expect("our own text");
            let tape = Tape::new(text, Hints::default()).expect("the same");
            assert!(tape.heads().iter().any(|head| head.value.is_nil() && head.is_client()));
            assert!(Events::from(&tape).whole()[..] == history[..], "{}", file.display());
        }
    }
}

/// Values tell whose completion it is where processes do not, and are there then.
#[test]
fn a_tape_without_processes_holds_the_same_history() {
    let text = "{:type :info, :process :nemesis, :f :kill, :value [\"n1\"]}\n\
                {:type :invoke, :f :txn, :value [[:append 1 2]]}\n\
                {:type :invoke, :f :txn, :value [[:append 1 3]]}\n\
                {:type :ok, :f :txn, :value [[:append 1 3]]}\n\
                {:type :ok, :f :txn, :value [[:append 1 2]]}\n";
    let history = from_text(text).expect("a history");
    assert_eq!(history[3].process, Process::Client(1));
    let tape = Tape::new(text.to_owned(), Hints::default()).expect("a history");
    assert!(Events::from(&tape).whole()[..] == history[..]);
    assert!(tape.heads() == history);
}

/// Elle's own first example: no transaction is invoked, and some have no process.
#[test]
fn completions_alone_are_a_history_without_real_time() {
    let op = |process: &str, value: &str| format!("{{{process} :type :ok, :value {value}}}\n");
    let cyclic = |processes: [&str; 3]| {
        let values = ["[[:append :x 1] [:r :y [1]]]", "[[:append :x 2] [:append :y 1]]"];
        let values = values.into_iter().chain(["[[:r :x [1 2]]]"]);
        let text: String = processes.iter().zip(values).map(|(p, value)| op(p, value)).collect();
        let hints = Hints { f: Some("txn") };
        from_text_as(&text, hints).expect("a history")
    };
    for history in [cyclic([":process 0", ":process 1", ":process 2"]), cyclic(["", "", ""])] {
        let kinds: Vec<OpType> = history.iter().map(|op| op.kind).collect();
        assert_eq!(kinds, [[OpType::Invoke; 3], [OpType::Ok; 3]].concat());
        assert_eq!(pairs(&history).expect("pairs").len(), 3);
    }
    let history = cyclic([":process 0", ":process 1", ":process 0"]);
    let kinds: Vec<&str> = history.iter().map(|op| op.kind.name()).collect();
    assert_eq!(kinds, ["invoke", "invoke", "ok", "invoke", "ok", "ok"]);
    assert_eq!(history.iter().map(|op| op.index).collect::<Vec<_>>(), (0..6).collect::<Vec<_>>());
}
