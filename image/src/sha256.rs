//! SHA-256 digests, as sha256sum(1) prints them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Read at a time; larger reads are not faster.
const CHUNK: usize = 256 * 1024;

/// The digest of `bytes` in 64 lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    digits(Sha256::digest(bytes).as_slice())
}

/// The digest of the file at `path`, and its length in bytes.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut length = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((digits(digest.finalize().as_slice()), length)),
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
