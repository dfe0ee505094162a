//! Words for the kernel, as its boot configuration at the end of an initramfs has them.
//!
//! Source: Documentation/admin-guide/bootconfig.rst, lib/bootconfig.c, and
//! `get_boot_config_from_initrd()` in init/main.c. The kernel puts these words before those of its
//! loader. It does so after it has looked for the earliest ones (`early_param()`), which can be on the
//! loader's line only.

use std::io;

use super::early::EARLY;

/// `BOOTCONFIG_MAGIC`: the last bytes of the initramfs.
const MAGIC: &[u8] = b"#BOOTCONFIG\n";
/// Size and checksum before the magic, 32 bits each, little-endian.
const NUMBERS: usize = 8;
/// `BOOTCONFIG_ALIGN`.
const ALIGNMENT: usize = 4;
/// `XBC_DATA_MAX`: 32 KiB - 1.
const LARGEST: usize = (32 << 10) - 1;
/// `XBC_KEYLEN_MAX`, with the key that all of them are below.
const LONGEST_KEY: usize = 256 - "kernel.".len() - 1;
/// `XBC_DEPTH_MAX`, without that key.
const DEEPEST: usize = 15;

/// Why a word cannot be the kernel's by way of a stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A name that bootconfig has no way to write.
    #[error(
        "the kernel's boot configuration cannot hold a word called {0:?} (letters, digits, '-', '_', \
         and single dots between them)"
    )]
    Name(String),
    /// A value that would not come out as it went in.
    #[error("{0:?} holds a double quote, a control character or a letter that is not ASCII")]
    Value(String),
    /// The kernel looks for it before it looks into the initramfs.
    #[error(
        "the kernel reads {0} before it sees a stamp; give it on the boot loader's command line instead"
    )]
    Early(String),
    /// Kernel words beyond the kernel's bound.
    #[error("{0} bytes of words for the kernel; it takes {LARGEST} at most")]
    TooLarge(usize),
}

/// A bootconfig with its footer, a multiple of 4 bytes long: what stands at the end of the initramfs.
/// Nothing, where there is no word.
///
/// # Errors
/// When a word cannot be written.
pub fn of(words: &[(String, Option<String>)]) -> Result<Vec<u8>, Wrong> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = String::new();
    let mut written: Vec<&str> = Vec::new();
    for (name, value) in words {
        check(name, value.as_deref())?;
        // A key is there once: of several words of one name the values are a list.
        if written.contains(&name.as_str()) {
            continue;
        }
        written.push(name);
        let values: Vec<String> = words
            .iter()
            .filter(|(other, _)| other == name)
            .filter_map(|(_, value)| value.as_ref().map(|value| format!("\"{value}\"")))
            .collect();
        text.push_str("kernel.");
        text.push_str(name);
        if !values.is_empty() {
            text.push_str(" = ");
            text.push_str(&values.join(", "));
        }
        text.push('\n');
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let size = u32::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= LARGEST)
        .ok_or(Wrong::TooLarge(bytes.len()))?;
    let sum = checksum(&bytes);
    bytes.extend(size.to_le_bytes());
    bytes.extend(sum.to_le_bytes());
    bytes.extend(MAGIC);
    Ok(bytes)
}

/// How many bytes at the end of `bytes` are a bootconfig with its footer: 0 where there is none.
///
/// # Errors
/// When its checksum is another.
pub fn length_at_the_end_of(bytes: &[u8]) -> io::Result<usize> {
    let Some((rest, footer)) = bytes.split_last_chunk::<{ NUMBERS + MAGIC.len() }>() else {
        return Ok(0);
    };
    let (numbers, magic) = footer.split_at(NUMBERS);
    if magic != MAGIC {
        return Ok(0);
    }
    let number = |at: usize| {
        u32::from_le_bytes([
            numbers[at],
            numbers[at + 1],
            numbers[at + 2],
            numbers[at + 3],
        ])
    };
    let size = number(0) as usize;
    let data = rest
        .len()
        .checked_sub(size)
        .map(|start| &rest[start..])
        .filter(|data| checksum(data) == number(4));
    data.map(|data| data.len() + footer.len())
        .ok_or_else(|| io::Error::other("the kernel's words (bootconfig) have a wrong checksum"))
}

