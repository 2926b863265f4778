//! The reads that a leader has taken up and not served yet.

use std::collections::{BTreeMap, VecDeque};

use super::ids::{Index, RaftId};
use super::message::{ReadContext, Round};

/// The reads a leader has taken up.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// They came before anything of this term was committed.
    pub(super) early: Vec<Pending>,
    /// They wait for a quorum's confirmation: by voucher, and then in the order in which
    /// they came, so that rounds ascend. The reads to be confirmed are then at the front of
    /// few queues, however many reads wait.
    pub(super) pending: BTreeMap<RaftId, VecDeque<Pending>>,
    /// When rounds were begun, oldest first; kept only for leases.
    pub(super) begun: VecDeque<(Round, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) context: ReadContext,
    /// The server that wants to read.
    pub(super) reader: RaftId,
    /// The server that passed the read on and so confirmed that it follows.
    pub(super) voucher: RaftId,
    /// Answers to this round or a later one confirm.
    pub(super) round: Round,
    /// The last round that was sent before it came.
    pub(super) came: Round,
    pub(super) index: Index,
}
