//! Packets: a tag, a length, a body (RFC 9580, section 4).

/// Tags that matter here (RFC 9580, section 5).
pub(super) mod tag {
    pub(crate) const SIGNATURE: u8 = 2;
    pub(crate) const PUBLIC_KEY: u8 = 6;
    pub(crate) const USER_ID: u8 = 13;
    pub(crate) const PUBLIC_SUBKEY: u8 = 14;
    pub(crate) const USER_ATTRIBUTE: u8 = 17;
}

/// The packets in `bytes`, until the end or until what is none: an error, and nothing behind it.
pub(super) struct Packets<'a> {
    rest: &'a [u8],
}

/// A tag and its body.
pub(super) type Packet<'a> = (u8, &'a [u8]);

impl<'a> Packets<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Packets<'a> {
        Packets { rest: bytes }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = split(self.rest);
        self.rest = packet.as_ref().map_or(&[], |&(_, rest)| rest);
        Some(
            packet
                .map(|(packet, _)| packet)
                .ok_or_else(|| "it is no OpenPGP packet, or is cut off".to_owned()),
        )
    }
}

/// The first packet and what is behind it.
fn split(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (tag, length, rest) = match first {
        // "Legacy packet format" (section 4.2.2).
        0x80..0xc0 => {
            let count = 1 << (first & 3);
            let tag = first >> 2 & 0xf;
            // A length that is not said: to the end. Nothing that is stored has that.
            if count > 4 {
                return None;
            }
            let (length, rest) = rest.split_at_checked(count)?;
            (tag, number(length), rest)
        }
        // "OpenPGP packet format" (section 4.2.1). Partial lengths (224 to 254) are for streams of data.
        0xc0.. => {
            let tag = first & 0x3f;
            let (&one, rest) = rest.split_first()?;
            match one {
                0..192 => (tag, u64::from(one), rest),
                192..224 => {
                    let (&two, rest) = rest.split_first()?;
                    (
                        tag,
                        ((u64::from(one) - 192) << 8) + u64::from(two) + 192,
                        rest,
                    )
                }
                255 => {
                    let (length, rest) = rest.split_at_checked(4)?;
                    (tag, number(length), rest)
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some(((tag, body), rest))
}

/// Big endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &b| sum << 8 | u64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_and_all_lengths() {
        let long = [7; 300];
        let mut bytes = vec![0x99, 0, 2, 1, 2, 0x88, 1, 3];
        bytes.extend([0xc2, 1, 4, 0xcd, 255, 0, 0, 0, 1, 5]);
        bytes.extend([0xc6, 192, 108]);
        bytes.extend(long);
        let packets: Result<Vec<_>, _> = Packets::of(&bytes).collect();
        let expected: Vec<Packet> = vec![
            (6, &[1, 2]),
            (2, &[3]),
            (2, &[4]),
            (13, &[5]),
            (6, &long[..]),
        ];
        assert_eq!(packets.unwrap(), expected);
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_the_end() {
        for bytes in [
            &[0x99, 0, 2, 1][..],
            &[0x99],
            &[0xc2],
            &[0xc2, 255, 255, 255, 255, 255],
            &[0xc2, 230, 1],
            &[0x8b, 1],
            b"text",
        ] {
            let packets: Vec<_> = Packets::of(bytes).collect();
            assert!(
                matches!(packets[..], [Err(_)]),
                "{bytes:02x?}: {packets:02x?}"
            );
        }
    }
}
