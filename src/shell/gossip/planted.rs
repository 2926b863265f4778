//! The bug that can be planted in the shell (see [`crate::planted`]).

use crate::node::Ticket;
use crate::planted::{Mutant, is};

/// The ticket that an answer waits for.
pub(super) fn awaited(pending: Option<Ticket>) -> Option<Ticket> {
    pending.filter(|_| !is(Mutant::OkBeforeDurable))
}
