//! Skeletons of the adapters to come, on real processes: what each needs of the plugin API holds when processes die.

#[path = "skeletons/containers.rs"]
mod containers;
#[path = "skeletons/services.rs"]
mod services;
#[path = "skeletons/ordered.rs"]
mod ordered;

use std::fs;
use std::path::PathBuf;

use harness::{Cluster, cache};

/// Puts a skeleton's plugin into a folder of its own beside the cluster's.
fn installed(cluster: &Cluster, name: &str) -> PathBuf {
    let built = cache::build_folder().join(format!("libmesos_skeleton_{name}.so"));
    let folder = cluster.home.folder().join("plugins");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.so"));
    fs::copy(&built, &path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test skeletons`", built.display()));
    path
}
