//! The referee: a second search that shares nothing with the first but the model and the
//! timeline.
//!
//! Wing and Gong's search (*Testing and verifying concurrent objects*, 1993) with
//! Lowe's cache (*Testing for linearizability*, 2017), as Knossos' `wgl` and porcupine
//! do it: let one of the calls take effect that were invoked before the first return which is
//! missing, go on from there, and go back when none is left. A situation is the set of
//! calls that took effect and the state; none is entered twice. It knows nothing of
//! slots, hiding, domination or joins, only that indeterminate calls of one class need not be
//! told apart. It is simple on purpose: the search is tested with it.
//!
//! It is also asked last, when the search gave up: depth first, an order that exists is sometimes
//! found at once where the search, breadth first between two returns, drowns in the orders of
//! enqueues that all look alike so far.

use std::collections::BTreeSet;

use super::finding::{Finding, Possibility, Precision};
use super::model::Model;
use super::pass::MAX_POSSIBILITIES;
use super::timeline::{CallId, Class, State, Timeline};

/// Where the referee stops: situations remembered. A million takes about 250 MB.
pub const MAX_SITUATIONS: usize = 2_000_000;

/// Where it stops, too: bytes of the situations, and of the model's states.
const MAX_BYTES: usize = 160_000_000;

/// The calls that took effect, and the state that they left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Situation {
    /// Every call below this took effect, if it returns.
    all_below: usize,
    /// The calls above that did.
    above: Vec<usize>,
    /// How many indeterminate calls of each class did.
    crashed: Vec<(Class, usize)>,
    state: State,
}

/// Whether some order of effects explains `timeline`. None if that takes more than
/// `max` situations.
pub fn is_linearizable(model: &mut dyn Model, timeline: &Timeline, max: usize) -> Option<bool> {
    match judge(model, timeline, max) {
        Finding::Linearizable(_) => Some(true),
        Finding::Violation { .. } => Some(false),
        Finding::GaveUp { .. } => None,
    }
}

/// The verdict on `timeline`; the referee gives up after `max` situations. A violation is at the
/// first return that no order of effects explains.
pub(super) fn judge(model: &mut dyn Model, timeline: &Timeline, max: usize) -> Finding {
    let (mut returning, mut crashed) = (Vec::new(), Vec::new());
    for id in 0..timeline.calls.len() {
        let kind =
            if timeline.calls[id].returned.is_some() { &mut returning } else { &mut crashed };
        kind.push(CallId(id));
    }
    let state = model.initial();
    let start = Situation { all_below: 0, above: Vec::new(), crashed: Vec::new(), state };
    let mut entered = BTreeSet::new();
    let mut furthest = Furthest::default();
    let mut open = vec![start];
    let mut bytes = 0;
    while let Some(situation) = open.pop() {
        let Some((first_return, missing)) = situation.first_missing(timeline, &returning) else {
            let pending = crashed.clone();
            return Finding::Linearizable(vec![Possibility {
                state: situation.state,
                last: None,
                pending,
            }]);
        };
        if entered.contains(&situation) {
            continue;
        }
        bytes += situation.bytes();
        furthest.note(first_return, missing, situation.state);
        let next = successors(model, timeline, [&returning, &crashed], &situation, first_return);
        entered.insert(situation);
        open.extend(next.into_iter().filter(|next| !entered.contains(next)));
        if entered.len() + open.len() > max {
            return Finding::GaveUp { reason: format!("more than {max} situations") };
        }
        // Those that are open weigh about as much as the one that they follow.
        let open_bytes = open.len() * open.last().map_or(0, Situation::bytes);
        if model.weight().saturating_add(bytes + open_bytes) > MAX_BYTES {
            return Finding::GaveUp { reason: "the situations take too much memory".into() };
        }
    }
    furthest.violation()
}

impl Situation {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        150 + 8 * self.above.len() + 16 * self.crashed.len()
    }

    /// The first return of a call that did not take effect, and the call.
    fn first_missing(&self, timeline: &Timeline, returning: &[CallId]) -> Option<(usize, CallId)> {
        let mut first: Option<(usize, CallId)> = None;
        for (at, id) in returning.iter().enumerate().skip(self.all_below) {
            let call = timeline.call(*id);
            if first.is_some_and(|(returned, _)| call.invoked > returned) {
                break;
            }
            let returned = call.returned.unwrap_or(usize::MAX);
            if self.above.binary_search(&at).is_err() && first.is_none_or(|(r, _)| returned < r) {
                first = Some((returned, *id));
            }
        }
        first
    }
}

/// The last return that was reached, and the states before it.
#[derive(Default)]
struct Furthest {
    returned: usize,
    call: Option<CallId>,
    states: BTreeSet<State>,
}

impl Furthest {
    fn note(&mut self, returned: usize, missing: CallId, state: State) {
        if self.call.is_none() || returned > self.returned {
            (self.returned, self.call) = (returned, Some(missing));
            self.states.clear();
        }
        if returned == self.returned && self.states.len() < MAX_POSSIBILITIES {
            self.states.insert(state);
        }
    }

    fn violation(self) -> Finding {
        let call = self.call.expect("a timeline without returns is linearizable");
        let possibility = |state| Possibility { state, last: None, pending: Vec::new() };
        let before = self.states.into_iter().map(possibility).collect();
        Finding::Violation { call, before, precision: Precision::Some }
    }
}

/// The situations one call later, the most promising last. Calls that begin after `first_return`, which
/// is missing, have to wait for it.
fn successors(
    model: &mut dyn Model,
    timeline: &Timeline,
    [returning, crashed]: [&[CallId]; 2],
    now: &Situation,
    first_return: usize,
) -> Vec<Situation> {
    // The calls come by invocation, so that the first one to begin too late ends the search.
    let begins = |at: &usize| timeline.call(returning[*at]).invoked < first_return;
    let left = |at: &usize| now.above.binary_search(at).is_err();
    let mut candidates: Vec<usize> =
        (now.all_below..returning.len()).take_while(begins).filter(left).collect();
    let mut next = Vec::new();
    let mut classes = Vec::new();
    for id in crashed {
        let call = timeline.call(*id);
        if call.invoked > first_return {
            break;
        }
        match classes.iter_mut().find(|(class, _)| *class == call.class) {
            Some((_, count)) => *count += 1,
            None => classes.push((call.class, 1_usize)),
        }
    }
    for (class, count) in classes {
        let used = now.crashed.binary_search_by_key(&class, |entry| entry.0);
        if used.is_ok_and(|at| now.crashed[at].1 >= count) {
            continue;
        }
        let Some(state) = model.step(now.state, class) else { continue };
        let mut after = Situation { state, ..now.clone() };
        match used {
            Ok(at) => after.crashed[at].1 += 1,
            Err(at) => after.crashed.insert(at, (class, 1)),
        }
        next.push(after);
    }
    candidates.sort_by_key(|at| std::cmp::Reverse(timeline.call(returning[*at]).returned));
    for at in candidates {
        let class = timeline.call(returning[at]).class;
        let Some(state) = model.step(now.state, class) else { continue };
        let mut after = Situation { state, ..now.clone() };
        let place = after.above.binary_search(&at).unwrap_or_else(|place| place);
        after.above.insert(place, at);
        while after.above.first() == Some(&after.all_below) {
            after.above.remove(0);
            after.all_below += 1;
        }
        next.push(after);
    }
    next
}
