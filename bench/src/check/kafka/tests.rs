//! Pinned histories: verdict and anomalies, by hand and from the real Maelstrom.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::history;

fn histories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

fn maelstrom(run: &str) -> (history::History, Edn) {
    let dir = histories().join(run).join("kafka");
    let results = fs::read_to_string(dir.join("results.edn")).unwrap();
    let theirs = crate::edn::parse(&results).unwrap().get("workload").unwrap().clone();
    (history::read(&dir.join("history.edn")).unwrap(), theirs)
}

#[test]
fn a_valid_run_of_maelstrom_gives_the_same_map() {
    let (history, theirs) = maelstrom("maelstrom");
    assert_eq!(check(&history).to_edn(), theirs);
}

/// Two differences are left. Jepsen prints some of the worst cases, and where equally bad
/// ones tie, others than we do; so theirs must be among all of ours. And of two lost
/// writes it does not name the poll that proves it (`:max-read nil`), although the
/// history has one: the lost message shares its offset with one that was polled.
#[test]
fn a_broken_run_of_maelstrom_gives_the_same_map() {
    let (history, theirs) = maelstrom("maelstrom-broken");
    let ours = check(&history).to_edn();
    let (steps, log, cases) = search((&history).into()).unwrap();
    let keys = |edn: &Edn| edn.entries().unwrap().iter().map(|(k, _)| k.clone()).collect();
    let (our_keys, their_keys): (BTreeSet<Edn>, BTreeSet<Edn>) = (keys(&ours), keys(&theirs));
    assert_eq!(our_keys, their_keys);
    for (kind, theirs) in theirs.entries().unwrap() {
        let kind = kind.as_text().unwrap();
        let Some(errs) = theirs.get("errs").and_then(Edn::as_seq) else {
            assert_eq!(ours.get(kind), Some(theirs), "{kind}");
            continue;
        };
        let shown = ours.get(kind).unwrap();
        assert_eq!(shown.get("count"), theirs.get("count"), "{kind}");
        assert_eq!(shown.get("errs").unwrap().as_seq().unwrap().len(), errs.len(), "{kind}");
        let all = &cases.0[kind];
        let all: BTreeSet<Edn> =
            all.iter().map(|case| report::case_to_edn(case, kind, &steps, &log)).collect();
        let without = |err: &&Edn| !all.contains(err);
        let differing: Vec<&Edn> = errs.iter().filter(without).collect();
        let unexplained = |err: &&&Edn| err.get("max-read") != Some(&Edn::Nil);
        assert_eq!(differing.iter().find(unexplained), None, "{kind}");
        assert_eq!(differing.len(), if kind == "lost-write" { 2 } else { 0 });
    }
}

#[test]
fn hand_written_histories_keep_their_verdicts() {
    let dir = histories().join("hand/kafka");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 30, "the histories are gone");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let pinned = text.lines().next().unwrap().strip_prefix("; verdict: ").unwrap();
        let outcome = check(&history::from_text(&text).unwrap());
        let mut told = match outcome.verdict {
            Verdict::Valid => "valid".to_owned(),
            Verdict::Unknown => "unknown".to_owned(),
            Verdict::Invalid => "invalid".to_owned(),
        };
        let kinds = outcome.get("error-types").and_then(Edn::as_seq).unwrap_or_default();
        for kind in kinds.iter().filter_map(Edn::as_text) {
            told += " ";
            told += kind;
        }
        if outcome.stricter.is_some() {
            told += ", stricter lost-commit";
        }
        if told != pinned {
            wrong.push(format!("{}: pinned {pinned}, told {told}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_json_twin_of_a_history_is_judged_the_same() {
    for run in ["maelstrom", "maelstrom-broken"] {
        let (history, _) = maelstrom(run);
        let twin = history::from_text(&history::to_json_lines(&history)).unwrap();
        let (ours, twins) = (check(&history), check(&twin));
        assert_eq!(ours.get("error-types"), twins.get("error-types"));
        for kind in ours.get("error-types").and_then(Edn::as_seq).unwrap() {
            let count = |outcome: &Outcome| {
                outcome.get(kind.as_text().unwrap()).and_then(|e| e.get("count")).cloned()
            };
            assert_eq!(count(&ours), count(&twins), "{kind}");
        }
    }
}

/// A map in JSON has no numbers for keys.
#[test]
fn keys_that_are_numbers_are_the_texts_of_a_json_map() {
    let text = r#"
        {"process":0,"type":"invoke","f":"send","value":[["send",KEY,1]]}
        {"process":0,"type":"ok","f":"send","value":[["send",KEY,[0,1]]]}
        {"process":1,"type":"invoke","f":"poll","value":[["poll"]]}
        {"process":1,"type":"ok","f":"poll","value":[["poll",{"7":[[0,1]]}]]}"#;
    for (key, verdict) in
        [("7", Verdict::Valid), ("\"7\"", Verdict::Valid), ("\"07\"", Verdict::Invalid)]
    {
        let outcome = check(&history::from_text(&text.replace("KEY", key)).unwrap());
        assert_eq!(outcome.verdict, verdict, "{key}: {:?}", outcome.findings);
    }
}
