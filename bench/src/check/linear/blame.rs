//! The causes of a failure.
//!
//! With hundreds of indeterminate calls there are too many ways to have spent some of
//! them, and nearly all fail for the same reason, to which none of these calls matters.
//! So the search in `best.rs` remembers the causes of a failure only, as solvers of
//! constraints learn clauses from conflicts:
//!
//! * *Spent.* A class is *blamed* if the search wanted one of its calls and all were spent. A
//!   configuration that failed fails with any counts that are at least the blamed ones. Proof: move
//!   all counts of the configuration, and of everything that was reached from it, by the same
//!   amounts, so that the blamed ones are not less than they were. A step is impossible for want of
//!   a call only where it was before or where more is spent, so that the search makes the same
//!   steps or fewer; and a configuration that it left out as dominated is still dominated. A count
//!   that is blamed after `n` more calls of its class were spent is less by `n` before these.
//! * *Owed.* Calls that return after the last return that failed were not asked for: the
//!   configuration cannot be completed up to that return, whatever is owed later.
//!
//! For the same reason the steps of one return need not be told apart by the calls that they spent,
//! except by the classes that are blamed in the end: if two ways lead to the same state, owe and
//! can use the same, and one of them failed, the other fails unless it has more left of a class
//! that is blamed. So the search begins with no such classes, and when a configuration seems to
//! have failed, it looks again with those blamed by then, until there are no new ones.

use super::bits::Bits;
use super::config::{Config, SpentTable};
use super::timeline::Class;

/// Why a configuration failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Blame {
    /// Classes, in order, and counts of their spent calls from which on it fails. Zero
    /// stands for a class that was blamed only after the configuration spent more of it.
    spent: Vec<(Class, u32)>,
    /// The number of events before the last return that failed.
    reach: usize,
}

impl Blame {
    /// The failure of a return after `at` events, for no reason yet.
    pub(super) fn new(at: usize) -> Blame {
        Blame { spent: Vec::new(), reach: at }
    }

    /// The classes whose counts may matter.
    pub(super) fn classes(&self) -> Vec<Class> {
        self.spent.iter().map(|entry| entry.0).collect()
    }

    /// How many classes those are.
    pub(super) fn len(&self) -> usize {
        self.spent.len()
    }

    /// Blames `class` from `count` spent calls on.
    pub(super) fn add(&mut self, class: Class, count: u32) {
        match self.spent.binary_search_by_key(&class, |entry| entry.0) {
            Ok(at) => self.spent[at].1 = self.spent[at].1.max(count),
            Err(at) => self.spent.insert(at, (class, count)),
        }
    }

    /// Adds the blame of a result of this configuration; `since` is how many more calls
    /// of a class that one spent.
    pub(super) fn inherit(&mut self, other: &Blame, since: impl Fn(Class) -> u32) {
        self.reach = self.reach.max(other.reach);
        for (class, count) in other.spent.iter().filter(|entry| entry.1 > 0) {
            self.add(*class, count.saturating_sub(since(*class)));
        }
    }
}

/// A configuration that cannot be completed, reduced to the causes of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure<const W: usize> {
    config: Config<W>,
    reach: usize,
}

impl<const W: usize> Failure<W> {
    /// `config` failed for this reason. `returned_at` gives the number of events before the return
    /// of the call in a slot.
    pub(super) fn new(
        mut config: Config<W>,
        blame: &Blame,
        table: &mut SpentTable,
        returned_at: impl Fn(usize) -> usize,
    ) -> Failure<W> {
        let mut late = Bits::EMPTY;
        config.owed.iter().filter(|slot| returned_at(*slot) > blame.reach).for_each(|slot| {
            late.insert(slot);
        });
        let spent: Vec<_> = blame.spent.iter().copied().filter(|entry| entry.1 > 0).collect();
        let is_spent = |(class, count): &(Class, u32)| table.count(config.spent, *class) >= *count;
        assert!(spent.iter().all(is_spent), "no more is blamed than was spent");
        config.owed = config.owed.without(&late);
        config.spent = table.number(spent);
        Failure { config, reach: blame.reach }
    }

    /// Whether `config` fails as well.
    pub(super) fn covers(&self, config: &Config<W>, table: &SpentTable) -> bool {
        self.config.dominates(config, table)
    }

    /// Whether `other` says nothing that this one does not say.
    pub(super) fn includes(&self, other: &Failure<W>, table: &SpentTable) -> bool {
        self.config.dominates(&other.config, table)
    }

    /// Why the configurations that it covers fail.
    pub(super) fn blame(&self, table: &SpentTable) -> Blame {
        Blame { spent: table.counts(self.config.spent).to_vec(), reach: self.reach }
    }
}
