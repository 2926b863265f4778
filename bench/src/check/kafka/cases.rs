//! The anomalies that were found.

use std::collections::BTreeMap;

use super::read::{Key, Msg};

/// One instance of an anomaly. Numbers of steps stand for operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// An offset with several values.
    Offset { key: Key, offset: i64, index: usize, values: Vec<Msg> },
    /// A value at several offsets.
    Duplicate { msg: Msg, offsets: Vec<i64> },
    /// A message that the reader should not have seen.
    Read { msg: Msg, reader: usize, writer: Option<usize> },
    /// A message that others after it show to be lost.
    Lost { msg: Msg, index: usize, bound: usize, writer: usize, max_read: usize },
    /// Two messages in the wrong distance, between two operations or within one.
    Order { key: Key, values: [Msg; 2], delta: i64, ops: [usize; 2] },
}

/// Cases by the name of the anomaly.
#[derive(Default)]
pub(super) struct Cases(pub(super) BTreeMap<&'static str, Vec<Case>>);

impl Cases {
    pub(super) fn add(&mut self, kind: &'static str, case: Case) {
        self.0.entry(kind).or_default().push(case);
    }
}

impl Case {
    /// The distance of the two messages; 0 where the case has none.
    pub(super) fn delta(&self) -> i64 {
        match self {
            Case::Order { delta, .. } => *delta,
            _ => 0,
        }
    }
}
