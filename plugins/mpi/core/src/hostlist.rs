//! Lists of host names as srun users write them: `a,b`, `n[1-3,7]`, `r[01-02]n[1-2]`.

use thiserror::Error;

/// So many names a list may stand for.
const NAMES_MAX: usize = 100_000;

/// Why a list can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostlistError {
    /// Brackets that don't match, or hold no numbers.
    #[error("{text:?} is no list of host names; write a,b or n[1-3,7]")]
    Malformed {
        /// The part that is wrong.
        text: String,
    },
    /// Too much.
    #[error("{text:?} stands for more than {NAMES_MAX} host names")]
    TooMany {
        /// The part that is wrong.
        text: String,
    },
}

/// All names, in the order of the list.
///
/// # Errors
/// The part that can't be read.
pub fn expand(list: &str) -> Result<Vec<String>, HostlistError> {
    let mut names = Vec::new();
    for part in split_outside_brackets(list) {
        names.extend(expand_part(part)?);
        if names.len() > NAMES_MAX {
            return Err(HostlistError::TooMany { text: list.to_string() });
        }
    }
    Ok(names)
}

fn split_outside_brackets(list: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    list.split(move |c| {
        inside = (inside || c == '[') && c != ']';
        c == ',' && !inside
    })
}

fn expand_part(part: &str) -> Result<Vec<String>, HostlistError> {
    let malformed = || HostlistError::Malformed { text: part.to_string() };
    let Some((before, rest)) = part.split_once('[') else {
        return if part.is_empty() || part.contains(']') { Err(malformed()) } else { Ok(vec![part.to_string()]) };
    };
    let (inside, after) = rest.split_once(']').ok_or_else(malformed)?;
    let after = if after.is_empty() { vec![String::new()] } else { expand_part(after)? };
    let mut names = Vec::new();
    for range in inside.split(',') {
        for number in numbers(range).ok_or_else(malformed)? {
            names.extend(after.iter().map(|after| format!("{before}{number}{after}")));
            if names.len() > NAMES_MAX {
                return Err(HostlistError::TooMany { text: part.to_string() });
            }
        }
    }
    Ok(names)
}

/// `08-11`: leading zeros stay.
fn numbers(range: &str) -> Option<impl Iterator<Item = String>> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let sane = is_number(first) && is_number(last) && from <= to;
    sane.then(|| (from..=to).map(move |number| format!("{number:0width$}")))
}

/// A key that sorts `n9` before `n10`, as people number their hosts.
pub fn by_number(hostname: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = hostname;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - text);
        key.push((rest[..text].to_string(), rest[text..text + digits].parse().unwrap_or(u64::MAX)));
        rest = &rest[text + digits..];
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_stand_for_numbers() {
        let table: [(&str, &[&str]); 5] = [
            ("a,b", &["a", "b"]),
            ("n[1-3,7]", &["n1", "n2", "n3", "n7"]),
            ("n[08-10].lan,x", &["n08.lan", "n09.lan", "n10.lan", "x"]),
            ("r[1-2]n[1-2]", &["r1n1", "r1n2", "r2n1", "r2n2"]),
            ("10.0.0.1", &["10.0.0.1"]),
        ];
        for (list, names) in table {
            assert_eq!(expand(list).unwrap(), names, "{list}");
        }
    }

    #[test]
    fn what_is_no_list_is_named() {
        for list in ["", "a,,b", "n[1-", "n1]", "n[]", "n[3-1]", "n[a-b]"] {
            assert!(matches!(expand(list), Err(HostlistError::Malformed { .. })), "{list}");
        }
        assert!(matches!(expand("n[1-999999999]"), Err(HostlistError::TooMany { .. })));
    }

    #[test]
    fn hosts_are_sorted_by_their_numbers() {
        let mut hosts = ["n10", "n9", "m2", "n9-b", "n", "7"];
        hosts.sort_by_key(|host| by_number(host));
        assert_eq!(hosts, ["7", "m2", "n9", "n9-b", "n10", "n"]);
    }
}
