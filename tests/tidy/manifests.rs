//! The rule about crates: who may depend on whom.
//!
//! ```text
//! cli ─▶ host ─▶ plugin-api ◀─ plugins/*
//! ```

use std::fs;
use std::path::Path;

/// Dependencies that would turn an arrow round: of the crates in a folder, on these.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("plugin-api", &["mesos-host", "mesos-cli", "mesos-mpi-core", "mesos-plugin-mpi"]),
    ("plugins", &["mesos-host", "mesos-cli"]),
    ("host", &["mesos-cli", "mesos-mpi-core", "mesos-plugin-mpi"]),
];

/// What the manifests of the repository say that they must not.
pub fn findings(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, crates) in FORBIDDEN {
        let manifests = manifests_below(&root.join(folder));
        assert!(!manifests.is_empty(), "{folder} holds a crate");
        for (path, text) in manifests {
            let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            found.extend(judge(&path, &text, crates));
        }
    }
    found
}

/// What one manifest says that it must not. Dependencies of tests count too: they are built by whoever works on the crate.
pub fn judge(path: &str, text: &str, forbidden: &[&str]) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.split(['.', '=', ' ', ']']).next()).map(str::trim);
    let tables = text
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')?.rsplit_once('.'))
        .map(|(_, name)| name);
    let renamed = text.lines().filter_map(|line| line.split_once("package = \"")?.1.split('"').next());
    let all: Vec<&str> = names.chain(tables).chain(renamed).collect();
    let hits = forbidden.iter().filter(|name| all.contains(name));
    hits.map(|name| format!("{path}: depends on {name}; the arrows in ARCHITECTURE.md go the other way")).collect()
}

fn manifests_below(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(manifests_below(&path));
        } else if path.ends_with("Cargo.toml") {
            let text = fs::read_to_string(&path).expect("a manifest can be read");
            found.push((path, text));
        }
    }
    found
}
