//! The store that is served.

use std::path::{Path, PathBuf};

use crate::check::Outcome;

/// Judges the operations of a run that goes on.
type Judge = Box<dyn Fn(&Path) -> Option<Outcome> + Send + Sync>;

/// A store, and the judge of its runs that go on.
pub struct Site {
    /// The directory of the store.
    pub store: PathBuf,
    /// Judges the operations that the run in a directory has logged so far; none if they cannot be
    /// read at this moment.
    pub judge: Judge,
}
