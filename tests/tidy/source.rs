//! A file as the rules see it.

use std::fs;
use std::path::Path;

/// A text file of the repository.
pub struct Source {
    /// Its path from the top folder.
    pub path: String,
    /// Its lines as they are.
    pub lines: Vec<String>,
    /// The same lines with comments and the contents of strings blanked; empty unless it is Rust.
    pub code: Vec<String>,
    /// The first line of tests, counted from 0; the number of lines where there are none.
    pub tests_from: usize,
}

impl Source {
    /// A file with that path and text.
    pub fn new(path: &str, text: &str) -> Source {
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        let is_rust = path.ends_with(".rs");
        let code = if is_rust { code_of(text).lines().map(str::to_string).collect() } else { Vec::new() };
        let tests_from = match is_test_file(path) {
            true => 0,
            false => first_tests(&code).unwrap_or(lines.len()),
        };
        Source { path: path.to_string(), lines, code, tests_from }
    }
}

/// All text files that belong to the repository: neither build results nor what git keeps to itself.
pub fn all(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    collect(root, "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && name != "target" && name != ".git" => {
                collect(&entry.path(), &format!("{path}/"), found);
            }
            // What isn't text has no lines to judge; the lock file isn't written by people.
            Ok(kind) if kind.is_file() && name != "Cargo.lock" => {
                found.extend(fs::read_to_string(entry.path()).ok().map(|text| Source::new(&path, &text)));
            }
            _ => {}
        }
    }
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The line of the first module of tests; modules of tests stand at the end of their files.
fn first_tests(code: &[String]) -> Option<usize> {
    let is_module = |line: &String| line.trim_start().starts_with("mod ") && line.contains('{');
    (0..code.len()).find(|&i| code[i].contains("#[cfg(test)]") && code[i + 1..].iter().take(2).any(is_module))
}

/// Rust with comments, strings and characters blanked out, line by line.
pub fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = blank_length(&bytes, at);
        match length {
            0 => {
                out.push(bytes[at]);
                at += 1;
            }
            _ => {
                out.extend(bytes[at..at + length].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at += length;
            }
        }
    }
    out
}

/// How many characters from here on are a comment or a literal.
fn blank_length(text: &[char], at: usize) -> usize {
    let starts = |word: &str| text[at..].iter().copied().take(word.len()).eq(word.chars());
    let before_is_name = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    if starts("//") {
        text[at..].iter().position(|c| *c == '\n').unwrap_or(text.len() - at)
    } else if starts("/*") {
        block_comment(&text[at..])
    } else if text[at] == '"' {
        string(&text[at..])
    } else if text[at] == 'r' && !before_is_name || (text[at] == 'r' && at > 0 && text[at - 1] == 'b') {
        raw_string(&text[at..])
    } else if text[at] == '\'' {
        character(&text[at..])
    } else {
        0
    }
}

fn block_comment(text: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

fn string(text: &[char]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// `r"…"`, `r#"…"#` and so on; 0 for a name that starts with r.
fn raw_string(text: &[char]) -> usize {
    let hashes = text[1..].iter().take_while(|c| **c == '#').count();
    if text.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let closes =
        |at: &usize| text[*at] == '"' && text[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (2 + hashes..text.len()).find(closes).map_or(text.len(), |at| at + 1 + hashes)
}

/// `'x'` and `'\n'`; 0 for a lifetime.
fn character(text: &[char]) -> usize {
    match text.get(1) {
        Some('\\') => text.iter().skip(3).position(|c| *c == '\'').map_or(0, |at| at + 4),
        Some(_) if text.get(2) == Some(&'\'') => 3,
        _ => 0,
    }
}
