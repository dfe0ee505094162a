//! A file whose digest is known, read as it comes: hashed on the way, and checked in the end.

use std::io::{self, Read};

use kedge_digest::{Digest, Hasher};
use kedge_progress::{Progress, interrupt};

use crate::proof::{counted, stranger};

/// The file.
pub(crate) struct Tally<'a> {
    from: Box<dyn Read>,
    digest: Digest,
    /// What it must have; where that is not known, the most that it may have.
    size: Option<u64>,
    most: u64,
    hasher: Hasher,
    length: u64,
    begins: Vec<u8>,
    /// Why it could not be read on.
    broken: Option<String>,
    progress: &'a mut Progress,
}

impl<'a> Tally<'a> {
    /// Nothing is read yet.
    pub(crate) fn new(
        from: Box<dyn Read>,
        digest: Digest,
        size: Option<u64>,
        most: u64,
        progress: &'a mut Progress,
    ) -> Tally<'a> {
        progress.begin(size.unwrap_or(0));
        Tally {
            from,
            digest,
            size,
            most: size.unwrap_or(most),
            hasher: Hasher::new(digest.algorithm()),
            length: 0,
            begins: Vec::new(),
            broken: None,
            progress,
        }
    }

    /// Reads what is left, and says whether the whole is what it must be.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        if self.broken.is_none() {
            // An error is kept in `broken`.
            let _ = io::copy(&mut self, &mut io::sink());
        }
        self.progress.clear();
        if let Some(why) = self.broken {
            return Err(why);
        }
        let stranger = stranger(&self.begins);
        if let Some(size) = self.size.filter(|&size| size != self.length) {
            return Err(format!(
                "it has {}, not {size}{stranger}",
                counted(self.length)
            ));
        }
        let is = self.hasher.finish();
        if is != self.digest {
            return Err(format!("it is {is}, not {}{stranger}", self.digest));
        }
        Ok(())
    }

    fn broke(&mut self, why: String) -> io::Error {
        self.broken = Some(why.clone());
        io::Error::other(why)
    }
}

impl Read for Tally<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if interrupt::pressed_already() {
            return Err(self.broke("it was stopped".into()));
        }
        let count = match self.from.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                let sofar = kedge_progress::bytes(self.length);
                return Err(self.broke(format!("after {sofar}: {error}")));
            }
        };
        let bytes = &buffer[..count];
        if self.begins.len() < 256 {
            self.begins.extend_from_slice(&bytes[..count.min(256)]);
        }
        self.length += count as u64;
        if self.length > self.most {
            let most = counted(self.most);
            let stranger = stranger(&self.begins);
            return Err(self.broke(format!("it is longer than {most}{stranger}")));
        }
        self.hasher.update(bytes);
        if self.size.is_some() {
            self.progress.set(self.length);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_digest::Algorithm;

    /// What `finish` says after `part` bytes of `content` were read by somebody else.
    fn finish(content: &'static [u8], size: u64, part: usize) -> Result<(), String> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"abc");
        let mut progress = Progress::new("test");
        let (digest, size) = (hasher.finish(), Some(size));
        let mut tally = Tally::new(Box::new(content), digest, size, 0, &mut progress);
        let _ = tally.read_exact(&mut vec![0; part]);
        tally.finish()
    }

    #[test]
    fn only_the_whole_is_right() {
        for part in 0..4 {
            assert_eq!(finish(b"abc", 3, part), Ok(()));
        }
        for (content, size) in [
            (&b"abd"[..], 3),
            (b"ab", 3),
            (b"ab", 2),
            (b"abcd", 3),
            (b"abcd", 4),
            (b"", 0),
            (b"", 3),
        ] {
            for part in [0, 1, 9] {
                assert!(finish(content, size, part).is_err(), "{content:?}");
            }
        }
    }

    #[test]
    fn an_error_page_is_called_one() {
        let error = finish(b"<html>", 3, 0).unwrap_err();
        assert!(error.contains("captive portal"), "{error}");
    }
}
