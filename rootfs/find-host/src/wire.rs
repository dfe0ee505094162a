//! The data types of RFC 4251, section 5, as bytes.

/// What a peer sent is not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is malformed")]
pub(crate) struct Malformed;

/// Takes values off the front of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(front)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// `string`: any bytes.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }

    /// A `string` that has to be text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed)
    }

    /// `mpint`, where only a positive number makes sense: big endian, without leading zeros.
    pub(crate) fn positive(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.string()?;
        if bytes.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(Malformed);
        }
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        match &bytes[zeros..] {
            [] => Err(Malformed),
            digits => Ok(digits),
        }
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

/// Puts values at the end of a message.
pub(crate) trait Put {
    fn put_u32(&mut self, value: u32);
    fn put_string(&mut self, value: &[u8]);
    /// An unsigned big-endian number as `mpint`.
    fn put_mpint(&mut self, digits: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_string(&mut self, value: &[u8]) {
        // Every string here fits one packet.
        self.put_u32(value.len() as u32);
        self.extend_from_slice(value);
    }

    fn put_mpint(&mut self, digits: &[u8]) {
        let zeros = digits.iter().take_while(|b| **b == 0).count();
        let mut number = Vec::with_capacity(digits.len() + 1);
        if digits.get(zeros).is_some_and(|first| first & 0x80 != 0) {
            number.push(0);
        }
        number.extend_from_slice(&digits[zeros..]);
        self.put_string(&number);
    }
}
