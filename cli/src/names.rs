//! Names that nobody else has.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use anyhow::{Context as _, Result};

/// So many letters tell 100 commands of one second apart, all but surely.
const LETTERS: u32 = 6;

/// The prefix and an ending of letters and digits that no other name has.
pub fn unique(prefix: &str) -> String {
    // No letter that looks like a digit.
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    // The standard library's hasher is seeded by the kernel's randomness.
    let random = RandomState::new().hash_one(std::process::id());
    let letter = |place: u32| char::from(ALPHABET[(random >> (5 * place) & 31) as usize]);
    format!("{prefix}{}", (0..LETTERS).map(letter).collect::<String>())
}

/// A secret that can't be guessed, as text.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.context("/dev/urandom can't be read")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_alike() {
        let names: std::collections::BTreeSet<String> = (0..1000).map(|_| unique("run-")).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.len() == 10 && name.starts_with("run-")));
        assert_eq!(secret().expect("random").len(), 64);
    }
}
