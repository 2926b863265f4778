//! The search against the definition, on all small histories and many random ones.

mod sets;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::best::BestFirst;
use super::config::Overflow;
use super::finding::Finding;
use super::generate::{self, NAMES, Repertoire, Shape};
use super::model::{Model, MultiRegister, Mutex, Observed, Register};
use super::pass::{End, pass};
use super::relevant::Crashed;
use super::search::{Limits, search};
use super::step::Capacity;
use super::timeline::{Call, Class, Timeline};
use super::{brute, referee};
use crate::edn::{Edn, parse};

/// The classes of a register with cas over `values` values: reads (of nil, too),
/// writes, cas. Indeterminate ones come without the reads.
fn register_classes(model: &mut Register, values: i64, is_certain: bool) -> Vec<Class> {
    let mut classes = Vec::new();
    let mut add = |f: &str, value: Edn| {
        let completed = is_certain.then_some(&value);
        let op = Observed { f, invoked: &value, completed };
        classes.extend(model.classify(op).expect("well-formed"));
    };
    add("read", Edn::Nil);
    for a in 0..values {
        add("read", Edn::Int(a));
        add("write", Edn::Int(a));
        for b in 0..values {
            add("cas", Edn::Vector(vec![Edn::Int(a), Edn::Int(b)]));
        }
    }
    classes
}

fn verdict(model: &mut dyn Model, timeline: &Timeline) -> bool {
    match search(model, timeline, Limits::DEFAULT) {
        Finding::Linearizable(_) => true,
        Finding::Violation { .. } => false,
        Finding::GaveUp { reason } => panic!("gave up on a tiny history: {reason}"),
    }
}

/// All ways to interleave `calls` invocations with their returns: as intervals.
fn interleavings(calls: usize) -> Vec<Vec<(usize, usize)>> {
    fn go(
        at: usize,
        calls: usize,
        spans: &mut Vec<(usize, usize)>,
        out: &mut Vec<Vec<(usize, usize)>>,
    ) {
        if at == 2 * calls {
            out.push(spans.clone());
            return;
        }
        if spans.len() < calls {
            spans.push((at, usize::MAX));
            go(at + 1, calls, spans, out);
            spans.pop();
        }
        for i in 0..spans.len() {
            if spans[i].1 == usize::MAX {
                spans[i].1 = at;
                go(at + 1, calls, spans, out);
                spans[i].1 = usize::MAX;
            }
        }
    }
    let mut out = Vec::new();
    go(0, calls, &mut Vec::new(), &mut out);
    out
}

/// Compares on every history of `calls` calls whose classes are taken from `certain`,
/// or from `crashed` for calls that never return.
fn compare_all(
    model: &mut dyn Model,
    calls: usize,
    certain: &[Class],
    crashed: &[Class],
) -> (usize, usize) {
    let choices = certain.len() + crashed.len();
    let (mut good, mut bad) = (0, 0);
    for spans in interleavings(calls) {
        for number in 0..choices.pow(calls as u32) {
            let mut rest = number;
            let call = |(invoked, returned): &(usize, usize)| {
                let choice = rest % choices;
                rest /= choices;
                match certain.get(choice) {
                    Some(class) => {
                        Call { class: *class, invoked: *invoked, returned: Some(*returned) }
                    }
                    None => Call {
                        class: crashed[choice - certain.len()],
                        invoked: *invoked,
                        returned: None,
                    },
                }
            };
            let timeline = Timeline::new(spans.iter().map(call).collect());
            let expected = brute::is_linearizable(model, &timeline);
            assert_eq!(verdict(model, &timeline), expected, "{timeline:?}");
            if expected { good += 1 } else { bad += 1 }
        }
    }
    (good, bad)
}

#[test]
fn every_register_history_of_three_calls() {
    let mut model = Register::with_cas();
    let certain = register_classes(&mut model, 2, true);
    let crashed = register_classes(&mut model, 2, false);
    for calls in 1..=3 {
        let (good, bad) = compare_all(&mut model, calls, &certain, &crashed);
        assert!(good > 0 && bad > 0);
    }
}

