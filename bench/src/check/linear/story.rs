//! The shortest failing prefix, told in plain text on one screen.
//!
//! It answers what a reader asks first: which operation cannot have happened; which
//! values the object could have had when it returned, through which operations, and why
//! none fits; what was open at that time; and what went on just before.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;

use super::object::Object;
use super::search::{Finding, Possibility};
use super::timeline::{CallId, State};

/// Lines of each part at most, so that the whole fits on a screen.
const MAX_LINES: usize = 10;

/// Where the search for values gives up; more would not fit on the screen.
const MAX_VISITED: usize = 10_000;

/// What there is to tell about `finding`, if it is not good. `name` is the object's.
pub(super) fn tell(object: &mut Object<'_>, finding: &Finding, name: &str) -> Option<String> {
    match finding {
        Finding::Linearizable(_) => None,
        Finding::GaveUp { reason } => {
            Some(format!("{name}: nobody knows whether it is linearizable: {reason}\n"))
        }
        Finding::Violation { call, before, is_exact } => {
            Some(violation(object, *call, before, *is_exact, name))
        }
    }
}

fn violation(
    object: &mut Object<'_>,
    call: CallId,
    before: &[Possibility],
    is_exact: bool,
    name: &str,
) -> String {
    let mut story = format!("{name} is not linearizable: this operation cannot have happened\n");
    line(&mut story, &sentence(object, call));
    if !is_exact {
        story += "(too many possibilities to keep apart: the first impossible one may be an earlier one)\n";
    }
    let values = values(object, call, before);
    story += "When it returned, the only possible values were\n";
    for (state, path) in values.iter().take(MAX_LINES) {
        let class = object.timeline.call(call).class;
        let why = object.model.refusal(*state, class);
        let path = if path.is_empty() { "initially".into() } else { path.clone() };
        line(&mut story, &format!("{:<8} {path}: {why}", object.model.describe(*state)));
    }
    more(&mut story, values.len());
    list(&mut story, object, "Open at that time", &open(object, call));
    list(&mut story, object, "Returned before, the last one last", &earlier(object, call));
    story
}

/// Adds an indented line.
fn line(story: &mut String, text: &str) {
    writeln!(story, "  {text}").expect("writing into a String cannot fail");
}

/// Says how many of `count` lines were left out.
fn more(story: &mut String, count: usize) {
    if count > MAX_LINES {
        line(story, &format!("... and {} more", count - MAX_LINES));
    }
}

fn list(story: &mut String, object: &Object<'_>, title: &str, calls: &[CallId]) {
    *story += &format!("{title}{}\n", if calls.is_empty() { ": nothing" } else { "" });
    let hidden = calls.len().saturating_sub(MAX_LINES);
    if hidden > 0 {
        line(story, &format!("({hidden} earlier ones)"));
    }
    for call in &calls[hidden..] {
        line(story, &sentence(object, *call));
    }
}

/// `write 3`
fn action(object: &Object<'_>, call: CallId) -> String {
    format!("{} {}", object.invocation(call).f, object.value(call))
}

/// `process 5   write 3        from 200 to 201`
fn sentence(object: &Object<'_>, call: CallId) -> String {
    let process = object.invocation(call).process.to_edn();
    let from = object.invocation(call).index;
    let to = match object.timeline.call(call).returned {
        Some(to) => format!("to {to}"),
        None => "on, with unknown outcome".into(),
    };
    format!("process {process:<4} {:<16} from {from} {to}", action(object, call))
}

/// Every state that the object can have had when `call` returned, each with a
/// shortest way to it.
fn values(object: &mut Object<'_>, call: CallId, before: &[Possibility]) -> Vec<(State, String)> {
    let mut values: Vec<(State, String)> = Vec::new();
    let mut visited = BTreeSet::new();
    let mut queue = VecDeque::new();
    for Possibility { state, last, pending } in before {
        let path = last.map_or(String::new(), |last| format!("after {}", action(object, last)));
        let others = pending.iter().copied().filter(|other| *other != call);
        queue.push_back((*state, others.collect::<Vec<_>>(), path));
    }
    while let Some((state, pending, path)) = queue.pop_front() {
        if visited.len() >= MAX_VISITED || !visited.insert((state, pending.clone())) {
            continue;
        }
        if values.iter().all(|(known, _)| *known != state) {
            values.push((state, path.clone()));
        }
        for (i, other) in pending.iter().enumerate() {
            let next = object.model.step(state, object.timeline.call(*other).class);
            let Some(next) = next.filter(|next| *next != state) else { continue };
            let mut rest = pending.clone();
            rest.remove(i);
            let then = if path.is_empty() { "after" } else { ", then" };
            let path = format!("{path}{then} {}", action(object, *other));
            queue.push_back((next, rest, path));
        }
    }
    values
}

/// The other calls that were open when `call` returned, by invocation.
fn open(object: &Object<'_>, call: CallId) -> Vec<CallId> {
    let Some(at) = object.timeline.call(call).returned else { return Vec::new() };
    let is_open = |id: &CallId| {
        let other = object.timeline.call(*id);
        *id != call && other.invoked < at && other.returned.is_none_or(|returned| returned > at)
    };
    (0..object.timeline.calls.len()).map(CallId).filter(is_open).collect()
}

/// The calls that returned before `call` did, by return.
fn earlier(object: &Object<'_>, call: CallId) -> Vec<CallId> {
    let returned = |id: &CallId| object.timeline.call(*id).returned;
    let is_earlier = |id: &CallId| returned(id).is_some() && returned(id) < returned(&call);
    let mut calls: Vec<CallId> =
        (0..object.timeline.calls.len()).map(CallId).filter(is_earlier).collect();
    calls.sort_by_key(returned);
    calls
}
