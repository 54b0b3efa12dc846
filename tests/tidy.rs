//! Rules that no compiler checks, applied to every file of the repository. Each rule is shown to fail in `tidy/tests.rs`.
//!
//! ```text
//! files ─▶ Source (text, code without comments and strings, where tests begin) ─▶ rules ─▶ findings: file:line: what and why
//! ```

#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;
#[cfg(test)]
#[path = "tidy/tests.rs"]
mod tests;

use std::path::Path;

use source::Source;

/// Folders of cores: state machines without I/O, clock and chance. Files named `shell.rs` and folders named `shell` in them are not.
const CORES: &[&str] = &[
    "host/src/allocator",
    "host/src/master",
    "host/src/registry",
    "host/src/agent",
    "host/src/framework",
    "plugins/mpi/core/src",
    "plugins/hadoop/core/src",
];

/// The only place that names the ABI crate, so that it can be replaced.
const ABI: &str = "plugin-api/src/abi";

/// The rules name what they forbid.
const TIDY: &str = "tests/tidy";

/// No file is longer.
const LINES_MAX: usize = 800;

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace");
    let sources = source::all(root);
    assert!(sources.len() > 20, "the walk has found the repository");
    let mut findings: Vec<String> = sources.iter().flat_map(rules::all).collect();
    findings.extend(manifests::findings(root));
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn the_folders_that_rules_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace");
    for path in CORES.iter().chain(&[ABI, TIDY]) {
        assert!(root.join(path).exists(), "{path} has moved: change the list in tests/tidy.rs");
    }
}

/// Whether a path lies in a core and is not its shell.
fn is_core(source: &Source) -> bool {
    let in_core = CORES.iter().any(|core| source.path.starts_with(&format!("{core}/")));
    in_core && !source.path.ends_with("/shell.rs") && !source.path.contains("/shell/")
}
