//! Requests as traces, which a collector gets by OTLP over gRPC (`--otlp-endpoint`).
//!
//! One place opens a span for a request, whichever way it came in (`api::Services`), and one notes its
//! waits (`engine::Handle::ask`). When the request is answered, `span` makes spans of these notes, and
//! `export` sends them from a task of its own: neither a request nor the node's thread waits for it.
//!
//! The cargo feature `otlp` brings the crates. In a build without it `absent` takes the place of
//! both, and the flags are refused.

mod flags;
mod record;

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod span;

#[cfg(not(feature = "otlp"))]
pub use self::absent::{Followed, Traces};
pub use self::flags::{Settings, TraceFlags};
pub use self::record::{Record, current, note};
#[cfg(feature = "otlp")]
pub use self::span::{Followed, Traces};
