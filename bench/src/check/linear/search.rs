//! The search: passes over the events, each keeping more configurations than the last.
//!
//! Deciding linearizability is NP-complete (Gibbons and Korach 1997), and in practice indeterminate
//! calls make it so: each can take effect at any later time, so that the ways to have used some of
//! them multiply. But most histories are far from hard. So a pass (see `pass.rs`) keeps few
//! configurations of each state, and when there are more, it forgets on purpose, in one of two
//! ways:
//!
//! * It *evicts* the least likely ones. The rest is possible; if something
//!   remains at the end, the history is linearizable.
//! * It *joins* two into one that dominates both. Every possible order remains; if
//!   nothing remains, the history is not linearizable.
//!
//! A pass that forgot nothing is conclusive either way. Between the passes a search for the
//! best (see `best.rs`) goes back where a pass would have had to keep more; it is exact.
//! The first conclusive answer counts. If there is none, the next turn of each may do
//! more; if the [`Limits`] are reached, a search depth first is asked (see `referee.rs`), and if it does
//! not know either, the history does not tell. So the answer may be
//! missing, but is never wrong: `step.rs` has the argument, and the referee the proof by test.

use super::best::BestFirst;
use super::config::Overflow;
use super::finding::{Finding, Precision};
use super::model::Model;
use super::pass::{End, pass};
use super::referee;
use super::relevant::Crashed;
use super::step::Capacity;
use super::timeline::{Event, Timeline};

/// Where to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of configurations of one state at one time. A first pass uses
    /// `FIRST_MAX_PER_STATE`, the next ones `GROWTH` times as many each.
    pub max_per_state: usize,
    /// Largest number of comparisons of configurations for one object.
    pub max_work: u64,
    /// Largest number of situations of the search depth first, which comes last.
    pub max_situations: usize,
}

impl Limits {
    /// A few seconds for one object; the situations take about 200 MB.
    pub const DEFAULT: Limits =
        Limits { max_per_state: 16_384, max_work: 500_000_000, max_situations: 800_000 };
}

/// Work of the search on an object that a model decides without it.
const LITTLE_WORK: u64 = 1_000_000;

/// Configurations of one state in the first pass: enough for nearly every correct history.
const FIRST_MAX_PER_STATE: usize = 4;

/// How many times more the next pass may keep.
const GROWTH: usize = 8;

/// Whether the calls of `timeline` could have taken effect one by one, each
/// between its invocation and its return, as `model` allows.
pub fn search(model: &mut dyn Model, timeline: &Timeline, limits: Limits) -> Finding {
    if model.decides(timeline, 0).is_none() {
        return search_all(model, timeline, limits);
    }
    // The search tells more, if it comes to an end soon.
    let max_work = limits.max_work.min(LITTLE_WORK);
    let few = Limits { max_work, max_situations: 0, ..limits };
    match search_all(model, timeline, few) {
        Finding::GaveUp { .. } => decided(model, timeline),
        finding => finding,
    }
}

/// The finding of a model that decides without a search. Of a violation it is the first event that
/// no order explains.
fn decided(model: &dyn Model, timeline: &Timeline) -> Finding {
    if model.decides(timeline, timeline.events.len()) == Some(true) {
        return Finding::Linearizable(Vec::new());
    }
    let (mut good, mut bad) = (0, timeline.events.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        match model.decides(timeline, middle) {
            Some(false) => bad = middle,
            _ => good = middle,
        }
    }
    let (Event::Invoke(call) | Event::Return(call)) = timeline.events[bad - 1];
    Finding::Violation { call, before: Vec::new(), precision: Precision::Some }
}

fn search_all(model: &mut dyn Model, timeline: &Timeline, limits: Limits) -> Finding {
    match timeline.peak() {
        0..=64 => deepen::<1>(model, timeline, limits),
        65..=256 => deepen::<4>(model, timeline, limits),
        257..=4096 => deepen::<64>(model, timeline, limits),
        peak => Finding::GaveUp {
            reason: format!("{peak} operations were open at once; the limit is 4096"),
        },
    }
}

/// Work of the first turn of the search for the best, for each event: enough for most
/// linearizable histories of up to 8 clients.
const FIRST_TURN: u64 = 64;

