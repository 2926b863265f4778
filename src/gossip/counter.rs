//! A counter that goes up and down: totals by author.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lattice::Lattice;
use super::planted::merged_total;
use super::version::Author;

/// The lattice: for each author the totals of its additions and its subtractions;
/// merging takes the larger total. Every incarnation of a node is an author of its own, so
/// a total is only ever changed by the one process that issued it, and a total from
/// before a loss of memory is never continued from a lower value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counter(BTreeMap<Author, (u64, u64)>);

impl Counter {
    /// The value: all that was added less all that was taken away.
    pub fn value(&self) -> i128 {
        self.0.values().map(|(up, down)| i128::from(*up) - i128::from(*down)).sum()
    }

    /// Returns the delta to merge when `author` adds `delta`.
    /// `None` if its total would exceed 64 bits.
    pub fn added(&self, author: Author, delta: i64) -> Option<Counter> {
        let (mut up, mut down) = self.0.get(&author).copied().unwrap_or_default();
        let total = if delta < 0 { &mut down } else { &mut up };
        *total = total.checked_add(delta.unsigned_abs())?;
        Some(Counter(BTreeMap::from([(author, (up, down))])))
    }
}

impl Lattice for Counter {
    fn merge(&mut self, other: &Counter) {
        for (author, (up, down)) in &other.0 {
            let own = self.0.entry(*author).or_default();
            own.0 = merged_total(own.0.max(*up), own.0, *up);
            own.1 = merged_total(own.1.max(*down), own.1, *down);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gossip::version::{Boot, Rank};

    fn author(rank: u16) -> Author {
        Author { rank: Rank(rank), boot: Boot(1) }
    }

    fn counters() -> impl Strategy<Value = Counter> {
        let entry = (0u16..4, (0u64..9, 0u64..9)).prop_map(|(rank, totals)| (author(rank), totals));
        proptest::collection::btree_map(
            entry.clone().prop_map(|e| e.0),
            entry.prop_map(|e| e.1),
            0..5,
        )
        .prop_map(Counter)
    }

    fn join(a: &Counter, b: &Counter) -> Counter {
        let mut joined = a.clone();
        joined.merge(b);
        joined
    }

    proptest! {
        #[test]
        fn is_a_semilattice(a in counters(), b in counters(), c in counters()) {
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &Counter::default()), a);
        }

        #[test]
        fn counts(deltas in proptest::collection::vec((0u16..3, -100i64..100), 0..40)) {
            let mut counter = Counter::default();
            for (rank, delta) in &deltas {
                let change = counter.added(author(*rank), *delta).unwrap();
                counter.merge(&change);
                counter.merge(&change);
            }
            let sum: i128 = deltas.iter().map(|(_, delta)| i128::from(*delta)).sum();
            prop_assert_eq!(counter.value(), sum);
        }
    }

    #[test]
    fn totals_do_not_wrap() {
        let mut counter = Counter::default();
        counter.merge(&counter.added(author(0), i64::MIN).unwrap());
        counter.merge(&counter.added(author(0), i64::MIN + 1).unwrap());
        assert_eq!(counter.value(), 2 * i128::from(i64::MIN) + 1);
        assert!(counter.added(author(0), i64::MIN).is_none());
        assert!(counter.added(author(0), 1).is_some());
    }
}
