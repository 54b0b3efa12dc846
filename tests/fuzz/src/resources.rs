//! Resources as text and as bytes, and their arithmetic.

use mesos_plugin_api::v1::Resources;
use prost::Message;

/// Bytes up to the first `|` are one amount, and all after it another: as text where they are some, and as messages.
pub(crate) fn run(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'|').unwrap_or(bytes.len());
    let halves = [&bytes[..at], bytes.get(at + 1..).unwrap_or_default()];
    let texts = halves.map(|half| std::str::from_utf8(half).ok().and_then(text));
    let messages = halves.map(message);
    for [a, b] in [texts, messages] {
        if let (Some(a), Some(b)) = (a, b) {
            arithmetic(&a, &b);
            arithmetic(&b, &a);
        }
    }
}

fn text(text: &str) -> Option<Resources> {
    match text.parse::<Resources>() {
        Ok(resources) => {
            assert_eq!(resources.clone().checked().as_ref(), Ok(&resources), "what is parsed is in canonical form");
            is_written_as_read(&resources);
            Some(resources)
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error:?} is one line");
            None
        }
    }
}

fn message(bytes: &[u8]) -> Option<Resources> {
    match Resources::decode(bytes).ok()?.checked() {
        Ok(resources) => {
            assert_eq!(resources.clone().checked().as_ref(), Ok(&resources), "checked once is checked for good");
            assert_eq!(Resources::decode(resources.encode_to_vec().as_slice()).as_ref(), Ok(&resources));
            // A peer may name amounts that no text can.
            if resources.scalars().all(|(_, milli)| milli <= 1_000_000_000_000_000) {
                is_written_as_read(&resources);
            }
            Some(resources)
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error:?} is one line");
            None
        }
    }
}

fn is_written_as_read(resources: &Resources) {
    let text = resources.to_string();
    assert!(!text.contains(char::is_control), "{text:?} is one line");
    if resources.is_empty() {
        assert_eq!(text, "nothing");
    } else {
        assert_eq!(text.parse::<Resources>().as_ref(), Ok(resources), "{text}");
    }
}

fn arithmetic(a: &Resources, b: &Resources) {
    assert!(a.contains(a) && a.contains(&Resources::default()));
    assert_eq!(a.checked_sub(a), Ok(Resources::default()));
    assert_eq!(a.clone() + &Resources::default(), *a);
    match a.checked_sub(b) {
        Ok(rest) => {
            assert!(a.contains(b) && a.contains(&rest));
            assert_eq!(rest.clone().checked().as_ref(), Ok(&rest), "{a} - {b} is in canonical form");
            assert_eq!(rest + b, *a, "{a} - {b} + {b}");
        }
        Err(shortage) => {
            assert!(!a.contains(b), "{a} contains {b}, and lacks {shortage}");
            assert!(!shortage.to_string().contains(char::is_control), "{shortage:?} is one line");
        }
    }
    let sum = a.clone() + b;
    assert!(sum.contains(a), "{a} + {b} = {sum}");
    assert_eq!(sum.clone().checked().as_ref(), Ok(&sum), "{a} + {b} is in canonical form");
    let times = a.times(b);
    if times > 0 && times < u32::MAX {
        assert!(a.contains(&b.scalars_times(times)), "{b} fits {times} times into {a}");
    }
}