/// Work for each event, and at least, on the exact possibilities before a violation.
const EXACT_WORK: (u64, u64) = (16, 1_000_000);

/// Configurations of one state kept for those.
const EXACT_PER_STATE: usize = 256;

/// Runs passes with more and more configurations, and between them the search for the best
/// for as much work, until one is conclusive.
///
/// The turns are measured in work, not in time, so that the same history always gets
/// the same answer from the same search. First comes the cheapest refutation, a pass that joins
/// everything it can and lets indeterminate calls be used again and again: it finds reads of
/// values that were overwritten or never written. The search for the best decides
/// histories of few clients with a small part of the work of the passes, and stops early
/// on those of many.
fn deepen<const W: usize>(model: &mut dyn Model, timeline: &Timeline, limits: Limits) -> Finding {
    let events = timeline.events.len() as u64;
    let rough = Capacity { max_per_state: 1, overflow: Overflow::Join };
    let (end, mut work) = pass::<W>(model, timeline, rough, Crashed::Freely, limits.max_work);
    if let Some(finding) = conclusion(end, Some(Overflow::Join)) {
        return sharpened::<W>(model, timeline, finding);
    }
    model.forget();
    let mut best = BestFirst::<W>::new(model, timeline);
    let mut turn = FIRST_TURN * events;
    let mut max_per_state = FIRST_MAX_PER_STATE.min(limits.max_per_state);
    let mut reason = None;
    loop {
        let before = work;
        for search in [None, Some(Overflow::Evict), Some(Overflow::Join)] {
            let budget = limits.max_work.saturating_sub(work);
            let (end, spent) = match search {
                Some(overflow) => {
                    let capacity = Capacity { max_per_state, overflow };
                    pass::<W>(model, timeline, capacity, Crashed::Once, budget)
                }
                None => best.run(model, turn.min(budget)),
            };
            work += spent;
            match (end, search) {
                // The next turn of the search for the best has more budget.
                (End::Stopped(why), Some(_)) => reason = Some(why),
                (end, search) => {
                    if let Some(finding) = conclusion(end, search) {
                        return sharpened::<W>(model, timeline, finding);
                    }
                }
            }
        }
        if reason.is_none() && max_per_state >= limits.max_per_state {
            reason = Some(format!("more than {max_per_state} configurations of one state"));
        }
        if let Some(reason) = reason {
            drop(best);
            model.forget();
            return match referee::judge(model, timeline, limits.max_situations) {
                Finding::GaveUp { .. } => Finding::GaveUp { reason },
                Finding::Linearizable(possibilities) => Finding::Linearizable(possibilities),
                violation => sharpened::<W>(model, timeline, violation),
            };
        }
        turn = work - before;
        max_per_state = (max_per_state * GROWTH).min(limits.max_per_state);
    }
}

/// The finding that the end of a pass, or of the search for the best, proves.
fn conclusion(end: End, pass: Option<Overflow>) -> Option<Finding> {
    match end {
        End::Survived { possibilities, is_exact } if is_exact || pass == Some(Overflow::Evict) => {
            Some(Finding::Linearizable(possibilities))
        }
        End::Died { call, before, precision }
            if precision != Precision::Bound || pass == Some(Overflow::Join) =>
        {
            Some(Finding::Violation { call, before, precision })
        }
        _ => None,
    }
}

/// The same finding; a violation with the exact possibilities, if these are few.
fn sharpened<const W: usize>(
    model: &mut dyn Model,
    timeline: &Timeline,
    finding: Finding,
) -> Finding {
    let Finding::Violation { precision: Precision::Some | Precision::Bound, .. } = finding else {
        return finding;
    };
    let max_work = EXACT_WORK.1.max(EXACT_WORK.0 * timeline.events.len() as u64);
    let capacity = Capacity { max_per_state: EXACT_PER_STATE, overflow: Overflow::Evict };
    let (end, _) = pass::<W>(model, timeline, capacity, Crashed::Once, max_work);
    match end {
        End::Died { call, before, precision: Precision::All } => {
            Finding::Violation { call, before, precision: Precision::All }
        }
        _ => finding,
    }
}
