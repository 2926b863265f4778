//! Invocations and their completions.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use super::{Op, OpType, Process};

/// A client operation from its invocation to its completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'a> {
    /// The invocation.
    pub invoke: &'a Op,
    /// How it ended; none if the history ends first, which is the same as `info`.
    pub completion: Option<&'a Op>,
}

impl Pair<'_> {
    /// How it ended: an operation that never completed may have happened.
    pub fn outcome(&self) -> OpType {
        self.completion.map_or(OpType::Info, |op| op.kind)
    }

    /// Whether it certainly happened.
    pub fn is_ok(&self) -> bool {
        self.outcome() == OpType::Ok
    }
}

/// A history that no set of single-threaded clients can have produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairError {
    /// A process invoked while its last operation was open.
    InvokedTwice {
        /// The process.
        process: u64,
        /// Index of the operation that was open.
        open: usize,
        /// Index of the second invocation.
        index: usize,
    },
    /// A process completed an operation without having one open.
    NeverInvoked {
        /// The process.
        process: u64,
        /// Index of the completion.
        index: usize,
    },
    /// A completion whose `f` is not that of its invocation.
    OtherOperation {
        /// The process.
        process: u64,
        /// Index of the completion.
        index: usize,
    },
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PairError::InvokedTwice { process, open, index } => write!(
                f,
                "process {process} invokes at index {index} while its operation {open} is open"
            ),
            PairError::NeverInvoked { process, index } => {
                write!(f, "process {process} completes at index {index} but has invoked nothing")
            }
            PairError::OtherOperation { process, index } => {
                write!(f, "process {process} completes at index {index} what it did not invoke")
            }
        }
    }
}

impl std::error::Error for PairError {}

/// The client operations of a history in the order of their invocations.
///
/// A process that goes on after an `info`, which Jepsen's never do, is let through:
/// the operation in doubt keeps its own pair and loses nothing.
///
/// # Errors
/// If a process invokes twice, completes without having invoked, or completes
/// something else.
pub fn pairs(history: &[Op]) -> Result<Vec<Pair<'_>>, PairError> {
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(history.len() / 2);
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for op in history {
        let Process::Client(process) = op.process else { continue };
        let index = op.index;
        match (op.kind, open.entry(process)) {
            (OpType::Invoke, Entry::Vacant(slot)) => {
                slot.insert(pairs.len());
                pairs.push(Pair { invoke: op, completion: None });
            }
            (OpType::Invoke, Entry::Occupied(slot)) => {
                let open = pairs[*slot.get()].invoke.index;
                return Err(PairError::InvokedTwice { process, open, index });
            }
            (_, Entry::Vacant(_)) => return Err(PairError::NeverInvoked { process, index }),
            (_, Entry::Occupied(slot)) => {
                let pair = &mut pairs[slot.remove()];
                if pair.invoke.f != op.f {
                    return Err(PairError::OtherOperation { process, index });
                }
                pair.completion = Some(op);
            }
        }
    }
    Ok(pairs)
}
