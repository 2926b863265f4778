//! Timelines that are linearizable by construction, and corrupted ones.
//!
//! Clients invoke, a hidden order of effects is drawn, and results come late: an
//! operation takes effect at some time between its invocation and its return, on the one
//! state that the model has then. The action of the operation is drawn from the classes
//! that are possible in that state, so that every model can be generated from nothing
//! but its classes.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::model::{self, Model, Observed};
use super::timeline::{Call, Class, State, Timeline};
use crate::edn::Edn;

/// The models that [`repertoire`] knows; `fifo-queue` is another name.
pub const NAMES: [&str; 8] = [
    "cas-register",
    "register",
    "mutex",
    "multi-register",
    "append-kv",
    "set",
    "queue",
    "unordered-queue",
];

/// The shape of a history.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Clients; each has at most one operation open that will return.
    pub clients: usize,
    /// Operations.
    pub operations: usize,
    /// How many of a thousand operations are indeterminate; half of them take effect.
    pub crashed_per_mille: usize,
    /// How eager clients are to invoke, of a hundred; the rest of the time operations
    /// take effect and return.
    pub eagerness: usize,
}

/// An operation in progress.
#[derive(Clone, Copy)]
struct Open {
    invoked: usize,
    /// Its class, once it took effect.
    class: Option<Class>,
    is_crashed: bool,
}

