//! The result map of one object, in the shape of Knossos.
//!
//! `:configs` are the possibilities at the end, or before the operation that could
//! not take effect. `:final-paths` shows for each the ways that were tried then.

use std::collections::VecDeque;

use super::finding::{Finding, Possibility};
use super::model::inconsistent;
use super::object::Object;
use super::timeline::{CallId, State};
use crate::check::{self, Outcome, Verdict, quote};
use crate::edn::Edn;
use crate::history::Op;

/// How many configurations and paths a result keeps, as in Jepsen.
const KEPT_MAX: usize = 10;

/// Pending operations listed for one configuration at most.
const MAX_PENDING: usize = 1000;

/// The outcome for an object on which the search found `finding`.
pub(super) fn outcome(object: &mut Object<'_>, finding: &Finding) -> Outcome {
    match finding {
        Finding::Linearizable(end) => {
            let configs = configs(object, end);
            let nothing = Edn::List(Vec::new());
            Outcome::new(Verdict::Valid, [("configs", configs), ("final-paths", nothing)])
        }
        Finding::Violation { call, before, .. } => violation(object, *call, before),
        Finding::GaveUp { reason } => Outcome::unknown(format!("gave up: {reason}")),
    }
}

fn violation(object: &mut Object<'_>, call: CallId, before: &[Possibility]) -> Outcome {
    let last = before.iter().filter_map(|possibility| possibility.last).max();
    let returned = object.timeline.call(call).returned;
    let ids = (0..object.timeline.calls.len()).map(CallId);
    let earlier = ids.filter(|id| object.timeline.call(*id).returned < returned);
    let previous = earlier.max_by_key(|id| object.timeline.call(*id).returned);
    let previous = previous.filter(|id| object.timeline.call(*id).returned.is_some());
    let configs = configs(object, before);
    let paths = final_paths(object, call, before);
    let op = |id: Option<CallId>| id.map_or(Edn::Nil, |id| completed(object, id));
    let failed = op(Some(call));
    let field = |name: &str| quote(failed.get(name).unwrap_or(&Edn::Nil));
    let (index, f, value) = (field("index"), field("f"), field("value"));
    let text = format!("no order of the operations explains {f} {value} at index {index}");
    let details = [
        ("configs", configs),
        ("final-paths", paths),
        ("previous-ok", op(previous)),
        ("last-op", op(last)),
        ("op", failed),
    ];
    Outcome::new(Verdict::Invalid, details).with([check::Finding::new(text)])
}

/// The first [`KEPT_MAX`] possibilities.
fn configs(object: &Object<'_>, possibilities: &[Possibility]) -> Edn {
    let config = |possibility: &Possibility| {
        let last = possibility.last.map_or(Edn::Nil, |call| completed(object, call));
        let pending = possibility.pending.iter().take(MAX_PENDING);
        let pending = pending.map(|call| invoked(object, *call));
        Edn::map([
            ("model", object.model.state(possibility.state)),
            ("last-op", last),
            ("pending", Edn::Vector(pending.collect())),
        ])
    };
    Edn::List(possibilities.iter().take(KEPT_MAX).map(config).collect())
}

/// Ways to let pending calls take effect and then fail at `call`; the shortest
/// [`KEPT_MAX`].
fn final_paths(object: &mut Object<'_>, call: CallId, before: &[Possibility]) -> Edn {
    let class = object.timeline.call(call).class;
    let step = |op: Edn, model: Edn| Edn::map([("op", op), ("model", model)]);
    let mut paths = Vec::new();
    let mut queue: VecDeque<(State, Vec<CallId>, Vec<Edn>)> = VecDeque::new();
    for possibility in before.iter().take(KEPT_MAX) {
        let last = possibility.last.map_or(Edn::Nil, |last| completed(object, last));
        let path = vec![step(last, object.model.state(possibility.state))];
        let others = possibility.pending.iter().copied().filter(|other| *other != call);
        queue.push_back((possibility.state, others.collect(), path));
    }
    while let Some((state, pending, path)) = queue.pop_front() {
        if paths.len() == KEPT_MAX {
            break;
        }
        for (i, other) in pending.iter().enumerate() {
            let next = object.model.step(state, object.timeline.call(*other).class);
            let Some(next) = next.filter(|next| *next != state) else { continue };
            // No more than could be kept in the end.
            if queue.len() + paths.len() >= KEPT_MAX {
                break;
            }
            let mut rest = pending.clone();
            rest.remove(i);
            let mut path = path.clone();
            path.push(step(completed(object, *other), object.model.state(next)));
            queue.push_back((next, rest, path));
        }
        if object.model.step(state, class).is_none() {
            let mut path = path;
            let why = object.model.refusal(state, class);
            path.push(step(completed(object, call), inconsistent(why)));
            paths.push(Edn::Vector(path));
        }
    }
    Edn::List(paths)
}

/// The completion of `call`; its invocation if it has none.
fn completed(object: &Object<'_>, call: CallId) -> Edn {
    record(object.end(call), object.value(call))
}

/// The invocation of `call`, with the value it completed with.
fn invoked(object: &Object<'_>, call: CallId) -> Edn {
    record(object.invocation(call), object.value(call))
}

fn record(op: &Op, value: &Edn) -> Edn {
    Edn::map([
        ("process", op.process.to_edn()),
        ("type", Edn::keyword(op.kind.name())),
        ("f", Edn::Keyword(op.f.clone())),
        ("value", value.clone()),
        ("index", Edn::from(op.index)),
        ("time", Edn::Int(op.time)),
    ])
}
