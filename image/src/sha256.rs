//! SHA-256 digests, as sha256sum(1) prints them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::Sha256;

/// Read at a time; larger reads are not faster.
const CHUNK: usize = 256 * 1024;

/// A digest in the making.
#[derive(Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.0, bytes);
    }

    /// The digest of all of them, in 64 lower-case hexadecimal digits.
    pub fn hex(self) -> String {
        digits(sha2::Digest::finalize(self.0).as_slice())
    }
}

/// The digest of `bytes` in 64 lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.hex()
}

/// The digest of the file at `path`, and its length in bytes.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut digest = Digest::default();
    let mut chunk = vec![0; CHUNK];
    let mut length = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((digest.hex(), length)),
            count => {
                digest.update(&chunk[..count]);
                length += count as u64;
            }
        }
    }
}

fn digits(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example_has_the_standards_digest() {
        // FIPS 180-2, appendix B.1.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(b"abc"), digest);
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("abc");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(of_file(&file).unwrap(), (digest.to_string(), 3));
    }
}
