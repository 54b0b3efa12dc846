//! Compiles the messages under `proto/` without protoc; the words of Mesos v1 come from the plugin API.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors =
        protox::compile(["hadoop.proto", "rpc.proto", "yarn.proto"], ["proto", "../../../plugin-api/proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .extern_path(".mesos.v1", "::mesos_plugin_api::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
