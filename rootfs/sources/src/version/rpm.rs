//! rpm's order (rpm, lib/rpmvercmp and docs/manual/dependencies.md), and pacman's (alpm_pkg_vercmp), which is an older rpm's.

use std::cmp::Ordering;

use kedge_packages::Family;

/// Compares `[epoch:]version[-release]`. A release that only one of them has is not compared.
pub(super) fn compare(family: Family, a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    let order = match family {
        Family::Pacman => pacman,
        _ => segments,
    };
    a.0.cmp(&b.0)
        .then_with(|| order(a.1, b.1))
        .then_with(|| match (a.2, b.2) {
            (Some(a), Some(b)) => order(a, b),
            _ => Ordering::Equal,
        })
}

fn split(text: &str) -> (u64, &str, Option<&str>) {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, text),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// `rpmvercmp`: runs of digits and of letters, whatever stands between them; `~` before everything, `^` after the end and before
/// everything else.
pub(super) fn segments(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    if a == b {
        return Ordering::Equal;
    }
    loop {
        a = skip(a);
        b = skip(b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), _) => return Ordering::Less,
            (_, Some(b'^')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(_), Some(_)) => {}
        }
        match run(&mut a, &mut b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}

/// pacman's `rpmvercmp`: no `~` and `^`; separators count, and a letter behind the end is older (1.0rc1 before 1.0).
fn pacman(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    if a == b {
        return Ordering::Equal;
    }
    // What is left over of one of them keeps its separators: 1.0 is older than 1.0.a.
    while !a.is_empty() && !b.is_empty() {
        let separators = |text: &[u8]| {
            let count = text.iter().take_while(|b| !b.is_ascii_alphanumeric());
            count.count()
        };
        let (before_a, before_b) = (separators(a), separators(b));
        (a, b) = (&a[before_a..], &b[before_b..]);
        if a.is_empty() || b.is_empty() {
            break;
        }
        if before_a != before_b {
            return before_a.cmp(&before_b);
        }
        match run(&mut a, &mut b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    match (a.first(), b.first()) {
        (None, None) => Ordering::Equal,
        // What is left over makes it newer, unless it begins with a letter.
        (None, Some(rest)) if rest.is_ascii_alphabetic() => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (Some(rest), _) if rest.is_ascii_alphabetic() => Ordering::Less,
        (Some(_), _) => Ordering::Greater,
    }
}

/// Compares the runs of digits or letters in front of both, as `a` has them, and takes them away. Digits are newer than letters.
fn run(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let digits = a[0].is_ascii_digit();
    let of = |text: &[u8]| {
        let same = text.iter().take_while(|b| match digits {
            true => b.is_ascii_digit(),
            false => b.is_ascii_alphabetic(),
        });
        same.count()
    };
    let (x, y) = (of(a), of(b));
    if y == 0 {
        return match digits {
            true => Ordering::Greater,
            false => Ordering::Less,
        };
    }
    let (first, second) = (&a[..x], &b[..y]);
    (*a, *b) = (&a[x..], &b[y..]);
    if !digits {
        return first.cmp(second);
    }
    let number = |text: &[u8]| {
        let zeros = text.iter().take_while(|&&b| b == b'0').count();
        text[zeros..].to_vec()
    };
    let (first, second) = (number(first), number(second));
    first.len().cmp(&second.len()).then(first.cmp(&second))
}

fn skip(text: &[u8]) -> &[u8] {
    let count = text
        .iter()
        .take_while(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'~' | b'^'));
    &text[count.count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of rpm's own test suite (tests/rpmvercmp.at).
    #[test]
    fn rpm_says_the_same() {
        use Ordering::{Equal, Greater, Less};
        for (a, b, expected) in [
            ("1.0", "1.0", Equal),
            ("1.0", "2.0", Less),
            ("2.0.1", "2.0.1", Equal),
            ("2.0", "2.0.1", Less),
            ("2.0.1a", "2.0.1", Greater),
            ("5.5p1", "5.5p2", Less),
            ("5.5p1", "5.5p10", Less),
            ("10xyz", "10.1xyz", Less),
            ("xyz10", "xyz10.1", Less),
            ("xyz.4", "xyz.4", Equal),
            ("xyz.4", "8", Less),
            ("8", "xyz.4", Greater),
            ("5.5p2", "5.6p1", Less),
            ("5.6p1", "6.5p1", Less),
            ("6.0.rc1", "6.0", Greater),
            ("10b2", "10a1", Greater),
            ("1.0aa", "1.0aa", Equal),
            ("1.0a", "1.0aa", Less),
            ("10.0001", "10.0001", Equal),
            ("10.0001", "10.1", Equal),
            ("10.0001", "10.0039", Less),
            ("4.999.9", "5.0", Less),
            ("20101121", "20101122", Less),
            ("2_0", "2.0", Equal),
            ("a", "a", Equal),
            ("a+", "a_", Equal),
            ("+", "_", Equal),
            ("1.0~rc1", "1.0", Less),
            ("1.0~rc1", "1.0~rc2", Less),
            ("1.0~rc1~git123", "1.0~rc1", Less),
            ("1.0^", "1.0", Greater),
            ("1.0^git1", "1.0^git2", Less),
            ("1.0^git1", "1.01", Less),
            ("1.0^20160101", "1.0.1", Less),
            ("1.0~rc1^git1", "1.0~rc1", Greater),
            ("1.0^git1~pre", "1.0^git1", Less),
            ("1.900", "1.8000", Less),
            ("2.0.0", "2.0", Greater),
        ] {
            assert_eq!(segments(a, b), expected, "{a} {b}");
            assert_eq!(segments(b, a), expected.reverse(), "{b} {a}");
        }
        assert_eq!(compare(Family::Rpm, "1:1-1", "2-1"), Greater);
        assert_eq!(compare(Family::Rpm, "1-1.el9", "1-2.el9"), Less);
        assert_eq!(compare(Family::Rpm, "1", "1-2.el9"), Equal);
    }

    /// The order that vercmp(8) shows, and cases of pacman's test suite (test/util/vercmptest.sh).
    #[test]
    fn pacman_says_the_same() {
        let sorted = [
            "1.0a", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0", "1.0.a", "1.0.1",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(Family::Pacman, a, b), i.cmp(&j), "{a} {b}");
            }
        }
        for (a, b, expected) in [
            ("1.5.0", "1.5.0", Ordering::Equal),
            ("1.5.1", "1.5", Ordering::Greater),
            ("1.5.0-1", "1.5.0-2", Ordering::Less),
            ("1.5-1", "1.5", Ordering::Equal),
            ("1.5b-1", "1.5-1", Ordering::Less),
            ("2.0", "2_0", Ordering::Equal),
            ("2..0", "2.0", Ordering::Greater),
            ("0:1.0", "1.0", Ordering::Equal),
            ("1:1.0", "1.1", Ordering::Greater),
        ] {
            assert_eq!(compare(Family::Pacman, a, b), expected, "{a} {b}");
            assert_eq!(compare(Family::Pacman, b, a), expected.reverse(), "{b} {a}");
        }
    }
}
