//! The referee: a second search that shares nothing with the first but the model and the
//! timeline.
//!
//! Wing and Gong's search (*Testing and verifying concurrent objects*, 1993) with
//! Lowe's cache (*Testing for linearizability*, 2017), as Knossos' `wgl` and porcupine
//! do it: let one of the calls take effect that were invoked before the first return which is
//! missing, go on from there, and go back when none is left. A situation is what took
//! effect (a set of calls) and the state; none is entered twice. It knows nothing of
//! slots, hiding, domination or joins, only that indeterminate calls of one class need not be
//! told apart. It is slow on purpose: it is what the search is tested with.

use std::collections::BTreeSet;

use super::model::Model;
use super::timeline::{CallId, Class, State, Timeline};

/// Where the referee stops: situations entered.
pub const MAX_SITUATIONS: usize = 2_000_000;

/// What took effect, and the state that it left.
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
    let (mut returning, mut crashed) = (Vec::new(), Vec::new());
    for id in 0..timeline.calls.len() {
        let kind =
            if timeline.calls[id].returned.is_some() { &mut returning } else { &mut crashed };
        kind.push(CallId(id));
    }
    let state = model.initial();
    let start = Situation { all_below: 0, above: Vec::new(), crashed: Vec::new(), state };
    let mut entered = BTreeSet::new();
    let mut open = vec![start];
    while let Some(situation) = open.pop() {
        if situation.all_below == returning.len() {
            return Some(true);
        }
        if !entered.insert(situation.clone()) {
            continue;
        }
        if entered.len() > max {
            return None;
        }
        let next = successors(model, timeline, &returning, &crashed, &situation);
        open.extend(next.into_iter().filter(|next| !entered.contains(next)));
    }
    Some(false)
}

/// The situations one call later, the most promising last.
fn successors(
    model: &mut dyn Model,
    timeline: &Timeline,
    returning: &[CallId],
    crashed: &[CallId],
    now: &Situation,
) -> Vec<Situation> {
    let left = |at: &usize| now.above.binary_search(at).is_err();
    // Calls that begin after a return that is missing have to wait for it. The calls
    // come by invocation, so that the first one to begin too late ends the search.
    let (mut first_return, mut candidates) = (usize::MAX, Vec::new());
    for at in (now.all_below..returning.len()).filter(left) {
        let call = timeline.call(returning[at]);
        if call.invoked > first_return {
            break;
        }
        first_return = first_return.min(call.returned.unwrap_or(usize::MAX));
        candidates.push(at);
    }
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
