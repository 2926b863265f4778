//! Compiles the messages of `proto/`, without `protoc`: to prost's types and tonic's
//! services, and to the JSON of protobuf for etcd's gateway.

// A build script speaks to Cargo on stdout.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "authpb.proto",
        "etcdserverpb.proto",
        "health.proto",
        "mvccpb.proto",
        "v3electionpb.proto",
        "v3lockpb.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    // Without the feature `serve` there are the messages alone.
    let serves = std::env::var_os("CARGO_FEATURE_SERVE").is_some();
    let rust = tonic_prost_build::configure().build_client(serves).build_server(serves);
    rust.codec_path("crate::codec::Codec").bytes(".").compile_fds(descriptors.clone())?;
    if !serves {
        return Ok(());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    std::fs::write(out.join("schemas.json"), schemas(&descriptors.file))?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.encode_to_vec())?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .out_dir(out)
        .build(&[".authpb", ".etcdserverpb", ".mvccpb", ".v3electionpb", ".v3lockpb"])?;
    Ok(())
}

/// The messages as JSON schemas, by their names without the package: those are unique.
fn schemas(files: &[prost_types::FileDescriptorProto]) -> String {
    let messages = files.iter().flat_map(|file| &file.message_type);
    let nested = messages.clone().flat_map(|message| &message.nested_type);
    let enums = files.iter().flat_map(|file| &file.enum_type);
    let enums = enums.chain(messages.clone().flat_map(|message| &message.enum_type));
    let messages = messages.chain(nested).map(|message| {
        let fields =
            message.field.iter().map(|field| format!("{:?}: {}", field.name(), schema(field)));
        let fields = fields.collect::<Vec<_>>().join(", ");
        format!("{:?}: {{\"type\": \"object\", \"properties\": {{{fields}}}}}", message.name())
    });
    let enums = enums.map(|one| {
        let values: Vec<&str> = one.value.iter().map(|value| value.name()).collect();
        format!("{:?}: {{\"enum\": {values:?}}}", one.name())
    });
    format!("{{{}}}\n", messages.chain(enums).collect::<Vec<_>>().join(",\n"))
}

/// A field as protobuf's JSON has it.
fn schema(field: &prost_types::FieldDescriptorProto) -> String {
    use prost_types::field_descriptor_proto::{Label, Type};
    let one = match field.r#type() {
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => {
            r#"{"type": "string", "pattern": "^-?[0-9]{1,19}$"}"#
        }
        Type::Uint64 | Type::Fixed64 => r#"{"type": "string", "pattern": "^[0-9]{1,20}$"}"#,
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => r#"{"type": "integer", "format": "int32"}"#,
        Type::Uint32 | Type::Fixed32 => {
            r#"{"type": "integer", "minimum": 0, "maximum": 4294967295}"#
        }
        Type::Bool => r#"{"type": "boolean"}"#,
        Type::Bytes => r#"{"type": "string", "format": "byte"}"#,
        Type::Double | Type::Float => r#"{"type": "number"}"#,
        Type::String => r#"{"type": "string"}"#,
        Type::Message | Type::Enum | Type::Group => {
            let name = field.type_name().rsplit('.').next().unwrap_or_default();
            &format!("{{\"$ref\": \"#/components/schemas/{name}\"}}")
        }
    };
    match field.label() {
        Label::Repeated => format!("{{\"type\": \"array\", \"items\": {one}}}"),
        _ => one.to_owned(),
    }
}
