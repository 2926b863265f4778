//! Sets that only grow: the decision without a search against the definition.

use super::super::model::Set;
use super::*;

/// Histories of adds and reads alone, most of them with adds whose outcome is unknown, against the
/// definition; and the search with so little work that the decision has the word.
#[test]
fn sets_that_only_grow_are_decided_as_the_definition_does() {
    let mut counts = [0, 0];
    for seed in 0..4000 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut model = Set::new(&Edn::vector((0..seed as i64 % 2).map(|_| 0_i64))).expect("a set");
        let mut class = |f: &str, invoked: Edn, completed: Option<Edn>| {
            let op = Observed { f, invoked: &invoked, completed: completed.as_ref() };
            model.classify(op).expect("well-formed").expect("it has an effect")
        };
        let adds: Vec<Class> = (0..3_i64).map(|e| class("add", e.into(), Some(e.into()))).collect();
        let crashed: Vec<Class> = (0..3_i64).map(|e| class("add", e.into(), None)).collect();
        let reads = (0..8).map(|members| {
            let elements = (0..3_i64).filter(|element| members >> element & 1 == 1);
            class("read", Edn::Nil, Some(Edn::vector(elements)))
        });
        let certain = [adds, reads.collect()].concat();
        let count = 2 + below(&mut rng, 5);
        let timeline = random_timeline(&mut rng, count, &certain, &crashed);
        let expected = brute::is_linearizable(&mut model, &timeline);
        let told = || format!("seed {seed}: {timeline:?}");
        assert_eq!(model.decides(&timeline, timeline.events.len()), Some(expected), "{}", told());
        let exact = search(&mut model, &timeline, Limits::DEFAULT);
        let none = Limits { max_work: 0, max_situations: 0, ..Limits::DEFAULT };
        match (exact, search(&mut model, &timeline, none)) {
            (Finding::Linearizable(_), Finding::Linearizable(_)) => assert!(expected),
            (Finding::Violation { call, .. }, Finding::Violation { call: decided, .. }) => {
                assert_eq!(call, decided, "{}", told());
            }
            findings => panic!("{findings:?}: {}", told()),
        }
        counts[usize::from(expected)] += 1;
    }
    assert!(counts[0] > 500 && counts[1] > 500, "{counts:?}");
}
