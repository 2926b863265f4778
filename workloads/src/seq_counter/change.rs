//! The value of the service's one key, its changes, and the messages that carry them.

use std::collections::BTreeMap;

use seaworthy::message::NodeId;
use serde::{Deserialize, Serialize};

/// A node's total, and the tag of the change that made it.
pub(super) type Entry = (i128, String);

/// The totals of all nodes: `{"n0":[5,"9f-3"]}`.
pub(super) type Value = BTreeMap<NodeId, Entry>;

/// The sum of all totals.
pub(super) fn sum(value: &Value) -> i128 {
    value.values().map(|entry| entry.0).sum()
}

/// A step of one node's entry. Only that node makes such steps, and no tag is used twice: so
/// the entry that a step starts from never returns, and the step is taken at most once, however
/// often it is tried and by whichever node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) from: Option<Entry>,
    pub(super) to: Entry,
}

impl Change {
    /// Takes the step of `node` in `value`, if it starts there.
    pub(super) fn apply(&self, node: &NodeId, value: &mut Value) {
        if value.get(node) == self.from.as_ref() {
            value.insert(node.clone(), self.to.clone());
        }
    }

    /// Whether the node's entry is the one that the step made.
    pub(super) fn made(&self, entry: Option<&Entry>) -> bool {
        entry.is_some_and(|entry| entry.1 == self.to.1)
    }

    /// Whether `value`, of this moment or a past one, tells that the step was taken.
    pub(super) fn is_in(&self, node: &NodeId, value: &Value) -> bool {
        self.made(value.get(node))
    }
}

/// Asks the service to replace the value.
#[derive(Serialize)]
pub(super) struct Cas<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) key: &'static str,
    pub(super) from: &'a Option<Value>,
    pub(super) to: &'a Value,
    pub(super) create_if_not_exists: bool,
}

/// Asks the service for the value, perhaps a past one.
#[derive(Serialize)]
pub(super) struct Read {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) key: &'static str,
}

/// Asks the service to set a key.
#[derive(Serialize)]
pub(super) struct Write<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) key: &'a NodeId,
    pub(super) value: u64,
}

/// The service's answer.
#[derive(Deserialize)]
pub(super) struct ValueIs {
    pub(super) value: Value,
}

/// The type of [`Combine`].
pub(super) const COMBINE: &str = "combine";

/// Asks another node to take a step of the sender's entry with its own next cas.
#[derive(Serialize)]
pub(super) struct Combine<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(flatten)]
    pub(super) change: &'a Change,
}

/// The answer: a value that was the present one after the request, in short.
#[derive(Serialize, Deserialize)]
pub(super) struct CombineOk {
    #[serde(rename = "type", skip_deserializing)]
    pub(super) kind: &'static str,
    /// The sender's entry in that value: the step's `to`, or one that excludes the step.
    pub(super) entry: Option<Entry>,
    pub(super) sum: i128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_however_often_it_is_tried() {
        let node = NodeId::from("n1");
        let entry = |total, tag: &str| (total, tag.to_owned());
        let change = Change { from: Some(entry(1, "a")), to: entry(3, "b") };
        let mut value = Value::from([(node.clone(), entry(1, "a"))]);
        assert!(!change.is_in(&node, &value));
        change.apply(&node, &mut value);
        change.apply(&node, &mut value);
        assert!(change.is_in(&node, &value));
        assert_eq!(sum(&value), 3);

        // The next one has been taken as well; the first comes again, late.
        Change { from: Some(entry(3, "b")), to: entry(4, "c") }.apply(&node, &mut value);
        change.apply(&node, &mut value);
        assert_eq!(value[&node], entry(4, "c"));

        let first = Change { from: None, to: entry(9, "d") };
        first.apply(&node, &mut value);
        assert_eq!(sum(&value), 4);
    }
}
