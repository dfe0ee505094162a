//! Debian's order (deb-version(7)).

use std::cmp::Ordering;

/// Compares `[epoch:]upstream[-revision]`.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| part(a.upstream, b.upstream))
        .then_with(|| part(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: u64,
    upstream: &'a str,
    revision: &'a str,
}

impl Parts<'_> {
    fn of(version: &str) -> Parts<'_> {
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, version),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Parts {
            epoch,
            upstream,
            revision,
        }
    }
}

/// What is no number and what is one, in turn.
fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (a.first().copied(), b.first().copied());
            if is_digit_or_end(x) && is_digit_or_end(y) {
                break;
            }
            match order(x).cmp(&order(y)) {
                Ordering::Equal => {
                    a = a.get(1..).unwrap_or_default();
                    b = b.get(1..).unwrap_or_default();
                }
                unequal => return unequal,
            }
        }
        let (x, y);
        (x, a) = digits(a);
        (y, b) = digits(b);
        match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

fn is_digit_or_end(c: Option<u8>) -> bool {
    c.is_none_or(|c| c.is_ascii_digit())
}

/// A tilde is before the end, the end (or a digit) before letters, and letters before everything else.
fn order(c: Option<u8>) -> i32 {
    match c {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(c) => i32::from(c) + 256,
    }
}

/// The digits in front, without zeros in front of them, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let zeros = text.iter().take_while(|&&b| b == b'0').count();
    let text = &text[zeros..];
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.split_at(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkg_says_the_same() {
        let versions = [
            "1.0",
            "1.0-1",
            "1.0-1~deb12u1",
            "1.0-1+deb12u1",
            "1:0.1",
            "0:1.0",
            "1.0~rc1",
            "1.0~~",
            "1.0a",
            "1.0+",
            "1.0.0",
            "1.00",
            "1.10",
            "1.9",
            "2",
            "2-0",
            "2-0.1",
            "1.0-1+b1",
            "a",
            "1.2.3-4-5",
            "1.0~rc1-1",
            "9223372036854775808",
            "9223372036854775807",
            "1.0z",
            "1.0-a",
        ];
        for a in versions {
            for b in versions {
                for (operator, expected) in [
                    ("lt", Ordering::Less),
                    ("eq", Ordering::Equal),
                    ("gt", Ordering::Greater),
                ] {
                    if compare(a, b) != expected {
                        continue;
                    }
                    let status = std::process::Command::new("dpkg")
                        .args(["--compare-versions", a, operator, b])
                        .stderr(std::process::Stdio::null())
                        .status()
                        .unwrap();
                    assert!(status.success(), "{a} {operator} {b}");
                }
            }
        }
    }
}
