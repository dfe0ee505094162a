//! The data types of RFC 4251, section 5, as bytes. SFTP uses the same.

/// What a peer sent is not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is malformed")]
pub struct Malformed;

/// Takes values off the front of a message.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the front.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(front)
    }

    /// `byte`.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// `boolean`.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.byte()? != 0)
    }

    /// So many bytes, of a length that is known here.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    /// `uint32`.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// `uint64`.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// `string`: any bytes.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).map_err(|_| Malformed)?)
    }

    /// A `string` that has to be text.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed)
    }

    /// `mpint`, where only a positive number makes sense: big endian, without leading zeros.
    pub fn positive(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.string()?;
        match bytes {
            [] => Err(Malformed),
            [first, ..] if first & 0x80 != 0 => Err(Malformed),
            _ => {
                let zeros = bytes.iter().take_while(|&&b| b == 0).count();
                match &bytes[zeros..] {
                    [] => Err(Malformed),
                    digits => Ok(digits),
                }
            }
        }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

/// Puts values at the end of a message.
pub trait Put {
    /// `byte`.
    fn put_byte(&mut self, value: u8);
    /// `uint32`.
    fn put_u32(&mut self, value: u32);
    /// `uint64`.
    fn put_u64(&mut self, value: u64);
    /// `string`.
    fn put_string(&mut self, value: &[u8]);
    /// An unsigned big-endian number as `mpint`.
    fn put_mpint(&mut self, digits: &[u8]);
}

impl Put for Vec<u8> {
    fn put_byte(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_string(&mut self, value: &[u8]) {
        // Every string that is sent fits one packet by far.
        self.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.extend_from_slice(value);
    }

    fn put_mpint(&mut self, digits: &[u8]) {
        let zeros = digits.iter().take_while(|&&b| b == 0).count();
        let digits = &digits[zeros..];
        let sign = usize::from(digits.first().is_some_and(|b| b & 0x80 != 0));
        self.put_u32(u32::try_from(digits.len() + sign).unwrap_or(u32::MAX));
        self.extend(std::iter::repeat_n(0, sign));
        self.extend_from_slice(digits);
    }
}

/// An ECDSA signature's two numbers (RFC 5656, section 3.1.2), each filled up to `length`.
pub fn ecdsa_fixed(signature: &[u8], length: usize) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(signature);
    let mut out = Vec::with_capacity(2 * length);
    for _ in 0..2 {
        let digits = reader.positive()?;
        let zeros = length.checked_sub(digits.len()).ok_or(Malformed)?;
        out.extend(std::iter::repeat_n(0, zeros));
        out.extend_from_slice(digits);
    }
    reader.end()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4251, section 5.
    #[test]
    fn numbers_are_those_of_the_rfc() {
        let mpint = |digits: &[u8]| {
            let mut bytes = Vec::new();
            bytes.put_mpint(digits);
            bytes
        };
        assert_eq!(mpint(&[]), [0, 0, 0, 0]);
        assert_eq!(mpint(&[0, 0]), [0, 0, 0, 0]);
        assert_eq!(
            mpint(&[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]),
            [0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]
        );
        assert_eq!(mpint(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
        assert_eq!(Reader::new(&mpint(&[0x80])).positive(), Ok(&[0x80][..]));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0x80]).positive(), Err(Malformed));
        assert_eq!(Reader::new(&[0, 0, 0, 2, 0, 0]).positive(), Err(Malformed));
    }

    #[test]
    fn a_length_beyond_the_message_is_refused() {
        for bytes in [
            &[][..],
            &[0, 0, 0],
            &[0, 0, 0, 1],
            &[0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(Reader::new(bytes).string(), Err(Malformed));
        }
        let mut reader = Reader::new(&[0, 0, 0, 1, b'x', 7]);
        assert_eq!(reader.string(), Ok(&b"x"[..]));
        assert!(reader.end().is_err());
    }
}
