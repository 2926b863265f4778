//! A simulated disk that was rolled back, until its node is as good as any other.

use seaworthy::node::{Node, Ticket};
use seaworthy::raft::Raft;

/// The state of a disk that was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It was not, or its node takes part again and will not forget it.
    None,
    /// Its node abstains, or does not run.
    Abstains,
    /// Its node takes part again, and abstains once more if it dies before this is durable.
    Readmitted(Ticket),
}

impl Loss {
    /// The node has handled something, and has written up to `written`.
    pub(super) fn stepped(&mut self, node: Option<&Node>, written: Ticket, durable: Ticket) {
        let raft = node.and_then(Node::engine::<Raft>);
        if *self == Loss::Abstains && raft.is_some_and(|raft| !raft.is_abstaining()) {
            *self = Loss::Readmitted(written);
            self.durable(durable);
        }
    }

    /// Everything up to `ticket` is durable.
    pub(super) fn durable(&mut self, ticket: Ticket) {
        if matches!(self, Loss::Readmitted(at) if *at <= ticket) {
            *self = Loss::None;
        }
    }

    /// The node was killed.
    pub(super) fn killed(&mut self) {
        if *self != Loss::None {
            *self = Loss::Abstains;
        }
    }
}
