//! Compiles the protobuf contracts, between master, agents and operators, in the registry and the checkpoints of agents, and between
//! agents and launchers, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shared = "../plugin-api/proto";
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed={shared}");
    let descriptors = protox::compile(["cluster.proto", "registry.proto", "checkpoint.proto"], ["proto", shared])?;
    tonic_prost_build::configure()
        .extern_path(".mesos.v1", "::mesos_plugin_api::v1")
        .type_attribute("mesos.host.VolumeId", "#[derive(PartialOrd, Ord)]")
        .include_file("mesos.rs")
        .compile_fds(descriptors)?;
    // Arguments and environments are bytes that are not copied.
    let descriptors = protox::compile(["launcher.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