fn below(rng: &mut Pcg64Mcg, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

/// A linearizable timeline. `classes` come by weight: one that is listed twice is
/// twice as likely. `crashed` are the classes of indeterminate operations.
pub fn linearizable(
    model: &mut dyn Model,
    classes: &[Class],
    crashed: &[Class],
    shape: &Shape,
    rng: &mut Pcg64Mcg,
) -> Timeline {
    let mut state = model.initial();
    let (mut open, mut calls): (Vec<Open>, Vec<Call>) = (Vec::new(), Vec::new());
    let (mut begun, mut position) = (0, 0);
    while begun < shape.operations || !open.is_empty() {
        let may_begin = begun < shape.operations && open.len() < shape.clients;
        if may_begin && (open.is_empty() || below(rng, 100) < shape.eagerness) {
            let is_crashed = !crashed.is_empty() && below(rng, 1000) < shape.crashed_per_mille;
            open.push(Open { invoked: position, class: None, is_crashed });
            begun += 1;
            position += 1;
            continue;
        }
        let at = below(rng, open.len());
        let now = open[at];
        match now.class {
            None if now.is_crashed => {
                // It may never take effect; then it is a call all the same.
                let class = crashed[below(rng, crashed.len())];
                if below(rng, 2) == 0 {
                    state = model.step(state, class).unwrap_or(state);
                }
                calls.push(Call { class, invoked: now.invoked, returned: None });
                open.swap_remove(at);
            }
            None => {
                let (class, after) = possible(model, state, classes, rng);
                state = after;
                open[at].class = Some(class);
            }
            Some(class) => {
                calls.push(Call { class, invoked: now.invoked, returned: Some(position) });
                open.swap_remove(at);
                position += 1;
            }
        }
    }
    Timeline::new(calls)
}

/// A class that is possible in `state`, and the state after it.
fn possible(
    model: &mut dyn Model,
    state: State,
    classes: &[Class],
    rng: &mut Pcg64Mcg,
) -> (Class, State) {
    let from = below(rng, classes.len());
    let order = classes[from..].iter().chain(&classes[..from]);
    let mut possible = order.filter_map(|class| Some((*class, model.step(state, *class)?)));
    possible.next().expect("every state of the models allows something")
}

/// The same timeline with `count` operations replaced by other ones, which may make it
/// impossible.
pub fn corrupted(
    timeline: &Timeline,
    classes: &[Class],
    count: usize,
    rng: &mut Pcg64Mcg,
) -> Timeline {
    let mut calls = timeline.calls.clone();
    for _ in 0..count {
        let at = below(rng, calls.len());
        if calls[at].returned.is_some() {
            calls[at].class = classes[below(rng, classes.len())];
        }
    }
    Timeline::new(calls)
}

/// A model and its possible operations, by weight, for a generated history.
pub struct Repertoire {
    /// The model.
    pub model: Box<dyn Model>,
    /// Operations that return.
    pub certain: Vec<Class>,
    /// Indeterminate ones.
    pub crashed: Vec<Class>,
}

/// An operation: its function, argument and result.
type Operation = (&'static str, Edn, Edn);

/// The model called `name`, with operations on `values` values and with random weights.
///
/// # Panics
/// If there is no such model.
pub fn repertoire(name: &str, values: i64, rng: &mut Pcg64Mcg) -> Repertoire {
    let mut model = model::by_name(name).expect("a known model");
    let operations = match name {
        "register" => register(values, false, rng),
        "cas-register" => register(values, true, rng),
        "mutex" => vec![("acquire", Edn::Nil, Edn::Nil), ("release", Edn::Nil, Edn::Nil)],
        "multi-register" => transactions(values.min(3)),
        "append-kv" => appends(),
        "set" => set(),
        _ => queue(name == "unordered-queue", rng),
    };
    let (mut certain, mut crashed) = (Vec::new(), Vec::new());
    for (f, invoked, completed) in &operations {
        let op = Observed { f, invoked, completed: Some(completed) };
        certain.extend(model.classify(op).expect("well-formed"));
        let op = Observed { completed: None, ..op };
        crashed.extend(model.classify(op).expect("well-formed"));
    }
    Repertoire { model, certain, crashed }
}

fn register(values: i64, has_cas: bool, rng: &mut Pcg64Mcg) -> Vec<Operation> {
    let weights = [1 + below(rng, 3), 1 + below(rng, 3), below(rng, 3)];
    let [reads, writes, cas] = match below(rng, 8) {
        0 => [0, weights[1], weights[2]],
        1 => [weights[0], 1, 3 * weights[2]],
        2 => [5, 1, weights[2]],
        _ => weights,
    };
    let cas = if has_cas { cas } else { 0 };
    let mut operations = Vec::new();
    for a in 0..values {
        let many = usize::try_from(values).expect("a few values");
        let (nil, value) = (Edn::Nil, Edn::Int(a));
        operations.extend(vec![("read", nil, value.clone()); reads * many]);
        operations.extend(vec![("write", value.clone(), value); writes * many]);
        for b in 0..values {
            let value = Edn::vector([a, b]);
            operations.extend(vec![("cas", value.clone(), value); 2 * cas]);
        }
    }
    operations
}

fn transactions(values: i64) -> Vec<Operation> {
    let mut operations = Vec::new();
    let micro =
        |f: &str, key: i64, value: Edn| Edn::Vector(vec![Edn::keyword(f), key.into(), value]);
    let mut add = |invoked: Vec<Edn>, completed: Vec<Edn>| {
        operations.push(("txn", Edn::Vector(invoked), Edn::Vector(completed)));
    };
    for (key, a) in [0, 1].into_iter().flat_map(|key| (0..values).map(move |a| (key, a))) {
        let (nil, a_read) = (micro("r", key, Edn::Nil), micro("r", key, a.into()));
        let write = micro("w", key, a.into());
        let other = micro("w", 1 - key, ((a + 1) % values).into());
        add(vec![nil.clone()], vec![a_read.clone()]);
        add(vec![write.clone()], vec![write.clone()]);
        add(vec![nil, other.clone()], vec![a_read, other.clone()]);
        add(vec![write.clone(), other.clone()], vec![write, other]);
    }
    operations
}

fn appends() -> Vec<Operation> {
    let mut operations = Vec::new();
    for piece in ["x", "y", "z"].map(Edn::str) {
        operations.push(("append", piece.clone(), piece.clone()));
        operations.extend(vec![("put", piece.clone(), piece); 3]);
    }
    let read = ["", "x", "y", "z", "xx", "xy", "yx", "yy", "xz", "zx", "xxy", "xyx"];
    operations.extend(read.map(|value| ("get", Edn::Nil, Edn::str(value))));
    operations
}

fn set() -> Vec<Operation> {
    let mut operations = Vec::new();
    for element in 0..3 {
        operations.push(("add", Edn::Int(element), Edn::Int(element)));
        operations.push(("remove", Edn::Int(element), Edn::Int(element)));
    }
    for members in 0..8 {
        let elements = (0..3_i64).filter(|element| members >> element & 1 == 1);
        operations.extend(vec![("read", Edn::Nil, Edn::vector(elements)); 2]);
    }
    operations
}

fn queue(is_unordered: bool, rng: &mut Pcg64Mcg) -> Vec<Operation> {
    let mut operations = Vec::new();
    for element in (0..3).map(Edn::Int) {
        operations.push(("enqueue", element.clone(), element.clone()));
        operations.extend(vec![("dequeue", Edn::Nil, element); 2]);
    }
    if !is_unordered || below(rng, 2) == 0 {
        operations.push(("dequeue", Edn::Nil, Edn::Nil));
    }
    operations
}
