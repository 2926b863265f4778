//! The bug that can be planted in the shell (see [`mutant`](crate::mutant)).

use crate::mutant::{Mutant, is};
use crate::node::Ticket;

/// The ticket that an answer waits for.
pub(super) fn awaited(pending: Option<Ticket>) -> Option<Ticket> {
    pending.filter(|_| !is(Mutant::OkBeforeDurable))
}
