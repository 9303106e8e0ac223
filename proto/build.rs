//! Generates the gRPC types from `protos/`, in Rust alone: no protoc is needed.

#![allow(clippy::disallowed_methods)] // a build script writes files

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=protos");
    let files = ["store", "info", "exemplars", "metadata", "rules", "status", "targets"];
    let files = files.map(|name| format!("thanos/{name}.proto"));
    let descriptors = protox::compile(files, ["protos"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".thanos.Chunk.data") // chunk bytes are passed on, not copied
        .out_dir(&out)
        .compile_fds(descriptors)?;
    Ok(())
}
