//! Compiles every .proto of `proto/` without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files: Vec<_> =
        std::fs::read_dir("proto")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    tonic_prost_build::configure().bytes(".mesos.launcher").compile_fds(protox::compile(files, ["proto"])?)?;
    Ok(())
}
