//! The rules about single files.

use crate::source::Source;
use crate::{ABI, LINES_MAX, TIDY, is_core};

/// What all rules have to say about a file.
pub fn all(source: &Source) -> Vec<String> {
    [lengths, unfinished, sleeps, cores, abi, unsafe_code].iter().flat_map(|rule| rule(source)).collect()
}

/// A file is one idea; a long one holds several.
pub fn lengths(source: &Source) -> Vec<String> {
    let count = source.lines.len();
    let is_written = ["rs", "c", "proto", "sh", "toml"].iter().any(|end| source.path.ends_with(&format!(".{end}")));
    if is_written && count > LINES_MAX {
        return vec![format!("{}: {count} lines; no file is longer than {LINES_MAX}: split it by ideas", source.path)];
    }
    Vec::new()
}

/// What is unfinished doesn't go in.
pub fn unfinished(source: &Source) -> Vec<String> {
    if source.path.starts_with(TIDY) {
        return Vec::new();
    }
    let marks = ["TODO", "FIXME"];
    let macros = ["todo!", "unimplemented!", "dbg!"];
    let in_text = find(source, &source.lines, &marks, "finish it, or file an issue");
    let in_code = find(source, &source.code, &macros, "finish it before it goes in");
    [in_text, in_code].concat()
}

/// Tests wait for something that can be seen, with a deadline. A crate's own helper for that may sleep between two looks.
pub fn sleeps(source: &Source) -> Vec<String> {
    let polls = |at: usize| {
        source.code[at.saturating_sub(DEADLINE_LINES_MAX)..at].iter().any(|line| has_word(line, "deadline"))
    };
    let why = "a test polls with a deadline and sleeps for nothing else";
    (source.tests_from..source.code.len())
        .filter(|at| has_word(&source.code[*at], "sleep") || has_word(&source.code[*at], "sleep_until"))
        .filter(|at| !polls(*at))
        .map(|at| format!("{}:{}: {why}", source.path, at + 1))
        .collect()
}

/// How far above a sleep its deadline may stand.
const DEADLINE_LINES_MAX: usize = 12;

/// Cores are state machines: time is passed in, effects go out as data, and the same events give the same effects.
pub fn cores(source: &Source) -> Vec<String> {
    if !is_core(source) {
        return Vec::new();
    }
    let words = [
        "SystemTime",
        "Instant",
        "UNIX_EPOCH",
        "std::fs",
        "std::io",
        "std::process",
        "std::thread",
        "std::env",
        "File::open",
        "File::create",
        "OpenOptions",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "tokio",
        "async",
        "await",
        "tonic",
        "nix",
        "libc",
        "rand",
        "getrandom",
        "fresh_random",
        "HashMap",
        "HashSet",
        "Mutex",
        "RwLock",
        "println!",
        "eprintln!",
    ];
    let before_tests = (0, source.tests_from);
    let why = "a core has no clock, chance, I/O, lock or unordered map: pass it in, or move it to the shell";
    let mut findings = find_in(source, &source.code, before_tests, &words, why);
    findings.extend(grouped_imports(source, &["fs", "net", "io", "process", "thread", "env"], why));
    findings
}

/// The crate that lays out the boundary stays behind it.
pub fn abi(source: &Source) -> Vec<String> {
    if source.path.starts_with(ABI) {
        return Vec::new();
    }
    find(source, &source.code, &["abi_stable"], "only plugin-api/src/abi names it, so that it can be replaced")
}

/// Whoever reads `unsafe` reads above it why it is sound.
pub fn unsafe_code(source: &Source) -> Vec<String> {
    let needs_reason =
        |line: &str| ["unsafe {", "unsafe impl", "pub unsafe fn "].iter().any(|start| has_word(line, start));
    let lines = source.code.iter().enumerate().filter(|(at, line)| needs_reason(line) && !has_reason(source, *at));
    lines.map(|(at, _)| format!("{}:{}: unsafe without `// SAFETY:` above it", source.path, at + 1)).collect()
}

/// How many lines of one statement may stand between a reason and its `unsafe`.
const STATEMENT_LINES_MAX: usize = 3;

fn has_reason(source: &Source, at: usize) -> bool {
    let gives_reason = |line: &String| line.contains("SAFETY:") || line.contains("# Safety");
    let mut code_lines = 0;
    for above in (0..=at).rev() {
        let line = &source.lines[above];
        if gives_reason(line) {
            return true;
        }
        let trimmed = line.trim_start();
        if !(trimmed.starts_with("//") || trimmed.starts_with("#[")) {
            code_lines += 1;
        }
        if code_lines > STATEMENT_LINES_MAX {
            return false;
        }
    }
    false
}

/// `use std::{fs, …}` says `std::fs` in other words.
fn grouped_imports(source: &Source, modules: &[&str], why: &str) -> Vec<String> {
    let code = source.code[..source.tests_from.min(source.code.len())].join("\n");
    let groups = code.split("use std::{").skip(1).filter_map(|rest| rest.split(';').next());
    let named = groups.flat_map(|group| modules.iter().filter(move |module| has_word(group, module)));
    named.map(|module| format!("{}: use std::{{{module}}}: {why}", source.path)).collect()
}

fn find(source: &Source, lines: &[String], words: &[&str], why: &str) -> Vec<String> {
    find_in(source, lines, (0, lines.len()), words, why)
}

fn find_in(source: &Source, lines: &[String], (from, to): (usize, usize), words: &[&str], why: &str) -> Vec<String> {
    let range = lines.iter().enumerate().take(to).skip(from);
    let hits =
        range.flat_map(|(at, line)| words.iter().filter(|word| has_word(line, word)).map(move |word| (at, word)));
    hits.map(|(at, word)| format!("{}:{}: {word}: {why}", source.path, at + 1)).collect()
}

/// Whether the line holds the word and not only a longer one around it.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_name) && word.starts_with(is_name);
        let after = line[at + word.len()..].chars().next().is_some_and(is_name) && word.ends_with(is_name);
        !before && !after
    })
}
