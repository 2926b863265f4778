//! Watches: the changes of keys, told in order, each once.
//!
//! Every watch is served from the history that the store keeps anyway
//! ([`crate::kv::Store::changes`]), so it needs no queue. It has a place, the next revision to
//! look at, and a client that reads slowly holds up neither the node nor other watches: its
//! place stays where it is. If a compaction passes the place, the watch ends, and says so.
//!
//! * [`Hub`] finds the watches that a new revision concerns, so that all others sleep on.
//! * [`Stream`] holds the watches of one client's stream, and makes its responses.
//! * `channel` brings responses to a connection that asks for them.
//! * `live` connects both to the node's thread and to the tasks of the API.
//!
//! `Hub` and `Stream` are pure: revisions in, responses out.
//!
//! # The promises to a client
//!
//! Events of a watch are *ordered* by revision, *unique*, and *reliable*: none is missing between
//! the first and the last one seen. They are *atomic*: all of a revision come in one response, or in
//! fragments of one that are marked. A watch is *resumable* at any server, from the revision
//! after the last one seen, and *bookmarkable*: a progress response with a revision promises
//! that no event up to it will follow.

#[cfg(feature = "serve")]
mod channel;
mod hub;
#[cfg(feature = "serve")]
mod live;
mod planted;
mod stream;
#[cfg(test)]
mod tests;

#[cfg(feature = "serve")]
pub use channel::channel;
pub use hub::{Hub, WatcherId};
#[cfg(feature = "serve")]
pub use live::{Led, Permitted, Session, Watches};
pub use stream::Stream;
