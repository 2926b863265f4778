//! The purpose of a message besides its deltas.

/// How a message is meant.
#[derive(Clone, Copy, Default)]
pub(super) struct SendMode {
    /// The receiver is to answer at once.
    pub(super) ask: bool,
    /// The receiver asked: it wants everything it lacks, however much that is.
    pub(super) asked: bool,
    /// The receiver must learn which deltas this node has.
    pub(super) digest: bool,
}

impl SendMode {
    pub(super) const PLAIN: SendMode = SendMode { ask: false, asked: false, digest: false };
    pub(super) const ASK: SendMode = SendMode { ask: true, ..SendMode::PLAIN };
}
