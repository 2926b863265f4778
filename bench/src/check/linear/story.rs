//! The shortest failing prefix, told in plain text on one screen.
//!
//! It answers a reader's first questions: which operation cannot have happened; which
//! values the object could have had when it returned, through which operations, and why
//! none fits; which calls were open at that time; and the steps just before.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;

use super::finding::{Finding, Possibility, Precision};
use super::model::Effect;
use super::object::Object;
use super::pass::MAX_POSSIBILITIES;
use super::timeline::{CallId, Class, State};

/// Lines of each part at most, so that the whole fits on a screen.
const MAX_LINES: usize = 10;

/// Where the search for values is cut: ways to a value. More would not fit on the screen.
const MAX_VISITED: usize = 10_000;

/// Where the search for values is cut: steps tried.
const MAX_TRIED: usize = 500_000;

/// Where the search for values is cut: bytes of new states. Queues and strings grow with each
/// call that takes effect.
const MAX_WEIGHT: usize = 8 << 20;

/// Tells the story of `finding`, if it is not good. `name` is the object's.
pub(super) fn tell(object: &mut Object<'_>, finding: &Finding, name: &str) -> Option<String> {
    match finding {
        Finding::Linearizable(_) => None,
        Finding::GaveUp { reason } => Some(format!("{name}: the search was given up: {reason}\n")),
        Finding::Violation { call, before, precision } => {
            Some(violation(object, *call, before, *precision, name))
        }
    }
}

fn violation(
    object: &mut Object<'_>,
    call: CallId,
    before: &[Possibility],
    precision: Precision,
    name: &str,
) -> String {
    let mut story = format!("{name} is not linearizable: this operation cannot have happened\n");
    line(&mut story, &sentence(object, call));
    if precision == Precision::Bound {
        story += "(too many possibilities to keep apart: the first impossible one may be an earlier one)\n";
    }
    let values = values(object, call, before);
    story += "When it returned, the only possible values were\n";
    for (state, path) in values.found.iter().take(MAX_LINES) {
        let class = object.timeline.call(call).class;
        let why = object.model.refusal(*state, class);
        let path = if path.is_empty() { "initially".into() } else { path.clone() };
        line(&mut story, &format!("{:<8} {path}: {why}", object.model.describe(*state)));
    }
    more(&mut story, values.found.len());
    if values.is_cut || precision == Precision::Some {
        line(&mut story, "(cut: there were too many combinations to try them all)");
    }
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

/// States that the object can have had, each with a shortest way to it.
struct Values {
    found: Vec<(State, String)>,
    /// Whether there may be more.
    is_cut: bool,
}

/// A way to a state: the step that led there, and the way before.
struct Step {
    state: State,
    /// Which of the possibilities it began with.
    start: usize,
    before: Option<usize>,
    /// Position of the call in the possibility's pending ones.
    pending: Option<usize>,
}

/// Every state that the object can have had when `call` returned.
///
/// Steps refer to the ones before, so that a way costs a few words however many calls
/// are pending; of pending calls of one class only the first is tried. The search ends when every
/// state was found that could be reached if calls could be used again and again, and it
/// is cut after [`MAX_VISITED`] ways or [`MAX_TRIED`] attempts.
fn values(object: &mut Object<'_>, call: CallId, before: &[Possibility]) -> Values {
    let pending: Vec<Vec<(Class, CallId)>> =
        before.iter().map(|p| usable(object, p, call)).collect();
    let at_most = reachable(object, before, &pending);
    let max_weight = object.model.weight().saturating_add(MAX_WEIGHT);
    let mut found: Vec<(State, usize)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut visited = BTreeSet::new();
    let mut steps: Vec<Step> = Vec::new();
    for (start, possibility) in before.iter().enumerate() {
        if known.insert(possibility.state) {
            found.push((possibility.state, steps.len()));
        }
        steps.push(Step { state: possibility.state, start, before: None, pending: None });
    }
    let (mut at, mut tried) = (0, 0);
    let is_cut = |at, tried, object: &Object<'_>| {
        at >= MAX_VISITED || tried >= MAX_TRIED || object.model.weight() >= max_weight
    };
    while at < steps.len() && !is_cut(at, tried, object) {
        let (state, start) = (steps[at].state, steps[at].start);
        let used = used(&steps, at);
        if at_most.as_ref().is_some_and(|most| known.len() == most.len()) {
            break;
        }
        if visited.insert((start, state, used.clone())) {
            let mut classes = BTreeSet::new();
            for (position, (class, _)) in pending[start].iter().enumerate() {
                if used.contains(&position) || !classes.insert(*class) {
                    continue;
                }
                tried += 1;
                let next = object.model.step(state, *class).filter(|next| *next != state);
                if let Some(state) = next.filter(|_| steps.len() < MAX_VISITED) {
                    if known.insert(state) {
                        found.push((state, steps.len()));
                    }
                    steps.push(Step { state, start, before: Some(at), pending: Some(position) });
                }
            }
        }
        at += 1;
    }
    let is_whole = at == steps.len() && !is_cut(at, tried, object);
    // A search keeps no more possibilities than that for the story.
    let is_all = before.len() < MAX_POSSIBILITIES;
    let is_all_found = is_whole || at_most.is_some_and(|most| most.len() == known.len());
    let is_cut = !is_all || !is_all_found;
    let told = |(state, at): (State, usize)| {
        let last = before[steps[at].start].last;
        let mut calls: Vec<CallId> = last.into_iter().collect();
        for Step { start, pending: at, .. } in path(&steps, at).into_iter().map(|at| &steps[at]) {
            calls.extend(at.map(|at| pending[*start][at].1));
        }
        let calls: Vec<String> = calls.into_iter().map(|call| action(object, call)).collect();
        let way = if calls.is_empty() {
            String::new()
        } else {
            format!("after {}", calls.join(", then "))
        };
        (state, way)
    };
    Values { found: found.into_iter().map(told).collect(), is_cut }
}

