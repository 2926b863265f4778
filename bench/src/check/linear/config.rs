//! A configuration: one way in which the calls so far can have taken effect.
//!
//! For every call that is open and will return, a configuration knows two things:
//!
//! * *owed*: it must still take effect before it returns;
//! * *usable*: it can still take effect and change the state.
//!
//! A new update is both, and neither once it has taken effect. A read is only
//! ever owed. The third combination keeps the set small: usable, but not
//! owed. A blind write that is open while another blind write takes effect *may* have
//! taken effect immediately before that one, where no read could notice; so it owes
//! nothing any more, and can still be used. The same holds for a write of the
//! value that is there already. Indeterminate calls are like that from the start.
//!
//! One configuration then *dominates* another in the same state if it owes a subset
//! and can use a superset: whatever completes the other completes it too.

use super::bits::Bits;
use super::timeline::{CallId, Class, State};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The slots are those of the frontier: small numbers of open calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config<const W: usize> {
    /// The state of the object.
    pub(super) state: State,
    /// Slots of calls that must still take effect.
    pub(super) owed: Bits<W>,
    /// Slots of calls that can still change the state.
    pub(super) usable: Bits<W>,
    /// Which indeterminate calls took effect.
    pub(super) spent: Spent,
    /// Whether the last step towards this configuration paid anything that a blind
    /// write would not have paid as well.
    pub(super) productive: bool,
    /// The call that took effect last. For people; nothing depends on it.
    pub(super) last: Option<CallId>,
}

impl<const W: usize> Config<W> {
    pub(super) fn dominates(&self, other: &Config<W>, table: &SpentTable) -> bool {
        self.state == other.state
            && self.owed.is_subset(&other.owed)
            && other.usable.is_subset(&self.usable)
            && self.productive >= other.productive
            && table.is_at_most(self.spent, other.spent)
    }

    /// Returns how unlikely it is to last. A spent call never comes back, so that it weighs more
    /// than an owed one: measured on 20 processes, 5 % of whose calls are
    /// indeterminate, equal weights fail even with 64 times as many configurations.
    pub(super) fn cost(&self, table: &SpentTable) -> (u32, u32) {
        let spent = table.totals[self.spent.0 as usize];
        (self.owed.len() + 4 * spent, Bits::<W>::CAPACITY as u32 - self.usable.len())
    }

    /// How much a join with `other` makes up.
    fn distance(&self, other: &Config<W>) -> u32 {
        let differ = |a: &Bits<W>, b: &Bits<W>| a.or(b).without(&a.and(b)).len();
        differ(&self.owed, &other.owed) + differ(&self.usable, &other.usable)
    }

    /// The least configuration that dominates both.
    fn join(&self, other: &Config<W>, table: &mut SpentTable) -> Config<W> {
        Config {
            state: self.state,
            owed: self.owed.and(&other.owed),
            usable: self.usable.or(&other.usable),
            spent: table.least(self.spent, other.spent),
            productive: self.productive || other.productive,
            last: self.last,
        }
    }
}

/// The way out when a state has too many configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Drop the worst. The rest is possible, so that if it lasts to the end, the
    /// history is linearizable.
    Evict,
    /// Replace two by one that dominates both. Every possible order is left, so that
    /// if nothing is, the history is not linearizable.
    Join,
}

/// A set of configurations of which none dominates another.
#[derive(Clone, Debug)]
pub(super) struct Antichain<const W: usize> {
    by_state: BTreeMap<State, Vec<Config<W>>>,
    len: usize,
    /// The most that are kept for one state.
    max_per_state: usize,
    overflow: Overflow,
    /// Whether nothing was dropped or joined so far.
    is_exact: bool,
    /// Whether there were more states than a set that joins can hold.
    is_overfull: bool,
}

/// How many times more configurations of all states are kept than of one state. Registers
/// have few states; a queue has as many as there are orders of its elements.
const STATES: usize = 256;

/// Configurations of all states that are always kept: a string has a state for each prefix of a value that
/// a read returned.
const ALWAYS_KEPT: usize = 4096;

