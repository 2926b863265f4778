//! The end of a search.

use super::timeline::{CallId, State};

/// A configuration as a reader wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possibility {
    /// The state of the object.
    pub state: State,
    /// The call that took effect last.
    pub last: Option<CallId>,
    /// Calls that have not, or not certainly, taken effect.
    pub pending: Vec<CallId>,
}

/// How exactly a violation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// No call before was impossible, and these are the possibilities.
    All,
    /// No call before was impossible, but there may be more possibilities.
    Some,
    /// The possibilities are among these, and an earlier call might already have been
    /// impossible.
    Bound,
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is an order of effects; these are the possibilities at the end.
    Linearizable(Vec<Possibility>),
    /// There is none: `call` could not return.
    Violation {
        /// The call.
        call: CallId,
        /// The possibilities just before it returned.
        before: Vec<Possibility>,
        /// How exact `call` and `before` are.
        precision: Precision,
    },
    /// A limit was reached: the history does not tell.
    GaveUp {
        /// Which limit.
        reason: String,
    },
}