/// Returns the calls that were pending in `possibility`, but for `call`.
fn usable(object: &Object<'_>, possibility: &Possibility, call: CallId) -> Vec<(Class, CallId)> {
    let others = possibility.pending.iter().filter(|other| **other != call);
    others.map(|other| (object.timeline.call(*other).class, *other)).collect()
}

/// States among which are all that can be reached: those to which pending calls lead, or
/// else those that are reached if every call can be used at any time. None if these are
/// too many to try.
fn reachable(
    object: &mut Object<'_>,
    before: &[Possibility],
    pending: &[Vec<(Class, CallId)>],
) -> Option<BTreeSet<State>> {
    let changes = |class: &Class| object.model.effect(*class) != Effect::Observe;
    let classes = pending.iter().flatten().map(|(class, _)| *class);
    let classes: BTreeSet<Class> = classes.filter(changes).collect();
    let mut states: BTreeSet<State> = before.iter().map(|possibility| possibility.state).collect();
    let ends = classes.iter().map(|class| object.model.leads_to(*class));
    if let Some(ends) = ends.collect::<Option<Vec<State>>>() {
        states.extend(ends);
        return Some(states);
    }
    let max_weight = object.model.weight().saturating_add(MAX_WEIGHT);
    let mut open: VecDeque<State> = states.iter().copied().collect();
    let mut tried = 0;
    while let Some(state) = open.pop_front() {
        for class in &classes {
            tried += 1;
            if tried > MAX_TRIED || object.model.weight() >= max_weight {
                return None;
            }
            if let Some(next) = object.model.step(state, *class).filter(|next| states.insert(*next))
            {
                open.push_back(next);
            }
        }
    }
    Some(states)
}

/// The steps on the way to `at`, the first one first; without the beginning.
fn path(steps: &[Step], mut at: usize) -> Vec<usize> {
    let mut path = Vec::new();
    while let Some(before) = steps[at].before {
        path.push(at);
        at = before;
    }
    path.reverse();
    path
}

/// The pending calls that were used on the way to `at`, in order of position.
fn used(steps: &[Step], at: usize) -> Vec<usize> {
    let mut used: Vec<usize> =
        path(steps, at).into_iter().filter_map(|at| steps[at].pending).collect();
    used.sort_unstable();
    used
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
