//! The operations of both queues.

use super::Observed;
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// The effect of an operation, over numbered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Enqueue(u32),
    Dequeue(u32),
    /// A dequeue of unknown result.
    Drop,
    FindEmpty,
}

impl Action {
    /// The action of an operation.
    ///
    /// # Errors
    /// A text if a queue has no such operation.
    pub(super) fn of(op: Observed<'_>, values: &mut Values) -> Result<Action, String> {
        match (op.f, op.completed) {
            ("enqueue", Some(completed)) if completed != op.invoked && !completed.is_nil() => {
                Err("an enqueue completed with another argument than its own".into())
            }
            ("enqueue", _) => Ok(Action::Enqueue(values.number(op.invoked))),
            ("dequeue", None) => Ok(Action::Drop),
            ("dequeue", Some(Edn::Nil)) => Ok(Action::FindEmpty),
            ("dequeue", Some(value)) => Ok(Action::Dequeue(values.number(value))),
            (f, _) => Err(format!("a queue has no operation {f}")),
        }
    }

    /// Why the action is impossible on a queue of these elements.
    pub(super) fn refusal(self, elements: &Edn, values: &Values) -> String {
        match self {
            Action::Enqueue(value) => format!("can't enqueue {}", values.value(value)),
            Action::Dequeue(value) => {
                format!("can't dequeue {} from {elements}", values.value(value))
            }
            Action::Drop => "can't dequeue from an empty queue".into(),
            Action::FindEmpty => format!("can't find {elements} empty"),
        }
    }
}

/// The elements of the value that a queue begins with; nil is an empty queue.
pub(super) fn initial_elements(initial: &Edn) -> Option<&[Edn]> {
    if initial.is_nil() { Some(&[]) } else { initial.as_seq() }
}

/// The values with these numbers.
pub(super) fn vector_of(numbers: &[u32], values: &Values) -> Edn {
    Edn::Vector(numbers.iter().map(|number| values.value(*number).clone()).collect())
}
