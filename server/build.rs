//! Compiles the messages of `proto/`, without `protoc`: to prost's types and tonic's
//! services, and to the JSON of protobuf for etcd's gateway.

// A build script speaks to Cargo on stdout.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors =
        protox::compile(["authpb.proto", "etcdserverpb.proto", "mvccpb.proto"], ["proto"])?;
    // Without the feature `serve` there are the messages alone.
    let serves = std::env::var_os("CARGO_FEATURE_SERVE").is_some();
    let rust = tonic_prost_build::configure().build_client(serves).build_server(serves);
    rust.bytes(".").compile_fds(descriptors.clone())?;
    if !serves {
        return Ok(());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.encode_to_vec())?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .out_dir(out)
        .build(&[".authpb", ".etcdserverpb", ".mvccpb"])?;
    Ok(())
}
