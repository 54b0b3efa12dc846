//! Compiles the protobuf contracts between master, agents, operators and launchers without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shared = "../plugin-api/proto";
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed={shared}");
    let cluster = protox::compile(["cluster.proto"], ["proto", shared])?;
    tonic_prost_build::configure()
        .extern_path(".mesos.v1", "::mesos_plugin_api::v1")
        .include_file("mesos.rs")
        .compile_fds(cluster)?;
    let launcher = protox::compile(["launcher.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".mesos.launcher").compile_fds(launcher)?;
    Ok(())
}
