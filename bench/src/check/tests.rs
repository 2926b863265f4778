//! Against the verdicts of the real Maelstrom, against histories judged by hand, and against
//! the definitions computed by brute force.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::net::MessageCounts;
use super::*;
use crate::challenge::{Challenges, builtin};
use crate::edn::{Edn, parse};
use crate::history::{Hints, History, Op, OpType, Pair, Process, Tape, from_text, pairs, read};

/// The workloads whose checkers are tested here; the others bring tests of their own.
const SIMPLE: [&str; 6] = ["echo", "unique-ids", "broadcast", "g-set", "g-counter", "pn-counter"];

fn histories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

/// The counts that a recorded result holds, without the figures computed from them.
fn recorded_net(results: &Edn) -> Option<NetStats> {
    let group = |name: &str| {
        let group = results.get("net")?.get(name)?;
        let count = |key: &str| group.get(key)?.as_int().and_then(|n| u64::try_from(n).ok());
        let (send, recv, msg) = (count("send-count")?, count("recv-count")?, count("msg-count")?);
        Some(MessageCounts { send, recv, msg })
    };
    Some(NetStats { all: group("all")?, clients: group("clients")?, servers: group("servers")? })
}

/// A result map in which the order of echo's errors does not count: Maelstrom keeps
/// them in a hash set, so theirs is arbitrary.
fn errors_sorted(mut results: Edn) -> Edn {
    fn sort(value: &mut Edn, key: &str) {
        match value {
            Edn::Map(entries) => {
                entries.iter_mut().for_each(|(k, v)| sort(v, k.as_text().unwrap_or_default()));
            }
            Edn::List(items) if key == "errors" => items.sort(),
            _ => {}
        }
    }
    sort(&mut results, "");
    results
}

/// The whole result map, value for value, and the text of every number in it.
#[test]
fn results_equal_maelstroms() {
    for dir in ["maelstrom", "maelstrom-broken"] {
        for name in SIMPLE {
            let at = histories().join(dir).join(name);
            let theirs = fs::read_to_string(at.join("results.edn")).expect("fixture");
            let theirs = errors_sorted(parse(&theirs).expect("results are EDN"));
            let history = read(&at.join("history.edn")).expect("a history");
            let net = recorded_net(&theirs);
            assert!(net.is_some());
            let judge = Challenges::builtin();
            let judge = judge.judge(name).expect("listed");
            let outcome = judge.judge(&history, &CheckOptions { net, ..CheckOptions::default() });
            let ours = errors_sorted(compose::results(&outcome));
            for (key, value) in theirs.entries().expect("a map") {
                let key = key.as_text().expect("a keyword");
                assert!(ours.get(key) == Some(value), "{dir}/{name} differs in {key}");
            }
            assert!(ours == theirs, "{dir}/{name}: we have keys of our own");
        }
    }
}

#[test]
fn stats_and_availability_equal_maelstroms_for_the_other_workloads() {
    for dir in ["maelstrom", "maelstrom-broken"] {
        for name in ["lin-kv", "kafka", "txn-list-append", "txn-rw-register"] {
            let at = histories().join(dir).join(name);
            let theirs = fs::read_to_string(at.join("results.edn")).expect("fixture");
            let theirs = parse(&theirs).expect("results are EDN");
            let history = read(&at.join("history.edn")).expect("a history");
            let stats = stats::check(&history, Verdict::Invalid).to_edn();
            let availability = availability::check(&history, None).to_edn();
            assert_eq!(Some(&stats), theirs.get("stats"), "{dir}/{name}");
            assert_eq!(Some(&availability), theirs.get("availability"), "{dir}/{name}");
        }
    }
}

