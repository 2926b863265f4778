//! `seaworthy-server`: the Raft of this repository over TCP, as a key-value store that
//! speaks etcd's v3 API.
//!
//! `kv` is the state machine and `node` a server of the cluster, both pure. `engine` is the
//! thread that a node lives in, `data_dir` its files, `peer` its connections to the others,
//! `api` what clients see. `docs/server.md` tells how to run it, and what it promises.

pub mod api;
pub mod compactor;
pub mod config;
pub mod data_dir;
pub mod demo;
pub mod engine;
pub mod kv;
pub mod metrics;
pub mod node;
pub mod peer;
pub mod proto;
pub mod server;
