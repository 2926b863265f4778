//! The linearizability checker on whole histories: Maelstrom's own verdicts,
//! hand-written ones with theirs, and large simulated ones.

use std::fs;
use std::path::{Path, PathBuf};

use seaworthy_bench::check::linear::check_lin_kv;
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
        let actual = check_lin_kv(&history).outcome.to_edn();
        assert_eq!(actual.pretty(), expected.pretty());
    }
}
