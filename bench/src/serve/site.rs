//! The store that is served.

use std::path::Path;

use crate::check::Outcome;

/// A store, and the judge of its runs that go on.
pub struct Site<'s> {
    /// The directory of the store.
    pub store: &'s Path,
    /// Judges the operations that the run in a directory has logged so far; none if they cannot be
    /// read at this moment.
    pub judge: &'s (dyn Fn(&Path) -> Option<Outcome> + Sync),
}
