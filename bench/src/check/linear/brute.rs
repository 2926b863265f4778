//! The definition, executed: a history is linearizable if some order of its calls
//! respects real time and the model. Tries them all, and shares no code with the search
//! but the model and the timeline.

use super::model::Model;
use super::timeline::{State, Timeline};

/// Whether any order of effects explains the calls. Exponential: keep it small.
pub(super) fn is_linearizable(model: &mut dyn Model, timeline: &Timeline) -> bool {
    let initial = model.initial();
    extend(model, timeline, initial, &mut vec![false; timeline.calls.len()])
}

fn extend(model: &mut dyn Model, timeline: &Timeline, state: State, used: &mut [bool]) -> bool {
    let left = |used: &[bool]| {
        let unused = timeline.calls.iter().zip(used).filter(|(_, used)| !**used);
        unused.filter_map(|(call, _)| call.returned).min()
    };
    let Some(first_return) = left(used) else { return true };
    for id in 0..used.len() {
        let call = timeline.calls[id];
        // A call that begins after another returned takes effect after it.
        if used[id] || call.invoked > first_return {
            continue;
        }
        if let Some(after) = model.step(state, call.class) {
            used[id] = true;
            let found = extend(model, timeline, after, used);
            used[id] = false;
            if found {
                return true;
            }
        }
    }
    false
}
