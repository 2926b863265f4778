//! The judgement on one object.

use super::model::Model;
use super::object::Object;
use super::search::Limits;
use super::{report, story};
use crate::check::Outcome;
use crate::history::{Op, Pair, pairs};

/// Judges a history of operations on one object.
pub fn check(model: Box<dyn Model>, history: &[Op]) -> Outcome {
    judge(operations(history).and_then(|pairs| Object::new(model, &pairs, false)), "the object")
}

/// The operations of a well-formed history.
pub(super) fn operations(history: &[Op]) -> Result<Vec<Pair<'_>>, String> {
    if !history.is_sorted_by(|a, b| a.index < b.index) {
        return Err("malformed history: the indices do not increase".into());
    }
    pairs(history).map_err(|why| format!("malformed history: {why}"))
}

/// Judges one object, called `name` in the story.
pub(super) fn judge(object: Result<Object<'_>, String>, name: &str) -> Outcome {
    let mut object = match object {
        Ok(object) => object,
        Err(why) => return Outcome::unknown(why),
    };
    let finding = object.judge(Limits::DEFAULT);
    let story = story::tell(&mut object, &finding, name);
    Outcome { story, ..report::outcome(&mut object, &finding) }
}
