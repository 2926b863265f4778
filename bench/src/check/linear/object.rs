//! One object of a history: its calls, and the judgement on them.

use super::finding::Finding;
use super::model::{Model, Observed};
use super::search::{Limits, search};
use super::timeline::{Call, CallId, Timeline};
use crate::edn::Edn;
use crate::history::{Op, OpType, Pair};

/// The calls of a history that concern one object, with its model.
pub(super) struct Object<'h> {
    pub(super) model: Box<dyn Model>,
    pub(super) timeline: Timeline,
    /// The operation of the history that each call of the timeline stands for.
    pairs: Vec<Pair<'h>>,
    /// Whether values are tuples `[key value]`.
    is_keyed: bool,
}

impl<'h> Object<'h> {
    /// Takes operations in the order of their invocations, all on one object.
    ///
    /// # Errors
    ///
    /// A text if the model has no such operation.
    pub(super) fn new(
        mut model: Box<dyn Model>,
        operations: &[Pair<'h>],
        is_keyed: bool,
    ) -> Result<Object<'h>, String> {
        let mut calls = Vec::with_capacity(operations.len());
        let mut pairs = Vec::with_capacity(operations.len());
        for pair in operations {
            let returned = match pair.outcome() {
                OpType::Fail => continue,
                OpType::Ok => pair.completion,
                OpType::Info | OpType::Invoke => None,
            };
            let op = Observed {
                f: &pair.invoke.f,
                invoked: inner(&pair.invoke.value, is_keyed),
                completed: returned.map(|op| inner(&op.value, is_keyed)),
            };
            let invoked = pair.invoke.index;
            let class = model
                .classify(op)
                .map_err(|why| format!("malformed history: operation {invoked}: {why}"))?;
            if let Some(class) = class {
                calls.push(Call { class, invoked, returned: returned.map(|op| op.index) });
                pairs.push(*pair);
            }
        }
        Ok(Object { model, timeline: Timeline::new(calls), pairs, is_keyed })
    }

    /// Searches for an order of effects.
    pub(super) fn judge(&mut self, limits: Limits) -> Finding {
        search(self.model.as_mut(), &self.timeline, limits)
    }

    /// The operation that invoked `call`.
    pub(super) fn invocation(&self, call: CallId) -> &'h Op {
        self.pairs[call.0].invoke
    }

    /// The operation that completed `call`; its invocation if none certainly did.
    pub(super) fn end(&self, call: CallId) -> &'h Op {
        let pair = self.pairs[call.0];
        pair.completion.filter(|op| op.kind == OpType::Ok).unwrap_or(pair.invoke)
    }

    /// The result of `call`, or its argument if it has no result.
    pub(super) fn value(&self, call: CallId) -> &'h Edn {
        inner(&self.end(call).value, self.is_keyed)
    }
}

/// Returns the object's part of a value: the second element, if values are tuples.
fn inner(value: &Edn, is_keyed: bool) -> &Edn {
    match value.as_seq() {
        Some([_, inner]) if is_keyed => inner,
        _ => value,
    }
}
