//! The messages and services of `proto/`, generated: etcd's package names and field numbers.
//!
//! prost gives the types and their binary form, tonic the services, pbjson the JSON that
//! protobuf defines (64-bit integers as text, bytes in base64), with the names as in the
//! `.proto` files when written and either spelling when read, as etcd's gateway has it.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// etcd's requests, answers and services.
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
    #[cfg(feature = "serve")]
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.serde.rs"));
}

/// Permissions.
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
    #[cfg(feature = "serve")]
    include!(concat!(env!("OUT_DIR"), "/authpb.serde.rs"));
}

/// The stored pair.
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
    #[cfg(feature = "serve")]
    include!(concat!(env!("OUT_DIR"), "/mvccpb.serde.rs"));
}

/// etcd's locks.
#[cfg(feature = "serve")]
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.serde.rs"));
}

/// etcd's elections.
#[cfg(feature = "serve")]
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.serde.rs"));
}

/// gRPC's health service.
#[cfg(feature = "serve")]
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}
