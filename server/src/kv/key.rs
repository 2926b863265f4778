//! The key of a pair.

use std::sync::Arc;

/// A key, shared by every version and map that holds it.
pub(super) type Key = Arc<[u8]>;
