//! The bugs that can be planted in the time of leases (see [`planted`](crate::planted)).

use seaworthy::time::Time;

use crate::planted::{Mutant, is};

/// The end of a lease that was renewed; or the end that it had before.
pub(super) fn renewed(next: Time, before: Time) -> Time {
    if is(Mutant::RenewForgotten) { before } else { next }
}