/// Each file names in comments its verdict and the entries that the result must show:
/// `; verdict: invalid`, `; shows: :lost (2)`.
#[test]
fn histories_judged_by_hand() {
    let mut seen = 0;
    for name in SIMPLE {
        let check = builtin(name).expect("listed");
        for file in fs::read_dir(histories().join("hand").join(name)).expect("fixtures") {
            let file = file.expect("entry").path();
            let text = fs::read_to_string(&file).expect("fixture");
            let comment = |key: &str| {
                let key = format!("; {key}: ");
                text.lines().filter_map(move |l| l.strip_prefix(&key).map(str::to_owned))
            };
            let history = from_text(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let outcome = check.check(&history, &CheckOptions::default());
            let verdict = format!("{:?}", outcome.verdict).to_lowercase();
            let result = outcome.to_edn().to_string();
            let pinned: Vec<String> = comment("verdict").collect();
            assert_eq!(pinned, [verdict], "{}: {result}", file.display());
            for shown in comment("shows") {
                assert!(result.contains(&shown), "{}: {shown} not in {result}", file.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen} histories");
}

#[test]
fn every_workload_refuses_the_history_of_another() {
    let history = from_text("{:type :invoke, :process 0, :f :dance}").expect("a history");
    for name in SIMPLE {
        let check = builtin(name).expect("listed");
        assert_eq!(
            check.check(&history, &CheckOptions::default()).verdict,
            Verdict::Unknown,
            "{name}"
        );
    }
    assert!(Challenges::builtin().judge("juggle").is_none());
}

#[test]
fn a_process_that_invokes_twice_is_unknown() {
    for (name, f) in [("echo", "echo"), ("g-set", "add"), ("pn-counter", "add")] {
        let op = format!("{{:type :invoke, :process 0, :f :{f}, :value 1}}\n");
        let history = from_text(&op.repeat(2)).expect("a history");
        let check = builtin(name).expect("listed");
        let outcome = check.check(&history, &CheckOptions::default());
        assert_eq!(outcome.verdict, Verdict::Unknown);
        assert!(outcome.get("error").is_some_and(|e| e.to_string().contains("invokes at index 1")));
    }
}

fn history_of(kinds: &[(&str, &str)]) -> History {
    let op = |(f, kind): &(&str, &str)| {
        format!("{{:type :invoke, :process 0, :f :{f}}}{{:type :{kind}, :process 0, :f :{f}}}\n")
    };
    from_text(&kinds.iter().map(op).collect::<String>()).expect("a history")
}

#[test]
fn stats_demand_one_success_of_each_kind() {
    let verdict =
        |kinds: &[(&str, &str)]| stats::check(&history_of(kinds), Verdict::Invalid).verdict;
    assert_eq!(verdict(&[]), Verdict::Valid);
    assert_eq!(verdict(&[("a", "fail"), ("a", "ok"), ("b", "ok")]), Verdict::Valid);
    assert_eq!(verdict(&[("a", "ok"), ("b", "fail"), ("b", "info")]), Verdict::Invalid);
    assert_eq!(verdict(&[("a", "ok"), ("crash", "info")]), Verdict::Valid);
    assert_eq!(verdict(&[("a", "ok"), ("debug-topic-partitions", "fail")]), Verdict::Valid);
    let nemesis = from_text("{:type :info, :process :nemesis, :f :kill}").expect("a history");
    let untested = history_of(&[("a", "ok"), ("b", "fail")]);
    assert_eq!(stats::check(&untested, Verdict::Unknown).verdict, Verdict::Unknown);
    assert_eq!(stats::check(&nemesis, Verdict::Invalid).get("count"), Some(&Edn::Int(0)));
}

#[test]
fn availability_counts_and_does_not_round() {
    let history = history_of(&[("a", "ok"), ("a", "ok"), ("a", "fail"), ("a", "info")]);
    let verdict =
        |text: &str| availability::check(&history, Some(text.parse().expect("a demand"))).verdict;
    assert_eq!(verdict("total"), Verdict::Invalid);
    assert_eq!(verdict("0.5"), Verdict::Valid);
    assert_eq!(verdict("0.51"), Verdict::Invalid);
    let outcome = availability::check(&history, None);
    assert_eq!(outcome.to_edn().to_string(), "{:valid? true, :ok-fraction 0.5}");
    let nothing = availability::check(&[], Some(Availability::Total));
    assert_eq!(nothing.to_edn().to_string(), "{:valid? true, :ok-fraction 1.0}");
    assert!(["", "1.1", "NaN", "all"].iter().all(|text| text.parse::<Availability>().is_err()));
}

#[test]
fn exceptions_are_grouped_by_class() {
    let op = |class: &str| {
        format!("{{:type :info, :process 0, :f :a, :exception {{:via [{{:type {class}}}]}}}}\n")
    };
    let history = from_text(&(op("java.A") + &op("java.B") + &op("java.B"))).expect("a history");
    let outcome = exceptions::check(&history);
    assert_eq!(outcome.verdict, Verdict::Valid);
    let text = outcome.to_edn().to_string();
    assert!(text.starts_with("{:valid? true, :exceptions ({:count 2, :class java.B, "), "{text}");
}

#[test]
fn a_network_without_operations_has_no_ratio() {
    let text = net::check(&[], Some(&NetStats::default())).to_edn().to_string();
    assert!(text.contains(":msgs-per-op nil"), "{text}");
}

/// A step of a random client: which process, its operation if it is idle, how
/// its operation ends if not.
type Step = (u64, bool, i64, u8, Vec<i64>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seen = prop::collection::vec(0..6_i64, 0..5);
    prop::collection::vec((0..3_u64, any::<bool>(), -3..6_i64, 0..6_u8, seen), 0..40)
}

/// Lets the clients take their steps; `read_value` makes the result of a read.
fn played(steps: Vec<Step>, read_value: impl Fn(&[i64]) -> Edn) -> History {
    let mut history = History::new();
    let mut open: [Option<Op>; 3] = [None, None, None];
    for (process, is_add, value, ending, seen) in steps {
        let index = history.len();
        let time = index as i64 * 700_000;
        let slot = &mut open[process as usize];
        let op = match slot.take() {
            None => {
                let (f, value) = if is_add { ("add", Edn::Int(value)) } else { ("read", Edn::Nil) };
                let op = Op {
                    index,
                    time,
                    kind: OpType::Invoke,
                    process: Process::Client(process),
                    f: f.into(),
                    value,
                    error: None,
                    is_final: true,
                    extra: Vec::new(),
                };
                *slot = Some(op.clone());
                op
            }
            Some(invoke) => {
                let kind = match ending {
                    0 => OpType::Fail,
                    1 => OpType::Info,
                    _ => OpType::Ok,
                };
                let is_read = &*invoke.f == "read" && kind == OpType::Ok;
                let value = if is_read { read_value(&seen) } else { invoke.value.clone() };
                Op { index, time, kind, value, ..invoke }
            }
        };
        history.push(op);
    }
    history
}

/// One element judged straight from the definition, with no state carried along.
fn fate_by_definition(history: &[Op], value: &Edn) -> (&'static str, i64) {
    let pairs = pairs(history).expect("well-formed");
    let is_add = |p: &&Pair<'_>| &*p.invoke.f == "add" && p.invoke.value == *value;
    let added = pairs.iter().find(is_add).expect("an element").invoke.index;
    let reads: Vec<(&Op, &Op, bool)> = pairs
        .iter()
        .filter(|p| &*p.invoke.f == "read" && p.is_ok())
        .filter_map(|p| Some((p.invoke, p.completion?)))
        .filter(|(_, ok)| ok.index > added)
        .map(|(invoke, ok)| (invoke, ok, ok.value.as_seq().expect("a list").contains(value)))
        .collect();
    let adds = pairs.iter().filter(is_add).filter(|p| p.is_ok()).filter_map(|p| p.completion);
    let sights = reads.iter().filter(|r| r.2).map(|r| r.1);
    let known = adds.chain(sights).min_by_key(|op| op.index);
    let last = |seen| reads.iter().filter(|r| r.2 == seen).map(|r| r.0).max_by_key(|op| op.index);
    let (present, absent) = (last(true), last(false));
    let position = |op: Option<&Op>| op.map_or(-1, |op| op.index as i64);
    let latency = |op: Option<&Op>| {
        let until = op.map_or(0, |op| op.time + 1);
        known.map_or(0, |known| (until - known.time).max(0) / 1_000_000)
    };
    if present.is_some() && position(absent) < position(present) {
        ("stable", latency(absent))
    } else if known.is_some()
        && absent.is_some()
        && position(present) < position(absent)
        && position(known) < position(absent)
    {
        ("lost", latency(present))
    } else {
        ("never-read", 0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn set_full_follows_its_definition(steps in steps()) {
        let history = played(steps, |seen| Edn::vector(seen.iter().copied()));
        let outcome = set_full::check(&history, "add");
        let adds = history.iter().filter(|op| &*op.f == "add" && op.kind == OpType::Invoke);
        let elements: BTreeSet<&Edn> = adds.map(|op| &op.value).collect();
        let fates: Vec<_> =
            elements.iter().map(|e| (*e, fate_by_definition(&history, e))).collect();
        let with = |fate: &str| -> Vec<Edn> {
            fates.iter().filter(|(_, f)| f.0 == fate).map(|(e, _)| Edn::clone(e)).collect()
        };
        prop_assert_eq!(outcome.get("stable-count"), Some(&Edn::from(with("stable").len())));
        prop_assert_eq!(outcome.get("lost"), Some(&Edn::List(with("lost"))));
        prop_assert_eq!(outcome.get("never-read"), Some(&Edn::List(with("never-read"))));
        let stale = fates.iter().filter(|(_, f)| f.0 == "stable" && f.1 > 0);
        let stale: Vec<Edn> = stale.map(|(e, _)| Edn::clone(e)).collect();
        prop_assert_eq!(outcome.get("stale"), Some(&Edn::List(stale)));
        let slowest = |fate: &str| {
            fates.iter().filter(|(_, f)| f.0 == fate).map(|(_, f)| Edn::Int(f.1)).max()
        };
        for (key, fate) in [("stable-latencies", "stable"), ("lost-latencies", "lost")] {
            let last = outcome.get(key).and_then(Edn::entries).and_then(<[_]>::last);
            prop_assert_eq!(last.map(|(_, ms)| ms.clone()), slowest(fate));
        }

        // Phantoms and repetitions, read by read.
        let reads = || history.iter().filter(|op| &*op.f == "read" && op.kind == OpType::Ok);
        let repeats = reads().any(|op| {
            let seen = op.value.as_seq().expect("a list");
            seen.iter().any(|v| seen.iter().filter(|w| *w == v).count() > 1)
        });
        let added_before = |index: usize, v: &Edn| {
            history[..index].iter().any(|op| &*op.f == "add" && op.value == *v)
        };
        let phantom = reads().any(|op| {
            op.value.as_seq().expect("a list").iter().any(|v| !added_before(op.index, v))
        });
        prop_assert_eq!(outcome.get("phantom").is_some(), phantom);
        prop_assert_eq!(outcome.get("duplicated-count") != Some(&Edn::Int(0)), repeats);
        let expected = match (with("lost").len(), with("stable").len()) {
            _ if repeats || phantom => Verdict::Invalid,
            (0, 0) => Verdict::Unknown,
            (0, _) => Verdict::Valid,
            _ => Verdict::Invalid,
        };
        prop_assert_eq!(outcome.verdict, expected);
    }

    #[test]
    fn counter_accepts_exactly_the_sums_of_subsets(steps in steps(), scale in 1..40_i64) {
        let mut history = played(steps, |seen| Edn::Int(seen.iter().sum::<i64>() - 4));
        for op in history.iter_mut().filter(|op| &*op.f == "add") {
            op.value = Edn::Int(op.value.as_int().expect("an integer") * scale);
        }
        let pairs = pairs(&history).expect("well-formed");
        let mut sums = BTreeSet::from([0_i64]);
        for pair in pairs.iter().filter(|p| &*p.invoke.f == "add") {
            let delta = pair.invoke.value.as_int().expect("an integer");
            sums = match pair.outcome() {
                OpType::Ok => sums.iter().map(|sum| sum + delta).collect(),
                OpType::Fail | OpType::Invoke => sums,
                OpType::Info => sums.iter().flat_map(|sum| [*sum, sum + delta]).collect(),
            };
        }
        let outcome = counter::check(&history);
        let ranges = outcome.get("acceptable").and_then(Edn::as_seq).expect("ranges");
        let listed: BTreeSet<i64> = ranges
            .iter()
            .map(|r| r.as_seq().expect("a range"))
            .flat_map(|r| r[0].as_int().expect("low")..=r[1].as_int().expect("high"))
            .collect();
        prop_assert_eq!(&listed, &sums);
        let reads: Vec<i64> = pairs
            .iter()
            .filter(|p| &*p.invoke.f == "read" && p.is_ok())
            .filter_map(|p| p.completion?.value.as_int())
            .collect();
        let expected = match reads.iter().all(|read| sums.contains(read)) {
            _ if reads.is_empty() => Verdict::Unknown,
            true => Verdict::Valid,
            false => Verdict::Invalid,
        };
        prop_assert_eq!(outcome.verdict, expected);
    }
}

/// Whether values come from memory or from a tape makes no difference to any result.
#[test]
fn histories_are_judged_the_same_from_a_tape() {
    let challenges = Challenges::builtin();
    let names = ["kafka", "txn-list-append", "txn-rw-register", "echo"];
    let dirs = ["maelstrom", "maelstrom-broken", "hand"];
    for (name, dir) in names.iter().flat_map(|name| dirs.map(|dir| (name, dir))) {
        let judge = challenges.judge(name).expect("listed");
        for file in fs::read_dir(histories().join(dir).join(name)).expect("fixtures") {
            let file = file.expect("entry").path();
            let is_history = !file.ends_with("results.edn");
            if !is_history || file.extension().is_none_or(|extension| extension != "edn") {
                continue;
            }
            let history = read(&file).expect("a history");
            let tape = Tape::open(&file, Hints::default()).expect("the same");
            let options = CheckOptions::default();
            let [a, b] = [judge.judge(&history, &options), judge.judge(&tape, &options)];
            assert_eq!(a, b, "{}", file.display());
        }
    }
}
