//! fnmatch(3) without flags: `*` and `?` stand for a `/` too.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::Complaints;

/// The most bytes of patterns that are kept, of all files of a system together: each is held against every path, and a
/// system has some dozens.
const MOST: usize = 64 << 10;
/// What a pattern counts however short it is.
const EACH: usize = 16;

/// How much room is left for patterns.
pub(crate) struct Room(usize);

impl Room {
    pub(crate) fn new() -> Room {
        Room(MOST)
    }

    /// Whether there is room for `pattern`; that there is none is complained of, with the file that it stands in.
    pub(crate) fn takes(&mut self, pattern: &[u8], file: &str, complaints: &Complaints) -> bool {
        let left = self.0.checked_sub(EACH + pattern.len());
        self.0 = left.unwrap_or(0);
        if left.is_none() {
            complaints.add(format!(
                "{file} has more patterns than are looked at: what the others except may be told as missing or changed"
            ));
        }
        left.is_some()
    }
}

/// Steps of [`matches`] that a system's patterns may take, for all paths together: seconds, and fifty times of what a
/// hundred thousand files need with the patterns that there are.
const MOST_STEPS: u64 = 1 << 31;

/// What is left of [`MOST_STEPS`].
#[derive(Debug)]
pub(crate) struct Effort(AtomicU64);

impl Default for Effort {
    fn default() -> Effort {
        Effort(AtomicU64::new(MOST_STEPS))
    }
}

impl Effort {
    /// `search` counts its steps; nothing is found once all are taken.
    pub(crate) fn find<T>(&self, search: impl FnOnce(&mut u64) -> Option<T>) -> Option<T> {
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            return None;
        }
        let mut steps = 0;
        let found = search(&mut steps);
        // Two that ask at once may count as one: it is a bound, and no sum.
        self.0.store(left.saturating_sub(steps), Ordering::Relaxed);
        found
    }

    /// What is to be complained of when they were too many; `file` is where the patterns stand.
    pub(crate) fn complaint(&self, file: &str) -> Option<String> {
        let spent = self.0.load(Ordering::Relaxed) == 0;
        spent.then(|| {
            format!(
                "the patterns in {file} take too long; what they except was told as missing or changed from some file on"
            )
        })
    }
}

/// Whether all of `text` is described by `pattern`. Time is bounded by the product of their lengths; `steps` counts it.
pub(crate) fn matches(pattern: &[u8], text: &[u8], steps: &mut u64) -> bool {
    let (mut p, mut t) = (0, 0);
    *steps += 1;
    // Where to go on when it does not match: after the last star, one byte further in the text.
    let mut star = None;
    while t < text.len() {
        *steps += 1;
        match one(&pattern[p..], text[t]) {
            Some(Token::Star) => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            Some(Token::Byte(length)) => {
                p += length;
                t += 1;
                continue;
            }
            None => {}
        }
        let Some((after, from)) = star else {
            return false;
        };
        star = Some((after, from + 1));
        (p, t) = (after, from + 1);
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

enum Token {
    Star,
    /// It matched, and is that long.
    Byte(usize),
}

fn one(pattern: &[u8], byte: u8) -> Option<Token> {
    let matched = |yes: bool, length| yes.then_some(Token::Byte(length));
    match pattern {
        [] => None,
        [b'*', ..] => Some(Token::Star),
        [b'?', ..] => Some(Token::Byte(1)),
        [b'\\', escaped, ..] => matched(*escaped == byte, 2),
        [b'[', set @ ..] => match class(set, byte) {
            Some((yes, length)) => matched(yes, length + 1),
            None => matched(byte == b'[', 1),
        },
        [plain, ..] => matched(*plain == byte, 1),
    }
}

/// `abc]`, `!a-z]`: whether `byte` is in it, and how long it is. `None` when it has no end.
fn class(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let first = usize::from(negated);
    let (mut at, mut found) = (first, false);
    loop {
        match set.get(at..)? {
            [] => return None,
            [b']', ..] if at > first => return Some((found != negated, at + 1)),
            [low, b'-', high, ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [one, ..] => {
                found |= *one == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_fnmatch_says() {
        for (pattern, text, expected) in [
            ("/usr/share/doc/*", "/usr/share/doc/a/b", true),
            ("/usr/share/doc/*", "/usr/share/man/a", false),
            ("*/copyright", "/usr/share/doc/a/copyright", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes(), &mut 0);
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_are_bounded_and_it_is_told_once() {
        let complaints = Complaints::default();
        let mut room = Room::new();
        let taken = (0..100_000).filter(|_| room.takes(b"*q", "etc/dpkg/dpkg.cfg", &complaints));
        assert_eq!(taken.count(), MOST / (EACH + 2));
        let told = complaints.list();
        assert!(
            told.len() == 1 && told[0].starts_with("etc/dpkg/dpkg.cfg "),
            "{told:?}"
        );
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(2000);
        let text = "ab".repeat(1999);
        assert!(!matches(pattern.as_bytes(), text.as_bytes(), &mut 0));
    }

    #[test]
    fn patterns_that_take_too_long_are_given_up_and_that_is_told() {
        let effort = Effort::default();
        let search = |steps: &mut u64| matches(b"*a", b"ba", steps).then_some(());
        assert!(effort.find(search).is_some() && effort.complaint("x").is_none());
        effort.find(|steps| {
            *steps = MOST_STEPS;
            Some(())
        });
        assert!(effort.find(search).is_none());
        assert!(
            effort
                .complaint("etc/x")
                .unwrap()
                .contains("etc/x take too long")
        );
    }
}
