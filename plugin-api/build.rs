//! Compiles the protobuf contract under `proto/` without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["words.proto", "scheduler.proto", "framework.proto", "executor.proto", "command.proto"];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let mut config = tonic_prost_build::configure().build_client(false).build_server(false);
    // Ids and resources have invariants and arithmetic: they are written by hand, on the wire shape that words.proto gives.
    for word in ["FrameworkId", "AgentId", "OfferId", "TaskId", "ExecutorId", "Resources"] {
        config = config.extern_path(format!(".mesos.v1.{word}"), format!("crate::v1::{word}"));
    }
    config.include_file("mesos.rs").compile_fds(descriptors)?;
    Ok(())
}