#[test]
fn every_register_history_of_four_calls_of_few_classes() {
    let mut model = Register::with_cas();
    let all = register_classes(&mut model, 2, true);
    // read 0, write 0, cas [0 1], read 1; write 1, cas [1 0] with unknown outcome.
    let (certain, crashed) = ([all[1], all[2], all[4], all[5]], [all[6], all[7]]);
    let (good, bad) = compare_all(&mut model, 4, &certain, &crashed);
    assert!(good > 1000 && bad > 1000, "{good} good, {bad} bad");
}

fn below(rng: &mut Pcg64Mcg, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

/// Any calls at all, at random places.
fn random_timeline(
    rng: &mut Pcg64Mcg,
    calls: usize,
    certain: &[Class],
    crashed: &[Class],
) -> Timeline {
    let span = 2 + below(rng, 2 * calls);
    let mut ends: Vec<(usize, usize)> = Vec::new();
    for _ in 0..calls {
        let from = below(rng, 2 * calls);
        ends.push((from, from + 1 + below(rng, span)));
    }
    // Distinct positions, in the order drawn.
    let mut order: Vec<(usize, usize, bool)> = Vec::new();
    for (i, (from, to)) in ends.iter().enumerate() {
        order.push((*from, i, false));
        order.push((*to, i, true));
    }
    order.sort_unstable();
    let mut timeline = vec![(0, 0); calls];
    for (position, (_, i, is_return)) in order.into_iter().enumerate() {
        if is_return { timeline[i].1 = position } else { timeline[i].0 = position }
    }
    let call = |(invoked, returned): (usize, usize)| {
        if !crashed.is_empty() && below(rng, 4) == 0 {
            Call { class: crashed[below(rng, crashed.len())], invoked, returned: None }
        } else {
            Call { class: certain[below(rng, certain.len())], invoked, returned: Some(returned) }
        }
    };
    Timeline::new(timeline.into_iter().map(call).collect())
}

fn compare_random(model: &mut dyn Model, rounds: u64, certain: &[Class], crashed: &[Class]) {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..rounds {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let calls = 3 + below(&mut rng, 6);
        let timeline = random_timeline(&mut rng, calls, certain, crashed);
        let expected = brute::is_linearizable(model, &timeline);
        assert_eq!(verdict(model, &timeline), expected, "seed {seed}: {timeline:?}");
        let max_per_state = 1 + below(&mut rng, 2);
        let cramped = Limits { max_per_state, max_situations: 0, ..Limits::DEFAULT };
        match search(model, &timeline, cramped) {
            Finding::Linearizable(_) => assert!(expected, "seed {seed}: {timeline:?}"),
            Finding::Violation { .. } => assert!(!expected, "seed {seed}: {timeline:?}"),
            Finding::GaveUp { .. } => {}
        }
        if expected { good += 1 } else { bad += 1 }
    }
    assert!(good * 20 > rounds && bad * 20 > rounds, "{good} good, {bad} bad");
}

#[test]
fn random_register_histories() {
    for values in 1..=4 {
        let mut model = Register::with_cas();
        let certain = register_classes(&mut model, values, true);
        let crashed = register_classes(&mut model, values, false);
        compare_random(&mut model, 10_000, &certain, &crashed);
    }
}

#[test]
fn random_mutex_histories() {
    let classes = [Class(0), Class(1)];
    compare_random(&mut Mutex::default(), 20_000, &classes, &classes);
}

#[test]
fn random_multi_register_histories() {
    let mut model = MultiRegister::default();
    let (mut certain, mut crashed) = (Vec::new(), Vec::new());
    for text in [
        "[[:r 0 nil]]",
        "[[:r 0 1] [:r 1 1]]",
        "[[:r 0 1] [:r 1 nil]]",
        "[[:w 0 1]]",
        "[[:w 0 1] [:w 1 1]]",
        "[[:r 0 1] [:w 0 2] [:r 0 2]]",
        "[[:r 1 1] [:w 0 1] [:w 1 nil]]",
    ] {
        let value = parse(text).expect("EDN");
        let op = Observed { f: "txn", invoked: &value, completed: Some(&value) };
        certain.extend(model.classify(op).expect("well-formed"));
        crashed.extend(model.classify(Observed { completed: None, ..op }).expect("well-formed"));
    }
    assert_eq!((certain.len(), crashed.len()), (7, 4), "indeterminate reads are nothing");
    compare_random(&mut model, 20_000, &certain, &crashed);
}

/// `count` writes that are all open, then a read of each value while they still are.
fn all_open(model: &mut Register, count: usize) -> Vec<Call> {
    let mut class = |f: &str, value: usize| {
        let value = Edn::from(value);
        let op = Observed { f, invoked: &value, completed: Some(&value) };
        model.classify(op).expect("well-formed").expect("it has an effect")
    };
    let mut calls = Vec::new();
    for i in 0..count {
        let returned = Some(4 * count + i);
        calls.push(Call { class: class("write", i), invoked: i, returned });
        let at = count + 2 * i;
        calls.push(Call { class: class("read", i), invoked: at, returned: Some(at + 1) });
    }
    calls
}

#[test]
fn more_open_calls_than_a_word_has_bits() {
    for count in [60, 65, 100] {
        let mut model = Register::with_cas();
        let mut calls = all_open(&mut model, count);
        assert!(verdict(&mut model, &Timeline::new(calls.clone())), "{count}");
        // The first value once more: its write is spent.
        let class = calls[1].class;
        calls.push(Call { class, invoked: 3 * count, returned: Some(3 * count + 1) });
        assert!(!verdict(&mut model, &Timeline::new(calls)), "{count}");
    }
    let mut model = Register::with_cas();
    let timeline = Timeline::new(all_open(&mut model, 4100));
    assert!(matches!(search(&mut model, &timeline, Limits::DEFAULT), Finding::GaveUp { .. }));
}

#[test]
fn a_limit_on_work_is_kept() {
    let mut model = Register::with_cas();
    let timeline = Timeline::new(all_open(&mut model, 40));
    let limits = Limits { max_work: 100, max_situations: 0, ..Limits::DEFAULT };
    let finding = search(&mut model, &timeline, limits);
    assert!(matches!(&finding, Finding::GaveUp { reason } if reason.contains("comparisons")));
}

#[test]
fn every_model_is_judged_as_the_referee_and_the_definition_do() {
    for name in NAMES {
        let mut counts = [0, 0];
        for seed in 0..400 {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let values = 1 + below(&mut rng, 4) as i64;
            let Repertoire { mut model, certain, crashed } =
                generate::repertoire(name, values, &mut rng);
            let shape = Shape {
                clients: 1 + below(&mut rng, 5),
                operations: 2 + below(&mut rng, 6),
                crashed_per_mille: 200 * below(&mut rng, 3),
                eagerness: 20 + 20 * below(&mut rng, 4),
            };
            let model = model.as_mut();
            let mut timeline = generate::linearizable(model, &certain, &crashed, &shape, &mut rng);
            if seed % 4 > 0 {
                let count = 1 + below(&mut rng, 3);
                timeline = generate::corrupted(&timeline, &certain, count, &mut rng);
            }
            let expected = brute::is_linearizable(model, &timeline);
            assert!(expected || seed % 4 > 0, "{name}, seed {seed}: {timeline:?}");
            let referee = referee::is_linearizable(model, &timeline, referee::MAX_SITUATIONS);
            assert_eq!(referee, Some(expected), "{name}, seed {seed}: {timeline:?}");
            assert_eq!(verdict(model, &timeline), expected, "{name}, seed {seed}: {timeline:?}");
            assert_cramped(model, &timeline, expected, seed);
            assert_the_last_word_is_the_same(model, &timeline, seed);
            counts[usize::from(expected)] += 1;
        }
        assert!(counts[0] > 20 && counts[1] > 100, "{name}: {counts:?}");
    }
}

/// Checks that the search depth first, which is asked last, accuses the same call.
fn assert_the_last_word_is_the_same(model: &mut dyn Model, timeline: &Timeline, seed: u64) {
    let exact = search(model, timeline, Limits::DEFAULT);
    let at_once = Limits { max_work: 0, ..Limits::DEFAULT };
    match (exact, search(model, timeline, at_once)) {
        (Finding::Linearizable(_), Finding::Linearizable(_)) => {}
        (Finding::Violation { call, .. }, Finding::Violation { call: last, .. }) => {
            assert_eq!(call, last, "seed {seed}: {timeline:?}");
        }
        findings => panic!("seed {seed}: {findings:?}: {timeline:?}"),
    }
}

/// Checks that a search which has to evict, to join and to stop is never wrong.
fn assert_cramped(model: &mut dyn Model, timeline: &Timeline, expected: bool, seed: u64) {
    for (max_per_state, max_work) in [(1, u64::MAX), (2, u64::MAX), (1, 300), (3, 300)] {
        let limits = Limits { max_per_state, max_work, max_situations: 0 };
        match search(model, timeline, limits) {
            Finding::Linearizable(_) => assert!(expected, "seed {seed}: {timeline:?}"),
            Finding::Violation { .. } => assert!(!expected, "seed {seed}: {timeline:?}"),
            Finding::GaveUp { reason } => assert!(!reason.is_empty()),
        }
    }
}

/// The search for the best alone, in several orders, and the first pass alone. Wasteful orders
/// come to the same places with less spent later on, where a lesson from a failure would be missed
/// if it covered too much.
fn assert_lessons_are_true(model: &mut dyn Model, timeline: &Timeline, expected: bool, seed: u64) {
    for weight in [25, 0, -25] {
        let told = || format!("seed {seed}, weight {weight}: {timeline:?}");
        match BestFirst::<1>::weighing(model, timeline, weight).run(model, 2_000_000).0 {
            End::Survived { .. } => assert!(expected, "{}", told()),
            End::Died { .. } => assert!(!expected, "{}", told()),
            End::Stopped(_) | End::Inconclusive => {}
        }
    }
    let rough = Capacity { max_per_state: 1, overflow: Overflow::Join };
    let (end, _) = pass::<1>(model, timeline, rough, Crashed::Freely, 1_000_000);
    assert!(!expected || !matches!(end, End::Died { .. }), "seed {seed}: {timeline:?}");
}

/// Histories of which up to two thirds are indeterminate.
#[test]
fn lessons_from_failures_are_true() {
    for name in NAMES {
        // Registers have the classes that are exhausted; the others are slower.
        let rounds = if name.contains("cas") { 6000 } else { 400 };
        let mut counts = [0, 0];
        for seed in 0..rounds {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let values = 1 + below(&mut rng, 5) as i64;
            let Repertoire { mut model, certain, crashed } =
                generate::repertoire(name, values, &mut rng);
            let shape = Shape {
                clients: 1 + below(&mut rng, 6),
                operations: 4 + below(&mut rng, 14),
                crashed_per_mille: 130 * below(&mut rng, 6),
                eagerness: 20 + 20 * below(&mut rng, 4),
            };
            let model = model.as_mut();
            let timeline = generate::linearizable(model, &certain, &crashed, &shape, &mut rng);
            let count = below(&mut rng, 4);
            let timeline = generate::corrupted(&timeline, &certain, count, &mut rng);
            if let Some(expected) = referee::is_linearizable(model, &timeline, 20_000) {
                assert_lessons_are_true(model, &timeline, expected, seed);
                counts[usize::from(expected)] += 1;
            }
        }
        assert!(counts[0] > 40 && counts[1] > 100, "{name}: {counts:?}");
    }
}

/// A few indeterminate calls, then clients that need them one by one: nearly every failure is for
/// want of one of them.
#[test]
fn lessons_from_exhausted_classes_are_true() {
    let (mut model, mut counts) = (Register::with_cas(), [0, 0]);
    let mut class = |f: &str, value: Edn, is_certain: bool| {
        let op = Observed { f, invoked: &value, completed: is_certain.then_some(&value) };
        model.classify(op).expect("well-formed").expect("it has an effect")
    };
    let pairs = || (0..3_i64).flat_map(|a| (0..3_i64).map(move |b| (a, b)));
    let cas = |(a, b): (i64, i64)| Edn::vector([a, b]);
    let pairs: Vec<(i64, i64)> = pairs().filter(|(a, b)| a != b).collect();
    let mut crashed: Vec<Class> =
        pairs.iter().map(|pair| class("cas", cas(*pair), false)).collect();
    // Two ways to the same state that spend one call each.
    crashed.extend((0..3_i64).flat_map(|a| [class("write", a.into(), false); 2]));
    let writes: Vec<Class> = (0..3_i64).map(|a| class("write", a.into(), true)).collect();
    let reads: Vec<Class> = (0..3_i64).map(|a| class("read", a.into(), true)).collect();
    for seed in 0..6000 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut calls = Vec::new();
        for invoked in 0..2 + below(&mut rng, 5) {
            let class = crashed[below(&mut rng, crashed.len())];
            calls.push(Call { class, invoked, returned: None });
        }
        let certain = [reads.clone(), reads.clone(), writes[..1].to_vec()].concat();
        let rest = random_timeline(
            &mut rng,
            3 + below(&mut Pcg64Mcg::seed_from_u64(seed), 6),
            &certain,
            &[],
        );
        calls.extend(rest.calls.iter().map(|call| Call {
            invoked: call.invoked + 10,
            returned: call.returned.map(|returned| returned + 10),
            ..*call
        }));
        let timeline = Timeline::new(calls);
        let expected = referee::is_linearizable(&mut model, &timeline, referee::MAX_SITUATIONS);
        let expected = expected.expect("it is small");
        assert_lessons_are_true(&mut model, &timeline, expected, seed);
        counts[usize::from(expected)] += 1;
    }
    assert!(counts[0] > 1000 && counts[1] > 500, "{counts:?}");
}