impl<const W: usize> Antichain<W> {
    pub(super) fn new(max_per_state: usize, overflow: Overflow) -> Antichain<W> {
        let by_state = BTreeMap::new();
        Antichain { by_state, len: 0, max_per_state, overflow, is_exact: true, is_overfull: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether something was dropped that a join would have had to keep.
    pub(super) fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Takes over from a set on the way to this one that things were lost.
    pub(super) fn inherit(&mut self, other: &Antichain<W>) {
        self.is_exact &= other.is_exact;
        self.is_overfull |= other.is_overfull;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Config<W>> {
        self.by_state.values().flatten()
    }

    /// For changes that cannot make one configuration dominate another.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Config<W>> {
        self.by_state.values_mut().flatten()
    }

    /// Adds `config` and removes those that it dominates, unless it is dominated itself or too
    /// many are there. Returns the added one; counts comparisons in `work`.
    pub(super) fn insert(
        &mut self,
        mut config: Config<W>,
        table: &mut SpentTable,
        work: &mut u64,
    ) -> Option<Config<W>> {
        let peers = self.by_state.entry(config.state).or_default();
        *work += peers.len() as u64 + 1;
        if peers.iter().any(|peer| peer.dominates(&config, table)) {
            return None;
        }
        let before = peers.len();
        if before == 0 && self.len >= self.max_per_state.saturating_mul(STATES).max(ALWAYS_KEPT) {
            self.is_exact = false;
            self.is_overfull = self.overflow == Overflow::Join;
            return None;
        }
        peers.retain(|peer| !config.dominates(peer, table));
        if peers.len() >= self.max_per_state {
            self.is_exact = false;
            *work += peers.len() as u64;
            match self.overflow {
                Overflow::Evict => {
                    let worst = (0..peers.len()).max_by_key(|at| peers[*at].cost(table))?;
                    if peers[worst].cost(table) <= config.cost(table) {
                        return None;
                    }
                    peers.swap_remove(worst);
                }
                Overflow::Join => {
                    let near = (0..peers.len()).min_by_key(|at| peers[*at].distance(&config))?;
                    config = config.join(&peers[near], table);
                    peers.retain(|peer| !config.dominates(peer, table));
                }
            }
        }
        peers.push(config);
        self.len = self.len + peers.len() - before;
        Some(config)
    }
}

/// How many indeterminate calls of each class took effect, as a number in a
/// [`SpentTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spent(u32);

impl Spent {
    /// None did.
    pub(super) const NOTHING: Spent = Spent(0);
}

/// Classes and how many indeterminate calls of each took effect, in order, without zeros.
type Counts = Arc<[(Class, u32)]>;

/// The counts behind [`Spent`].
#[derive(Clone, Debug)]
pub(super) struct SpentTable {
    numbers: BTreeMap<Counts, Spent>,
    /// The counts after one more call of a class, where they were asked for.
    successors: BTreeMap<(Spent, Class), Spent>,
    counts: Vec<Counts>,
    /// The sum of each.
    totals: Vec<u32>,
    /// Entries of all counts together: the size of the table in memory.
    size: usize,
    /// The classes whose counts are compared; all if none are given.
    pub(super) critical: Option<Vec<Class>>,
}

impl SpentTable {
    pub(super) fn new() -> SpentTable {
        let (numbers, counts) = (BTreeMap::new(), Vec::new());
        let mut table = SpentTable {
            numbers,
            successors: BTreeMap::new(),
            counts,
            totals: Vec::new(),
            size: 0,
            critical: None,
        };
        assert_eq!(table.number(Vec::new()), Spent::NOTHING, "the first number is this one's");
        table
    }

    /// How large the table is: about 16 bytes each.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many calls of `class` took effect.
    pub(super) fn count(&self, spent: Spent, class: Class) -> u32 {
        let counts = &self.counts[spent.0 as usize];
        counts.binary_search_by_key(&class, |entry| entry.0).map_or(0, |at| counts[at].1)
    }

    /// How many took effect.
    pub(super) fn total(&self, spent: Spent) -> u32 {
        self.totals[spent.0 as usize]
    }

    /// All of `spent`, by class, without zeros.
    pub(super) fn counts(&self, spent: Spent) -> &[(Class, u32)] {
        &self.counts[spent.0 as usize]
    }

    /// `spent` and one more of `class`.
    pub(super) fn plus_one(&mut self, spent: Spent, class: Class) -> Spent {
        if let Some(number) = self.successors.get(&(spent, class)) {
            return *number;
        }
        let mut counts = self.counts[spent.0 as usize].to_vec();
        match counts.binary_search_by_key(&class, |entry| entry.0) {
            Ok(at) => counts[at].1 += 1,
            Err(at) => counts.insert(at, (class, 1)),
        }
        let number = self.number(counts);
        self.successors.insert((spent, class), number);
        self.size += 2;
        number
    }

    /// The smaller count of each class.
    fn least(&mut self, a: Spent, b: Spent) -> Spent {
        if a == b {
            return a;
        }
        let smaller = |(class, count): &(Class, u32)| {
            let count = self.count(b, *class).min(*count);
            (count > 0).then_some((*class, count))
        };
        let counts = self.counts[a.0 as usize].iter().filter_map(smaller).collect();
        self.number(counts)
    }

    /// The number of `counts`, which are in order and without zeros.
    pub(super) fn number(&mut self, counts: Vec<(Class, u32)>) -> Spent {
        if let Some(number) = self.numbers.get(counts.as_slice()) {
            return *number;
        }
        let number = Spent(u32::try_from(self.counts.len()).expect("bounded by the limits"));
        self.totals.push(counts.iter().map(|entry| entry.1).sum());
        self.size += counts.len() + 8;
        let counts: Counts = counts.into();
        self.counts.push(Arc::clone(&counts));
        self.numbers.insert(counts, number);
        number
    }

    fn is_at_most(&self, a: Spent, b: Spent) -> bool {
        if a == b || a == Spent::NOTHING {
            return true;
        }
        if let Some(critical) = &self.critical {
            return critical.iter().all(|class| self.count(a, *class) <= self.count(b, *class));
        }
        if self.totals[a.0 as usize] > self.totals[b.0 as usize] {
            return false;
        }
        let mut b = self.counts[b.0 as usize].iter();
        let mut is_covered = |(class, count): &(Class, u32)| {
            b.find(|other| other.0 >= *class).is_some_and(|(c, n)| c == class && n >= count)
        };
        self.counts[a.0 as usize].iter().all(&mut is_covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(owed: &[usize], usable: &[usize], spent: Spent) -> Config<1> {
        let bits = |members: &[usize]| {
            let mut bits = Bits::EMPTY;
            members.iter().for_each(|bit| bits.insert(*bit));
            bits
        };
        let (owed, usable) = (bits(owed), bits(usable));
        Config { state: State(0), owed, usable, spent, productive: true, last: None }
    }

    #[test]
    fn the_counts_of_indeterminate_calls_are_compared_class_by_class() {
        let mut table = SpentTable::new();
        let [first, second, third] = [0, 1, 2].map(Class);
        let one = table.plus_one(Spent::NOTHING, first);
        let other = table.plus_one(Spent::NOTHING, third);
        let both = table.plus_one(one, third);
        assert_eq!(table.plus_one(other, first), both);
        assert!(table.is_at_most(one, both) && table.is_at_most(other, both));
        assert!(!table.is_at_most(one, other) && !table.is_at_most(other, one));
        assert_eq!([first, second, third].map(|class| table.count(both, class)), [1, 0, 1]);
        assert_eq!((table.least(one, other), table.least(both, other)), (Spent::NOTHING, other));
    }

    #[test]
    fn a_dominated_configuration_is_not_kept() {
        let mut table = SpentTable::new();
        let one = table.plus_one(Spent::NOTHING, Class(0));
        let (mut set, mut work) = (Antichain::new(9, Overflow::Evict), 0);
        assert!(set.insert(config(&[1, 2], &[1], one), &mut table, &mut work).is_some());
        assert!(
            set.insert(config(&[1, 2], &[], one), &mut table, &mut work).is_none(),
            "can use less"
        );
        assert!(
            set.insert(config(&[1], &[], one), &mut table, &mut work).is_some(),
            "incomparable"
        );
        assert_eq!(set.len, 2);
        assert!(set.insert(config(&[1], &[1], Spent::NOTHING), &mut table, &mut work).is_some());
        assert_eq!(set.len, 1, "better than both");
    }
}
