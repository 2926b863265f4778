//! Pinned histories: verdict and anomaly types, by hand and from the real Maelstrom.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::history;

const FLAVOURS: [Flavour; 2] = [Flavour::ListAppend, Flavour::RwRegister];

fn histories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

fn types(details: &Edn) -> BTreeSet<String> {
    let types = details.get("anomaly-types").and_then(Edn::as_seq).unwrap_or_default();
    types.iter().filter_map(|t| t.as_text().map(str::to_owned)).collect()
}

/// Reads the demands on a history: `; models: a, b` and `; fractured-reads` among the comments at
/// its top.
fn options(text: &str) -> Options {
    let mut options = Options::default();
    for line in text.lines().map_while(|line| line.strip_prefix("; ")) {
        match line.split_once(": ") {
            Some(("models", models)) => options.models = parse_models(models).unwrap(),
            _ if line == "fractured-reads" => options.fractured_reads = true,
            _ => {}
        }
    }
    options
}

#[test]
fn hand_written_histories_keep_their_verdicts() {
    let mut wrong = Vec::new();
    for flavour in FLAVOURS {
        let dir = histories().join("hand").join(flavour.name());
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        assert!(files.len() > 30, "the histories are gone");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let pinned = text.lines().next().unwrap().strip_prefix("; verdict: ").unwrap();
            let outcome = check(&history::from_text(&text).unwrap(), flavour, &options(&text));
            let mut told = match outcome.verdict {
                Verdict::Valid => "valid".to_owned(),
                Verdict::Unknown => "unknown".to_owned(),
                Verdict::Invalid => "invalid".to_owned(),
            };
            for kind in types(&outcome.to_edn()) {
                told += " ";
                told += &kind;
            }
            if let Some(stricter) = &outcome.stricter {
                told += ", stricter";
                for kind in types(&stricter.to_edn()) {
                    told += " ";
                    told += &kind;
                }
            }
            if told != pinned {
                wrong.push(format!("{}: pinned {pinned}, told {told}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns our outcome, and the real Maelstrom's for the same history.
fn maelstrom(run: &str, flavour: Flavour) -> (Outcome, Edn) {
    let dir = histories().join(run).join(flavour.name());
    let history = history::read(&dir.join("history.edn")).unwrap();
    let results = fs::read_to_string(dir.join("results.edn")).unwrap();
    let theirs = crate::edn::parse(&results).unwrap().get("workload").unwrap().clone();
    (check(&history, flavour, &Options::default()), theirs)
}

#[test]
fn valid_runs_of_maelstrom_give_the_same_map() {
    for flavour in FLAVOURS {
        let (ours, theirs) = maelstrom("maelstrom", flavour);
        assert_eq!(ours.to_edn(), theirs);
    }
}

/// Where we name other anomalies than Elle did, it is about cycles only: both searches take
/// one component of the graph, in which the cycles overlap, and report the worst they
/// come across.
#[test]
fn broken_runs_of_maelstrom_give_the_same_verdict_and_models() {
    for (flavour, only_ours, only_theirs) in [
        // Elle gave up on this component after a second, and reports some cycle instead. We
        // find the one-anti-dependency cycle that it was looking for.
        (
            Flavour::ListAppend,
            &["G-single-item"][..],
            &["G1c-realtime", "cycle-search-timeout"][..],
        ),
        (Flavour::RwRegister, &[], &[]),
    ] {
        let (ours, theirs) = maelstrom("maelstrom-broken", flavour);
        let ours = ours.to_edn();
        assert_eq!(ours.get("valid?"), theirs.get("valid?"));
        for models in ["not", "also-not"] {
            assert_eq!(ours.get(models), theirs.get(models), "{} {models}", flavour.name());
        }
        let (ours, theirs) = (types(&ours), types(&theirs));
        assert!(ours.difference(&theirs).eq(only_ours), "{ours:?} {theirs:?}");
        assert!(theirs.difference(&ours).eq(only_theirs), "{ours:?} {theirs:?}");
    }
}

/// The lines under `:explanation`.
fn explanation(flavour: Flavour, text: &str) -> Vec<String> {
    let outcome = check(&history::from_text(text).unwrap(), flavour, &options(text)).to_edn();
    let lines = outcome.get("explanation").and_then(Edn::as_seq).unwrap();
    lines.iter().filter_map(|line| line.as_text().map(str::to_owned)).collect()
}

#[test]
fn a_cycle_is_told_edge_by_edge() {
    let text = fs::read_to_string(histories().join("hand/txn-list-append/g0.edn")).unwrap();
    let told = [
        "G0 (1 found)",
        "  T3 = [[:append 1 1] [:append 2 1]]",
        "  T4 = [[:append 1 2] [:append 2 2]]",
        "  T3 before T4 (ww): T4 appended 2 to key 1 after T3's 1",
        "  T4 before T3 (ww): T3 appended 1 to key 2 after T4's 2: a circle",
    ];
    assert_eq!(explanation(Flavour::ListAppend, &text), told);
}

#[test]
fn what_is_told_fits_on_a_screen() {
    for flavour in FLAVOURS {
        let file = histories().join("maelstrom-broken").join(flavour.name()).join("history.edn");
        let lines = explanation(flavour, &fs::read_to_string(file).unwrap());
        assert!(lines.len() <= 50, "{}", lines.join("\n"));
    }
}

#[test]
fn the_json_twin_of_a_history_is_judged_the_same() {
    for flavour in FLAVOURS {
        for run in ["maelstrom", "maelstrom-broken"] {
            let file = histories().join(run).join(flavour.name()).join("history.edn");
            let history = history::read(&file).unwrap();
            let twin = history::from_text(&history::to_json_lines(&history)).unwrap();
            let options = Options::default();
            assert_eq!(check(&history, flavour, &options), check(&twin, flavour, &options));
        }
    }
}

#[test]
fn without_a_model_nothing_is_called_valid() {
    let text = fs::read_to_string(histories().join("hand/txn-list-append/serial.edn")).unwrap();
    let options = Options { models: Vec::new(), ..Options::default() };
    let outcome = check(&history::from_text(&text).unwrap(), Flavour::ListAppend, &options);
    assert_eq!(outcome.verdict, Verdict::Unknown);
}

/// adya keeps much in hash maps of random order; none of it may show.
#[test]
fn the_same_history_gives_the_same_result() {
    for flavour in FLAVOURS {
        let hand = histories().join("hand").join(flavour.name());
        let mut files: Vec<_> = fs::read_dir(hand).unwrap().map(|f| f.unwrap().path()).collect();
        files.push(histories().join("maelstrom-broken").join(flavour.name()).join("history.edn"));
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let (history, options) = (history::from_text(&text).unwrap(), options(&text));
            let first = check(&history, flavour, &options).to_edn().to_string();
            for _ in 0..5 {
                let again = check(&history, flavour, &options).to_edn().to_string();
                assert_eq!(first, again, "{}", file.display());
            }
        }
    }
}