/// Five clients, one hundred and more indeterminate calls of fifty values: a search that spends
/// them freely, or tells apart all ways to have spent them, does not end.
#[test]
fn long_histories_with_many_indeterminate_calls_are_decided() {
    for seed in 0..4_u64 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let Repertoire { mut model, certain, crashed } =
            generate::repertoire("cas-register", 50, &mut rng);
        let shape = Shape {
            clients: 2 + 2 * seed as usize,
            operations: 6000,
            crashed_per_mille: 20,
            eagerness: 60,
        };
        let model = model.as_mut();
        let timeline = generate::linearizable(model, &certain, &crashed, &shape, &mut rng);
        let max_work = 300 * timeline.events.len() as u64;
        let limits = Limits { max_work, max_situations: 0, ..Limits::DEFAULT };
        let finding = search(model, &timeline, limits);
        assert!(matches!(finding, Finding::Linearizable(_)), "{shape:?}: {finding:?}");
    }
}

/// Each of these was drawn with a hidden order of effects. The search in joined
/// configurations that took the first usable call of a class called every fourth of the
/// histories of cas with 20 clients impossible.
#[test]
fn linearizable_histories_are_not_accused() {
    for seed in 0..40_u64 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let name = if seed % 4 == 3 { NAMES[seed as usize / 4 % 4] } else { "cas-register" };
        let values = 2 + below(&mut rng, 3) as i64;
        let Repertoire { mut model, certain, crashed } =
            generate::repertoire(name, values, &mut rng);
        let shape = Shape {
            clients: 2 + below(&mut rng, 59),
            operations: 300 + below(&mut rng, 1000),
            crashed_per_mille: [0, 5, 10, 50][below(&mut rng, 4)],
            eagerness: 20 + 20 * below(&mut rng, 4),
        };
        let model = model.as_mut();
        let timeline = generate::linearizable(model, &certain, &crashed, &shape, &mut rng);
        for max_per_state in [4, Limits::DEFAULT.max_per_state] {
            let limits = Limits { max_per_state, max_situations: 0, ..Limits::DEFAULT };
            let finding = search(model, &timeline, limits);
            let is_accused = matches!(finding, Finding::Violation { .. });
            assert!(!is_accused, "{name}, seed {seed}, {shape:?}");
        }
    }
}
