//! What fuzzing has kept holds, and so do mutations of it: a little fuzzing without its tools.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mesos_fuzz::{TARGETS, Target};
use sha2::{Digest, Sha256};

/// Mutations of all of a target's inputs together.
const MUTATIONS: usize = 3000;
/// A mutation may be this much longer than what it is made of.
const GROWTH_MAX: usize = 64;

#[test]
fn master() {
    holds("master");
}

#[test]
fn agent() {
    holds("agent");
}

#[test]
fn framework() {
    holds("framework");
}

#[test]
fn pmi() {
    holds("pmi");
}

#[test]
fn resources() {
    holds("resources");
}

#[test]
fn plugins() {
    holds("plugins");
}

#[test]
fn launcher() {
    holds("launcher");
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_is_run_here() {
    let own = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora.rs")).expect("this file");
    for Target { name, .. } in TARGETS {
        assert!(!corpus(name).is_empty(), "fuzz/corpus/{name} holds something");
        let program = folder().join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        assert!(text.contains(&format!("mesos_fuzz::run(\"{name}\"")), "{}", program.display());
        assert!(own.contains(&format!("holds(\"{name}\")")), "{name} is run");
    }
}

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let corpus = corpus(name);
    for input in &corpus {
        run(target, input);
    }
    let mut chance = Chance { name, drawn: 0 };
    for _ in 0..MUTATIONS {
        run(target, &mutated(&corpus, &mut chance));
    }
}

/// Keeps an input that does not hold where cargo-fuzz would, and says how to run it again.
fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let name: String = Sha256::digest(input).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = folder().join(format!("artifacts/{}/crash-{name}", target.name));
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder for what failed");
        fs::write(&path, input).expect("what failed is kept");
        eprintln!("{} fails on {}; `cargo xtask fuzz {}` runs that first", target.name, path.display(), target.name);
        std::panic::resume_unwind(panic);
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// In the order of the names, so that the same mutations are made everywhere.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("an input")).collect()
}

/// Numbers that look drawn and are always the same for one target.
struct Chance<'a> {
    name: &'a str,
    drawn: u64,
}

impl Chance<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.drawn += 1;
        let hash = Sha256::digest(format!("{} {}", self.name, self.drawn));
        let number = u64::from_le_bytes(hash[..8].try_into().expect("eight bytes"));
        (number % bound as u64) as usize
    }
}

/// One to four changes of one of the inputs: a byte, a piece left out, a piece of another put in.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance<'_>) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        match chance.below(4) {
            0 | 1 if at < input.len() => input[at] = chance.below(256) as u8,
            2 => drop(input.drain(at..input.len().min(at + 1 + chance.below(8)))),
            _ => {
                let other = &corpus[chance.below(corpus.len())];
                let start = chance.below(other.len() + 1);
                let end = other.len().min(start + chance.below(GROWTH_MAX));
                input.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    input
}
