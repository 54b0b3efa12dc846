//! Spans of time as srun users write them.

use std::time::Duration;

/// `min`, `min:sec`, `h:min:sec`, `d-h`, `d-h:min`, `d-h:min:sec`; none if it is none of these.
pub fn parse(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(number).collect::<Option<_>>()?;
    let seconds = match (days, parts.as_slice()) {
        (None, [minutes]) => minutes.checked_mul(60)?,
        (None, [minutes, seconds]) => sum([(*minutes, 60), (*seconds, 1)])?,
        (None, [hours, minutes, seconds]) => sum([(*hours, 3600), (*minutes, 60), (*seconds, 1)])?,
        (Some(days), [hours]) => sum([(days, 86400), (*hours, 3600)])?,
        (Some(days), [hours, minutes]) => sum([(days, 86400), (*hours, 3600), (*minutes, 60)])?,
        (Some(days), [hours, minutes, seconds]) => sum([(days, 86400), (*hours, 3600), (*minutes, 60), (*seconds, 1)])?,
        _ => return None,
    };
    Some(Duration::from_secs(seconds)).filter(|limit| !limit.is_zero())
}

/// Digits only: no sign, no white space.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn sum<const N: usize>(parts: [(u64, u64); N]) -> Option<u64> {
    parts.into_iter().try_fold(0u64, |sum, (count, unit)| sum.checked_add(count.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_srun_s_forms_are_read() {
        let table = [
            ("10", 600),
            ("1:30", 90),
            ("2:00:05", 7205),
            ("1-0", 86400),
            ("1-2:30", 86400 + 9000),
            ("1-2:30:01", 86400 + 9001),
        ];
        for (text, seconds) in table {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "0",
            "0:00",
            "x",
            "1:",
            "1:2:3:4",
            "-5",
            "+5",
            "1-",
            "1h",
            "99999999999999999999",
            "999999999999999999-0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
