//! What a node does: one file, one challenge.
