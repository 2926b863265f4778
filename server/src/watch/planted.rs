//! The bugs that can be planted in watches (see [`planted`](crate::planted)). Each function
//! returns its first argument, or the right combination of both, unless its bug is planted.

use crate::planted::{Mutant, is};

/// Begins with what this server has, where the client has seen more elsewhere; or with what is
/// to come, where the client has missed events.
pub(super) fn begins_at(next: i64, now: i64) -> i64 {
    match (is(Mutant::WatchBackInTime), is(Mutant::WatchSkipsPast)) {
        (true, _) => next.min(now + 1),
        (_, true) => next.max(now + 1),
        _ => next,
    }
}

/// Forgets that the watch wants nothing before `next`.
pub(super) fn marked(next: i64, since: i64) -> i64 {
    if is(Mutant::WatchEarly) { since } else { next.max(since) }
}

/// Looks at the last revision of a piece once more, if there were events in it.
pub(super) fn told_upto(upto: i64, events: usize) -> i64 {
    if is(Mutant::RepeatPiece) && events > 0 { upto - 1 } else { upto }
}
