//! The search: passes over the events, each keeping more configurations than the last.
//!
//! Deciding linearizability is NP-complete (Gibbons and Korach 1997), and what makes
//! it so in practice are indeterminate calls: each can take effect at any later
//! time, so that the ways to have used some of them multiply. But most histories
//! are far from hard. So a pass (see `pass.rs`) keeps few configurations of
//! each state, and when there are more, it forgets on purpose, in one of two ways:
//!
//! * It *evicts* the least likely ones. What remains is possible; if something
//!   remains at the end, the history is linearizable.
//! * It *joins* two into one that dominates both. What is possible remains; if
//!   nothing remains, the history is not linearizable.
//!
//! A pass that forgot nothing is conclusive either way. If neither concludes, the
//! next pass keeps more; if the [`Limits`] are reached, the history does not tell. So the
//! answer may be missing, but is never wrong.

use super::config::Overflow;
use super::model::Model;
use super::pass::{End, Pass};
use super::timeline::{CallId, State, Timeline};

/// Where to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of configurations of one state at one time. A first pass uses
    /// `FIRST_MAX_PER_STATE`, the next ones `GROWTH` times as many each.
    pub max_per_state: usize,
    /// Largest number of comparisons of configurations for one object.
    pub max_work: u64,
}

impl Limits {
    /// A few seconds for one object.
    pub const DEFAULT: Limits = Limits { max_per_state: 16_384, max_work: 500_000_000 };
}

/// Configurations of one state in the first pass: enough for nearly every correct history.
const FIRST_MAX_PER_STATE: usize = 4;

/// How many times more the next pass may keep.
const GROWTH: usize = 8;

/// A configuration as a reader wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possibility {
    /// The state of the object.
    pub state: State,
    /// The call that took effect last.
    pub last: Option<CallId>,
    /// Calls that have not, or not certainly, taken effect.
    pub pending: Vec<CallId>,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is an order of effects; these are the possibilities at the end.
    Linearizable(Vec<Possibility>),
    /// There is none: `call` could not return.
    Violation {
        /// The call.
        call: CallId,
        /// The possibilities just before it returned.
        before: Vec<Possibility>,
        /// Whether `before` are exactly the possibilities. If not, they include them,
        /// and an earlier call might already have been impossible.
        is_exact: bool,
    },
    /// A limit was reached: the history does not tell.
    GaveUp {
        /// Which limit.
        reason: String,
    },
}

/// Whether the calls of `timeline` could have taken effect one by one, each
/// between its invocation and its return, as `model` allows.
pub fn search(model: &mut dyn Model, timeline: &Timeline, limits: Limits) -> Finding {
    match timeline.peak() {
        0..=64 => deepen::<1>(model, timeline, limits),
        65..=256 => deepen::<4>(model, timeline, limits),
        257..=4096 => deepen::<64>(model, timeline, limits),
        peak => Finding::GaveUp {
            reason: format!("{peak} operations were open at once; the limit is 4096"),
        },
    }
}

/// Runs passes with more and more configurations until one is conclusive.
fn deepen<const W: usize>(model: &mut dyn Model, timeline: &Timeline, limits: Limits) -> Finding {
    let mut work = 0;
    let mut max_per_state = FIRST_MAX_PER_STATE.min(limits.max_per_state);
    loop {
        for overflow in [Overflow::Evict, Overflow::Join] {
            let pass = Pass::<W>::new(model, timeline, max_per_state, overflow);
            let budget = limits.max_work.saturating_sub(work);
            let (end, spent) = pass.run(budget);
            work += spent;
            match (end, overflow) {
                (End::Survived { possibilities, is_exact }, _)
                    if is_exact || overflow == Overflow::Evict =>
                {
                    return Finding::Linearizable(possibilities);
                }
                (End::Died { call, before, is_exact }, _)
                    if is_exact || overflow == Overflow::Join =>
                {
                    return Finding::Violation { call, before, is_exact };
                }
                (End::Stopped(reason), _) => return Finding::GaveUp { reason },
                _ => {}
            }
        }
        if max_per_state >= limits.max_per_state {
            let reason = format!("more than {max_per_state} configurations of one state");
            return Finding::GaveUp { reason };
        }
        max_per_state = (max_per_state * GROWTH).min(limits.max_per_state);
    }
}
