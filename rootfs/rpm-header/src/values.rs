//! Values of a tag.

/// Numbers of one width.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers<'a> {
    data: &'a [u8],
    /// In bytes; 0 when there are none.
    width: usize,
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(data: &'a [u8], width: usize) -> Numbers<'a> {
        Numbers { data, width }
    }

    /// The number at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<u64> {
        let from = index.checked_mul(self.width)?;
        let bytes = self.data.get(from..from.checked_add(self.width)?)?;
        let number = |sum, &byte: &u8| sum << 8 | u64::from(byte);
        (!bytes.is_empty()).then(|| bytes.iter().fold(0, number))
    }
}

/// Texts that end in a NUL.
#[derive(Clone, Debug, Default)]
pub struct Texts<'a> {
    data: &'a [u8],
    left: u32,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(data: &'a [u8], count: u32) -> Texts<'a> {
        Texts { data, left: count }
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let text = match std::ffi::CStr::from_bytes_until_nul(self.data) {
            Ok(text) => text.to_bytes(),
            Err(_) => {
                self.left = 0;
                return None;
            }
        };
        self.data = &self.data[text.len() + 1..];
        Some(text)
    }
}
