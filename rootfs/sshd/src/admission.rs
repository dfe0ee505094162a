//! Who may begin to log in while others do: the limits against guessing and flooding, all of them.
//!
//! | limit | and why |
//! |---|---|
//! | 64 connections that have not logged in | each is a process of 2 MB |
//! | 8 of them from one IPv4 address or one IPv6 /64 | one guesser cannot take all places |
//! | from 32 on some are refused at random, at 64 all | a right login gets through at its second or third try |
//! | 60 s from the first byte to the login | a place that nobody uses becomes free (`connection.rs`) |
//! | 6 failed attempts on a connection | OpenSSH's number (`authentication.rs`) |
//! | 1 s for a wrong password, 30 minutes for all guesses | 48 bits are enough then (`password.rs`) |

use std::net::IpAddr;

/// Connections before login, in all.
pub(crate) const MOST: usize = 64;

/// Where refusing at random begins.
const SOME: usize = 32;

/// From one origin.
const MOST_OF_ONE: usize = 8;

/// What counts as one guesser: an IPv4 address, or an IPv6 /64, of which one machine has as many
/// addresses as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(u128);

impl Origin {
    /// Of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Self(v6.to_bits() >> 64 << 64),
        }
    }
}

/// Whether one more may begin, next to `others`. `chance` is a random number.
pub(crate) fn admits(others: &[Origin], one: Origin, chance: u8) -> bool {
    let total = others.len();
    let same = others.iter().filter(|other| **other == one).count();
    if total >= MOST || same >= MOST_OF_ONE {
        return false;
    }
    // From none at SOME to all at MOST.
    let refused = total.saturating_sub(SOME) * 256 / (MOST - SOME);
    usize::from(chance) >= refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    fn others(count: u32) -> Vec<Origin> {
        (0..count)
            .map(|n| Origin::of(IpAddr::from(n.to_be_bytes())))
            .collect()
    }

    #[test]
    fn one_origin_does_not_take_all_places() {
        let one = origin("192.0.2.1");
        let mut before = vec![one; MOST_OF_ONE - 1];
        assert!(admits(&before, one, 0));
        before.push(origin("::ffff:192.0.2.1"));
        assert!(!admits(&before, one, 255));
        assert!(admits(&before, origin("192.0.2.2"), 0));
    }

    #[test]
    fn a_64_is_one_origin() {
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:2"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
    }

    #[test]
    fn the_fuller_it_is_the_more_are_refused() {
        let one = origin("2001:db8::1");
        let admitted = |count| {
            (0..=255)
                .filter(|&c| admits(&others(count), one, c))
                .count()
        };
        assert_eq!(admitted(31), 256);
        assert_eq!(admitted(32), 256);
        assert_eq!(admitted(48), 128);
        assert_eq!(admitted(63), 8);
        assert_eq!(admitted(64), 0);
    }
}
