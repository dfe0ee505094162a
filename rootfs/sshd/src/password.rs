//! The one-time password: for whoever stands at the console and has no key at hand.
//!
//! What is stored is a salted hash, so that a copy of the file is no password; it dies after one
//! login, half an hour, or more wrong guesses than the limits before login let anybody make in that
//! time, whichever is first. The clock is the one that nobody sets (CLOCK_BOOTTIME): a wrong date
//! neither kills nor prolongs it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::pbkdf2;

use crate::base64;
use crate::protocol::random;

/// How long it is valid.
pub(crate) const VALID: Duration = Duration::from_secs(30 * 60);

/// So many wrong guesses in all, and it is no more. It is not meant to be reached: a small number would
/// let the first scanner that comes by take the password from whoever stands at the console, and 48
/// bits need no help. [`crate::admission`] lets 64 guess at once, and each guess takes a second, so in
/// half an hour there are 115,200: one chance in 2,400,000,000.
const GUESSES: u32 = 120_000;

/// Makes one guess take some milliseconds, and no more: guesses are counted, not only slow.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(20_000).unwrap();

/// Words of four letters, consonant and vowel in turn: 16 * 4 * 16 * 4 of them are 12 bits each, and
/// they can be read out over a telephone. Letters that look like digits are left out.
const CONSONANTS: &[u8; 16] = b"bdfghjkmnprstvwz";
const VOWELS: &[u8; 4] = b"aeiu";
const WORDS: usize = 4;

/// Four words: 48 bits.
pub(crate) fn make() -> io::Result<String> {
    let mut bits = [0; 8];
    random(&mut bits[2..])?;
    let mut bits = u64::from_be_bytes(bits);
    let mut take = |letters: &[u8]| {
        let count = letters.len() as u64;
        let letter = letters[(bits % count) as usize];
        bits /= count;
        char::from(letter)
    };
    let words: Vec<String> = (0..WORDS)
        .map(|_| {
            [CONSONANTS as &[u8], VOWELS, CONSONANTS, VOWELS]
                .map(&mut take)
                .iter()
                .collect()
        })
        .collect();
    Ok(words.join("-"))
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Store(PathBuf);

/// What is kept.
struct Kept {
    salt: Vec<u8>,
    hash: Vec<u8>,
    /// Seconds since boot.
    until: u64,
    guesses: u32,
}

impl Store {
    /// In the folder of run files.
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("password"))
    }

    /// Puts `password` in place of any other.
    pub(crate) fn set(&self, password: &str) -> io::Result<()> {
        let mut salt = vec![0; 16];
        random(&mut salt)?;
        let kept = Kept {
            hash: hash(&salt, password),
            salt,
            until: now() + VALID.as_secs(),
            guesses: GUESSES,
        };
        if let Some(folder) = self.0.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)?;
        }
        let new = self.0.with_extension(format!("new{}", std::process::id()));
        let _ = fs::remove_file(&new);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?
            .write_all(kept.text().as_bytes())?;
        fs::rename(&new, &self.0)
    }

    /// Whether there is one that is valid.
    pub(crate) fn exists(&self) -> bool {
        fs::read_to_string(&self.0)
            .ok()
            .and_then(|text| Kept::parse(&text))
            .is_some_and(|kept| kept.valid())
    }

    /// How long it is valid yet.
    pub(crate) fn left(&self) -> Option<Duration> {
        let kept = Kept::parse(&fs::read_to_string(&self.0).ok()?)?;
        kept.valid()
            .then(|| Duration::from_secs(kept.until.saturating_sub(now())))
    }

    /// Takes it away.
    pub(crate) fn revoke(&self) -> io::Result<bool> {
        match fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether `guess` is right, in which case it was so for the last time.
    pub(crate) fn consume(&self, guess: &str) -> bool {
        self.try_consume(guess).unwrap_or(false)
    }

    fn try_consume(&self, guess: &str) -> io::Result<bool> {
        self.claim(self.open()?, guess)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.0)
    }

    fn claim(&self, mut file: File, guess: &str) -> io::Result<bool> {
        // Two logins at once must not both be the one.
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        // It may have been taken away, or another put in its place, since it was opened.
        if !is_at(&file, &self.0) {
            return Ok(false);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // Whoever was first has emptied it.
        let Some(mut kept) = Kept::parse(&text).filter(Kept::valid) else {
            return Ok(false);
        };
        let right = pbkdf2::verify(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ITERATIONS,
            &kept.salt,
            plain(guess).as_bytes(),
            &kept.hash,
        )
        .is_ok();
        kept.guesses -= 1;
        if right || kept.guesses == 0 {
            file.set_len(0)?;
            fs::remove_file(&self.0)?;
        } else {
            rewrite(&mut file, &kept.text())?;
        }
        Ok(right)
    }
}

