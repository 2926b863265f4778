//! Breadth first: one pass over the events, with the set of all configurations.
//!
//! If no configuration is left after a return, the history is not linearizable, and the
//! events so far are a shortest failing prefix. There is no backtracking, and the
//! cost is the number of events times that of configurations.

use super::config::{Antichain, Config};
use super::finding::{Possibility, Precision};
use super::model::Model;
use super::relevant::Crashed;
use super::step::{Capacity, Stepper};
use super::timeline::{CallId, Event, Timeline};

/// Possibilities kept for a reader; the report and the story show fewer.
pub(super) const MAX_POSSIBILITIES: usize = 100;

/// Bytes of states that a pass may reach in which indeterminate calls can be used again and again: of
/// queues and strings that has no end.
const MAX_FREE_WEIGHT: usize = 8 << 20;

/// How a search ended.
pub(super) enum End {
    Survived {
        possibilities: Vec<Possibility>,
        is_exact: bool,
    },
    Died {
        call: CallId,
        before: Vec<Possibility>,
        precision: Precision,
    },
    /// Stopped early, since there were too many states to join configurations.
    Inconclusive,
    /// Stopped early, for this reason.
    Stopped(String),
}

/// The end of one run over all events, and the work it took.
pub(super) fn pass<const W: usize>(
    model: &mut dyn Model,
    timeline: &Timeline,
    capacity: Capacity,
    crashed: Crashed,
    max_work: u64,
) -> (End, u64) {
    let mut stepper = Stepper::<W>::new(timeline);
    stepper.max_work = max_work;
    stepper.crashed = crashed;
    if crashed == Crashed::Freely {
        // If it takes many states, it finds nothing cheaply.
        stepper.max_weight = model.weight().saturating_add(MAX_FREE_WEIGHT);
    }
    let mut configs = Antichain::new(capacity.max_per_state, capacity.overflow);
    configs.insert(Stepper::start(model), &mut stepper.spent, &mut 0);
    let may_crash = timeline.calls.iter().any(|call| call.returned.is_none());
    let mut is_exact = crashed == Crashed::Once || !may_crash;
    while let Some(event) = stepper.frontier.next() {
        match event {
            Event::Invoke(call) => {
                stepper.frontier.forward(model);
                configs.iter_mut().for_each(|config| stepper.admit(model, call, config));
            }
            Event::Return(call) => {
                let next = stepper.complete(model, configs.iter(), call, capacity);
                if let Some(reason) = stepper.excess() {
                    return (End::Stopped(reason), stepper.work);
                }
                if next.is_overfull() {
                    return (End::Inconclusive, stepper.work);
                }
                is_exact &= next.is_exact();
                if next.is_empty() {
                    let before = possibilities(&stepper, configs.iter());
                    let precision = if is_exact { Precision::All } else { Precision::Bound };
                    return (End::Died { call, before, precision }, stepper.work);
                }
                stepper.frontier.forward(model);
                configs = next;
            }
        }
    }
    let possibilities = possibilities(&stepper, configs.iter());
    (End::Survived { possibilities, is_exact }, stepper.work)
}

/// The first configurations as a reader wants them.
pub(super) fn possibilities<'c, const W: usize>(
    stepper: &Stepper<'_, W>,
    configs: impl Iterator<Item = &'c Config<W>>,
) -> Vec<Possibility> {
    configs.take(MAX_POSSIBILITIES).map(|config| stepper.possibility(config)).collect()
}