/// `xbc_calc_checksum()`.
fn checksum(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |sum: u32, &byte| sum.wrapping_add(u32::from(byte)))
}

fn check(name: &str, value: Option<&str>) -> Result<(), Wrong> {
    let key = |key: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !key.is_empty() && key.bytes().all(fine)
    };
    if !name.split('.').all(key) || name.len() > LONGEST_KEY || name.split('.').count() > DEEPEST {
        return Err(Wrong::Name(name.into()));
    }
    let plain = |b: u8| b == b' ' || (b.is_ascii_graphic() && b != b'"');
    if let Some(value) = value.filter(|value| !value.bytes().all(plain)) {
        return Err(Wrong::Value(value.into()));
    }
    // parameq(): hyphens and underscores are the same.
    let same = |early: &&str| early.replace('-', "_") == name.replace('-', "_");
    if EARLY.iter().any(same) {
        return Err(Wrong::Early(name.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(&str, Option<&str>)]) -> Result<Vec<u8>, Wrong> {
        let own = |&(name, value): &(&str, Option<&str>)| (name.into(), value.map(String::from));
        of(&words.iter().map(own).collect::<Vec<_>>())
    }

    fn text(bytes: &[u8]) -> String {
        let end = bytes.len() - NUMBERS - MAGIC.len();
        String::from_utf8_lossy(&bytes[..end])
            .trim_end_matches('\0')
            .into()
    }

    #[test]
    fn words_of_one_name_are_a_list_and_a_lone_one_has_no_value() {
        let bytes = words(&[
            ("console", Some("ttyS1,115200")),
            ("nomodeset", None),
            ("console", Some("tty0")),
            ("libata.force", Some("1.00:disable, x")),
            ("empty", Some("")),
        ])
        .unwrap();
        assert_eq!(
            text(&bytes),
            "kernel.console = \"ttyS1,115200\", \"tty0\"\nkernel.nomodeset\n\
             kernel.libata.force = \"1.00:disable, x\"\nkernel.empty = \"\"\n"
        );
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(length_at_the_end_of(&bytes).unwrap(), bytes.len());
        let longer = [b"zeros before".as_slice(), &bytes].concat();
        assert_eq!(length_at_the_end_of(&longer).unwrap(), bytes.len());
        assert!(words(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_the_kernel_could_not_read_is_refused() {
        for name in [
            "",
            "a b",
            "a..b",
            ".a",
            "a.",
            "a[0]",
            "a/b",
            "ä",
            &"a".repeat(249),
        ] {
            assert_eq!(words(&[(name, None)]), Err(Wrong::Name(name.into())));
        }
        for value in ["a\"b", "a\nb", "ä", "\t"] {
            assert_eq!(
                words(&[("a", Some(value))]),
                Err(Wrong::Value(value.into()))
            );
        }
        let long = "x".repeat(LARGEST);
        assert!(matches!(
            words(&[("a", Some(&long))]),
            Err(Wrong::TooLarge(_))
        ));
    }

    #[test]
    fn what_the_kernel_reads_too_early_is_refused() {
        for name in [
            "loglevel",
            "pci",
            "log-buf-len",
            "no-kvmclock",
            "no_kvmclock",
        ] {
            assert_eq!(words(&[(name, Some("1"))]), Err(Wrong::Early(name.into())));
        }
        assert!(words(&[("loglevels", None), ("console", Some("tty0"))]).is_ok());
    }

    #[test]
    fn no_footer_makes_it_panic() {
        let whole = words(&[("a", Some("b"))]).unwrap();
        for end in 0..whole.len() {
            assert_eq!(length_at_the_end_of(&whole[..end]).unwrap(), 0);
            assert!(length_at_the_end_of(&whole[end + 1..]).map_or(true, |length| length == 0));
        }
        let mut damaged = whole.clone();
        damaged[3] ^= 1;
        assert!(length_at_the_end_of(&damaged).is_err());
        let size = whole.len() - NUMBERS - MAGIC.len();
        let mut damaged = whole;
        damaged[size..size + 4].fill(0xff);
        assert!(length_at_the_end_of(&damaged).is_err());
    }
}