/// Whether this open file is the one that the path names now.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn rewrite(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

impl Kept {
    fn text(&self) -> String {
        format!(
            "{} {} {} {}\n",
            base64::encode(&self.salt),
            base64::encode(&self.hash),
            self.until,
            self.guesses
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        Some(Self {
            salt: base64::decode(words.next()?.as_bytes())?,
            hash: base64::decode(words.next()?.as_bytes())?,
            until: words.next()?.parse().ok()?,
            guesses: words.next()?.parse().ok().filter(|&guesses| guesses > 0)?,
        })
    }

    fn valid(&self) -> bool {
        now() < self.until
    }
}

fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0)
}

fn hash(salt: &[u8], password: &str) -> Vec<u8> {
    let mut hash = vec![0; 32];
    let password = plain(password);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ITERATIONS,
        salt,
        password.as_bytes(),
        &mut hash,
    );
    hash
}

/// Only the letters count: `Bafo kilu` is `bafo-kilu`.
fn plain(password: &str) -> String {
    let letters = password.chars().filter(|c| !matches!(c, '-' | ' '));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str) -> Store {
        let name = format!("kedge-password-{name}-{}", std::process::id());
        Store::new(&std::env::temp_dir().join(name))
    }

    #[test]
    fn it_is_made_of_four_words_with_48_bits() {
        assert_eq!(CONSONANTS.len() * VOWELS.len(), 64);
        let password = make().unwrap();
        let words: Vec<&str> = password.split('-').collect();
        assert_eq!(words.len(), WORDS);
        assert!(words.iter().all(|word| word.len() == 4));
        assert_ne!(password, make().unwrap());
    }

    #[test]
    fn it_works_once() {
        let store = store("once");
        assert!(!store.exists() && !store.consume("x"));
        store.set("bafe-kidu").unwrap();
        assert!(store.exists());
        assert!(!store.consume("bafe-kida"));
        assert!(store.consume(" BAFE kidu"));
        assert!(!store.consume("bafe-kidu"));
        assert!(!store.exists());
        fs::remove_dir_all(store.0.parent().unwrap()).unwrap();
    }

    /// Anybody in the network may guess; who stands at the console shall get in all the same.
    #[test]
    fn no_number_of_guesses_that_can_be_made_in_its_time_takes_it_away() {
        let at_once = u32::try_from(crate::admission::MOST).unwrap();
        let seconds = u32::try_from(VALID.as_secs()).unwrap();
        let one_takes = u32::try_from(crate::protocol::authentication::DELAY.as_secs()).unwrap();
        assert!(GUESSES >= at_once * seconds / one_takes);
        let store = store("scanned");
        store.set("right").unwrap();
        for _ in 0..100 {
            assert!(!store.consume("wrong"));
        }
        assert!(store.consume("right"));
        fs::remove_dir_all(store.0.parent().unwrap()).unwrap();
    }

    #[test]
    fn of_many_who_know_it_at_once_one_gets_in() {
        let store = store("race");
        for _ in 0..5 {
            store.set("right").unwrap();
            let start = std::sync::Barrier::new(8);
            let inside = std::thread::scope(|scope| {
                let logins: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            store.consume("right")
                        })
                    })
                    .collect();
                let results = logins.into_iter().map(|login| login.join().unwrap());
                results.filter(|&inside| inside).count()
            });
            assert_eq!(inside, 1);
        }
        fs::remove_dir_all(store.0.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_revoked_password_does_not_work_even_for_whoever_has_opened_its_file() {
        let store = store("revoked");
        for replaced in [false, true] {
            store.set("old").unwrap();
            let file = store.open().unwrap();
            if replaced {
                store.set("new").unwrap();
            } else {
                store.revoke().unwrap();
            }
            assert!(!store.claim(file, "old").unwrap());
            assert_eq!(store.exists(), replaced);
            assert_eq!(store.consume("new"), replaced);
        }
        fs::remove_dir_all(store.0.parent().unwrap()).unwrap();
    }

    #[test]
    fn it_dies_of_guesses_and_of_age() {
        let store = store("dies");
        let with = |change: fn(&mut Kept)| {
            store.set("right").unwrap();
            let mut kept = Kept::parse(&fs::read_to_string(&store.0).unwrap()).unwrap();
            change(&mut kept);
            fs::write(&store.0, kept.text()).unwrap();
        };
        with(|kept| kept.guesses = 2);
        assert!(!store.consume("wrong") && store.exists());
        assert!(!store.consume("wrong") && !store.exists());
        assert!(!store.consume("right"));
        with(|kept| kept.until = now());
        assert!(!store.exists() && !store.consume("right"));
        fs::remove_dir_all(store.0.parent().unwrap()).unwrap();
    }
}
