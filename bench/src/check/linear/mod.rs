//! Linearizability: did every operation seem to happen at one instant?
//!
//! An object is linearizable if its operations can be put in an order that its
//! sequential specification (the [`model`]) allows and in which each takes effect
//! between its invocation and its return (Herlihy and Wing 1990). Objects are
//! judged one by one, since linearizability is local: a history of many keys is
//! linearizable exactly if it is for every key.
//!
//! * [`timeline`]: operations as calls of small classes, in order.
//! * [`model`]: what an object may do: registers, locks, lists, sets, queues.
//! * [`search`]: the decision. Exact, or it gives up. Two searches take turns, one in
//!   breadth (`pass`) and one that follows the best way and learns from failures (`best`, `graph`, `blame`);
//!   both are made of the same steps (`step`, `relevant`) at the same places (`frontier`).
//! * `report`, `story`: the result map for programs and the story for people.
//! * [`referee`]: another search, which the first one is tested with, on what [`generate`]
//!   makes.
//!
//! Deliberately missing: the special algorithm for unique values, since Jepsen's
//! registers repeat theirs.

mod best;
mod bits;
mod blame;
#[cfg(test)]
mod brute;
mod classes;
mod config;
mod frontier;
pub mod generate;
mod graph;
mod keyed;
pub mod model;
mod object;
mod pass;
pub mod referee;
mod relevant;
mod report;
pub mod search;
mod states;
mod step;
mod story;
#[cfg(test)]
mod tests;
pub mod timeline;
mod values;

pub use keyed::check_lin_kv;

use crate::check::Outcome;
use crate::history::{Op, Pair, pairs};
use model::Model;
use object::Object;
use search::Limits;

/// How many configurations and paths a result keeps, as in Jepsen.
const KEPT_MAX: usize = 10;

/// Judges a history of operations on one object.
pub fn check(model: Box<dyn Model>, history: &[Op]) -> Outcome {
    judge(operations(history).and_then(|pairs| Object::new(model, &pairs, false)), "the object")
}

/// The operations of a well-formed history.
fn operations(history: &[Op]) -> Result<Vec<Pair<'_>>, String> {
    if !history.is_sorted_by(|a, b| a.index < b.index) {
        return Err("malformed history: the indices do not increase".into());
    }
    pairs(history).map_err(|why| format!("malformed history: {why}"))
}

/// Judges one object, called `name` in the story.
fn judge(object: Result<Object<'_>, String>, name: &str) -> Outcome {
    let mut object = match object {
        Ok(object) => object,
        Err(why) => return Outcome::unknown(why),
    };
    let finding = object.judge(Limits::DEFAULT);
    let story = story::tell(&mut object, &finding, name);
    Outcome { story, ..report::outcome(&mut object, &finding) }
}
