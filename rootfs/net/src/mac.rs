//! Hardware addresses of Ethernet links.

use std::fmt;
use std::str::FromStr;

/// A MAC address (EUI-48), in the order in which it is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// The address that every link hears.
pub(crate) const BROADCAST: Mac = Mac([0xff; 6]);

impl Mac {
    /// Whether it could be a link's own: not a group's, and not all zero.
    pub(crate) fn is_a_links(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Six pairs of hexadecimal digits, with colons or hyphens between them.
    fn from_str(text: &str) -> Result<Mac, ()> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| is_pair(part)).ok_or(())?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        parts.next().is_none().then_some(Mac(bytes)).ok_or(())
    }
}

/// Two hexadecimal digits.
pub(crate) fn is_pair(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_are_read_and_nothing_else() {
        let mac = Mac([0x52, 0x54, 0, 0, 0, 0xfe]);
        assert_eq!("52:54:00:00:00:FE".parse(), Ok(mac));
        assert_eq!("52-54-00-00-00-fe".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "52:54:00:00:00:fe");
        for bad in [
            "",
            "52:54:00:00:00",
            "52:54:00:00:00:fe:01",
            "52:54-00:00:00:fe",
            "+2:54:00:00:00:fe",
            "525400:00:00:fe",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(()), "{bad}");
        }
    }
}
