//! Each rule finds what it forbids, and only that.

use crate::manifests::judge;
use crate::rules;
use crate::source::{Source, code_of};

const CORE: &str = "host/src/master/offers.rs";

fn count(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "let a = \"Instant \\\" x\"; // Instant\nlet b = 'I'; /* Instant /* nested */ */ let c: &'a str = r#\"Instant\"#;";
    let code = code_of(text);
    assert!(!code.contains("Instant"), "{code}");
    assert!(code.contains("let b =") && code.contains("let c: &'a str ="), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(count(rules::lengths, "host/src/a.rs", &"x\n".repeat(801)), 1);
    assert_eq!(count(rules::lengths, "host/src/a.rs", &"x\n".repeat(800)), 0);
}

#[test]
fn unfinished_work_is_found() {
    assert_eq!(count(rules::unfinished, "a.rs", "// TODO: later"), 1);
    assert_eq!(count(rules::unfinished, "README.md", "FIXME"), 1);
    assert_eq!(count(rules::unfinished, "a.rs", "fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\ndbg!(1);"), 3);
    assert_eq!(count(rules::unfinished, "a.rs", "let autodo = \"dbg!\";"), 0);
}

#[test]
fn a_sleeping_test_is_found() {
    assert_eq!(count(rules::sleeps, "tests/integration/run.rs", "std::thread::sleep(SECOND);"), 1);
    let module = "fn f() { tokio::time::sleep(A); }\n#[cfg(test)]\nmod tests {\n    tokio::time::sleep(A).await;\n}";
    let findings = rules::sleeps(&Source::new("host/src/agent/shell.rs", module));
    assert!(findings.iter().all(|finding| finding.contains(":4:")) && !findings.is_empty(), "{findings:?}");
    let poll = "let deadline = Instant::now() + LIMIT;\nloop {\n    assert!(Instant::now() < deadline);\n    std::thread::sleep(pause);\n}";
    assert_eq!(count(rules::sleeps, "tests/harness/src/poll.rs", poll), 0);
}

#[test]
fn what_a_core_must_not_have_is_found() {
    let bad = [
        "use std::time::Instant;",
        "let t = SystemTime::now();",
        "use std::fs;",
        "use std::{collections::BTreeMap, fs};",
        "use tokio::sync::mpsc;",
        "let m: HashMap<u8, u8>;",
        "HashSet::new()",
        "async fn f() {}",
        "let s = std::net::TcpStream;",
        "use std::{\n    net,\n};",
        "getrandom::fill(x)",
        "hex(&fresh_random::<8>())",
        "nix::unistd::getpid()",
    ];
    for text in bad {
        assert_ne!(count(rules::cores, CORE, text), 0, "{text}");
    }
    let good = "use std::collections::BTreeMap;\nuse std::time::Duration;\n// no HashMap here\nlet file_count = instant_count;";
    assert_eq!(count(rules::cores, CORE, good), 0);
}

#[test]
fn shells_and_tests_of_a_core_may_do_io() {
    let text = "use std::fs;";
    assert_eq!(count(rules::cores, "host/src/master/shell.rs", text), 0);
    assert_eq!(count(rules::cores, "host/src/master/shell/blobs.rs", text), 0);
    assert_eq!(count(rules::cores, "host/src/launcher/spawn.rs", text), 0);
    assert_eq!(count(rules::cores, CORE, "#[cfg(test)]\nmod tests {\n    use std::fs;\n}"), 0);
    assert_eq!(count(rules::cores, CORE, "#[cfg(test)]\nmod tests;\nuse std::fs;"), 1);
}

#[test]
fn the_abi_crate_is_found_outside_the_boundary() {
    assert_eq!(count(rules::abi, "host/src/loader/load.rs", "use abi_stable::std_types::RString;"), 1);
    assert_eq!(count(rules::abi, "plugin-api/src/abi/mod.rs", "use abi_stable::std_types::RString;"), 0);
    assert_eq!(count(rules::abi, "host/src/loader/load.rs", "// abi_stable checks the layout"), 0);
}

#[test]
fn unsafe_without_a_reason_is_found() {
    assert_eq!(count(rules::unsafe_code, "a.rs", "fn f() {\n    unsafe { g() };\n}"), 1);
    assert_eq!(count(rules::unsafe_code, "a.rs", "unsafe impl Send for A {}"), 1);
    assert_eq!(count(rules::unsafe_code, "a.rs", "// SAFETY: g is sound\nunsafe { g() };"), 0);
    assert_eq!(count(rules::unsafe_code, "a.rs", "// SAFETY: g is\n// sound\nlet a =\n    unsafe { g() };"), 0);
    assert_eq!(count(rules::unsafe_code, "a.rs", "/// # Safety\n/// Once.\n#[inline]\npub unsafe fn f() {}"), 0);
    assert_eq!(count(rules::unsafe_code, "a.rs", "// SAFETY: a\nunsafe { g() };\n\n\n\n\nunsafe { h() };"), 1);
    assert_eq!(count(rules::unsafe_code, "a.rs", "// unsafe { is explained }\nlet a = \"unsafe { }\";"), 0);
}

#[test]
fn an_arrow_that_goes_the_wrong_way_is_found() {
    let bad = [
        "[dependencies]\nmesos-host.workspace = true",
        "[dependencies]\nmesos-host = { path = \"../host\" }",
        "[dev-dependencies.mesos-host]\npath = \"../host\"",
        "[dependencies]\nhost = { path = \"../host\", package = \"mesos-host\" }",
    ];
    for text in bad {
        assert_eq!(judge("plugins/x/Cargo.toml", text, &["mesos-host", "mesos-cli"]).len(), 1, "{text}");
    }
    let good = "[package]\nname = \"mesos-hostess\"\ndescription = \"not mesos-host\"\n[dependencies]\nmesos-plugin-api.workspace = true";
    assert_eq!(judge("plugins/x/Cargo.toml", good, &["mesos-host", "mesos-cli"]), Vec::<String>::new());
}
