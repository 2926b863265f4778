//! A set from which nothing is removed: a decision without a search.
//!
//! Each read returns the whole set, so the reads form a chain: those with the same elements are a
//! group, and the groups follow each other by inclusion. Number them from 1, and let an operation
//! have a *place*: a read of group *i* has the place 2*i*, an add one of the odd places between groups.
//! No add of an element takes effect before the last group that lacks it, and one does before the
//! first group that has it. Real time adds one rule: an operation that begins after another
//! returned has no lower place. The lowest places that these rules allow are found in one pass over
//! the events, for all operations at once, and the rules can be met if these meet them. So
//! indeterminate adds, which are too many for any search where one read shows some of them, cost
//! nothing here.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::linear::timeline::{CallId, Event, State};

/// An operation of such a set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A read that returned this state.
    Read(State),
    /// An add of this element.
    Add(u32),
}

/// The states that reads returned, in a chain.
struct Chain {
    /// The place of each.
    places: BTreeMap<State, usize>,
    /// The lowest place of an add of each element that a read returned; 0 if it needs none.
    lowest: BTreeMap<u32, usize>,
    /// The place after all reads.
    after: usize,
}

impl Chain {
    /// The chain of `read`; none if two of the states exclude each other.
    fn of<'c>(
        read: BTreeSet<State>,
        initial: &BTreeSet<u32>,
        contents: impl Fn(State) -> &'c BTreeSet<u32>,
    ) -> Option<Chain> {
        let mut read: Vec<State> = read.into_iter().collect();
        read.sort_by_key(|state| contents(*state).len());
        let mut lowest: BTreeMap<u32, usize> =
            initial.iter().map(|element| (*element, 0)).collect();
        let (mut places, mut before) = (BTreeMap::new(), initial);
        for (group, state) in read.into_iter().enumerate() {
            let now = contents(state);
            if !before.is_subset(now) {
                return None;
            }
            for element in now.difference(before) {
                lowest.insert(*element, 2 * group + 1);
            }
            places.insert(state, 2 * group + 2);
            before = now;
        }
        let after = 2 * places.len() + 1;
        Some(Chain { places, lowest, after })
    }
}

/// Whether some order of effects explains `events`, which may break off anywhere: a call without a
/// return there may have taken effect.
pub(super) fn is_explained<'c>(
    events: &[Event],
    step: impl Fn(CallId) -> Step,
    initial: &BTreeSet<u32>,
    contents: impl Fn(State) -> &'c BTreeSet<u32>,
) -> bool {
    let returned: BTreeSet<CallId> = events
        .iter()
        .filter_map(|event| match event {
            Event::Return(call) => Some(*call),
            Event::Invoke(_) => None,
        })
        .collect();
    let read = returned.iter().filter_map(|call| match step(*call) {
        Step::Read(state) => Some(state),
        Step::Add(_) => None,
    });
    let Some(chain) = Chain::of(read.collect(), initial, contents) else { return false };
    let mut missing: BTreeSet<u32> = chain
        .lowest
        .iter()
        .filter(|(_, lowest)| **lowest > 0)
        .map(|(element, _)| *element)
        .collect();
    // The highest place of all calls that returned so far.
    let mut reached = 0;
    let mut places = BTreeMap::new();
    for event in events {
        match event {
            Event::Return(call) => reached = reached.max(places[call]),
            Event::Invoke(call) => {
                let place = match step(*call) {
                    Step::Read(_) if !returned.contains(call) => continue,
                    Step::Read(state) if reached > chain.places[&state] => return false,
                    Step::Read(state) => chain.places[&state],
                    Step::Add(element) => {
                        let lowest = chain.lowest.get(&element).copied().unwrap_or(chain.after);
                        if reached <= lowest {
                            missing.remove(&element);
                        }
                        reached.max(lowest)
                    }
                };
                places.insert(*call, place);
            }
        }
    }
    missing.is_empty()
}
