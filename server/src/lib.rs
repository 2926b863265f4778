//! `seaworthy-server`: the Raft of this repository over TCP, as a key-value store that
//! speaks etcd's v3 API.
//!
//! `kv` is the state machine, `watch` tells its events, `lease` when leases end, and `node`
//! is a server of the cluster: all pure. `engine` is the thread that a node lives in, `data_dir`,
//! `states` and `trees` its files, `peer` its connections to the others, `api` its services for clients,
//! which come in by `serve`; `command_line` has the flags; `gate` bounds connections, `tls` has the certificates, and `authority`
//! makes up for a field that some clients get wrong; `codec` bounds the buffers of a call. `traces` sends the waits of requests to a collector.
//! `simulated` is the same node over the messages of the bench's simulation; it needs none of
//! these, nor the cargo feature `serve`. `docs/server.md` tells how to run it, and its promises.

#[cfg(feature = "serve")]
pub mod api;
#[cfg(feature = "serve")]
pub mod authority;
#[cfg(feature = "serve")]
pub mod backup;
#[cfg(feature = "serve")]
pub mod codec;
#[cfg(feature = "serve")]
pub mod command_line;
#[cfg(feature = "serve")]
pub mod compactor;
#[cfg(feature = "serve")]
pub mod config;
#[cfg(feature = "serve")]
pub mod config_file;
#[cfg(feature = "serve")]
pub mod data_dir;
#[cfg(feature = "serve")]
pub mod demo;
#[cfg(feature = "serve")]
pub mod engine;
#[cfg(feature = "serve")]
pub mod founding;
#[cfg(feature = "serve")]
pub mod gate;
#[cfg(feature = "serve")]
pub mod join;
pub mod kv;
pub mod lease;
#[cfg(feature = "serve")]
pub mod metrics;
pub mod node;
#[cfg(feature = "serve")]
pub mod offline;
#[cfg(feature = "serve")]
pub mod peer;
pub mod planted;
pub mod proto;
#[cfg(feature = "serve")]
pub mod quota;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "serve")]
pub mod server;
pub mod simulated;
#[cfg(feature = "serve")]
pub mod slow;
#[cfg(feature = "serve")]
pub mod space;
#[cfg(feature = "serve")]
pub mod states;
#[cfg(feature = "serve")]
pub mod store;
#[cfg(feature = "serve")]
pub mod tls;
#[cfg(feature = "serve")]
pub mod traces;
#[cfg(feature = "serve")]
pub mod trees;
#[cfg(feature = "serve")]
pub mod url;
pub mod watch;
