//! Histories of transactions without invocations, as Elle's examples have them.

use std::collections::BTreeMap;

use super::{Op, OpType, Process};

/// Whether clients complete transactions and invoke none. Of other operations the completion does not
/// tell all that was asked for.
pub(super) fn is_bare(ops: &[Op]) -> bool {
    let is_bare = |op: &Op| op.f == "txn" && op.kind != OpType::Invoke;
    ops.iter().any(Op::is_client) && ops.iter().filter(|op| op.is_client()).all(is_bare)
}

/// The positions of a bare history's operations, each once for its invocation and once for its
/// completion. The history does not tell when they began, so each begins as early as it can: right
/// after the last one of its process. No order in time is claimed that the history does not have.
pub(super) fn woven(ops: &[Op]) -> Vec<(usize, OpType)> {
    let mut of_process: BTreeMap<Process, Vec<usize>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate().filter(|(_, op)| op.is_client()) {
        of_process.entry(op.process).or_default().push(at);
    }
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for own in of_process.values() {
        next.extend(own.windows(2).map(|pair| (pair[0], pair[1])));
    }
    let mut firsts: Vec<usize> = of_process.values().map(|own| own[0]).collect();
    firsts.sort_unstable();
    let mut events: Vec<(usize, OpType)> =
        firsts.into_iter().map(|at| (at, OpType::Invoke)).collect();
    for (at, op) in ops.iter().enumerate() {
        events.push((at, op.kind));
        events.extend(next.get(&at).map(|after| (*after, OpType::Invoke)));
    }
    events
}
