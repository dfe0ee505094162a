//! What has to hold of a package file, and fetching it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kedge_digest::{Digest, Hasher};
use kedge_progress::{Progress, interrupt};

use crate::openpgp::{Detached, Keyring};
use crate::tally::Tally;
use crate::transport::Trouble;
use crate::{Candidate, Error, apk, listed, rpm};

/// The longest package that is fetched when nobody says its length: kernels' debug symbols have 1 GB.
const MOST: u64 = 4 << 30;

/// What has to hold of a package file beside its length. All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    /// The digests of the whole file.
    pub(crate) digests: Vec<Digest>,
    /// A signature of the whole file, by one of these keys (pacman).
    pub(crate) signed: Option<(Arc<Keyring>, Vec<Detached>)>,
    /// A signature in the package, by one of these keys (rpm).
    pub(crate) signed_within: Option<Arc<Keyring>>,
    /// The digest of the control part (apk).
    pub(crate) apk: Option<Digest>,
    /// It is no package, so nothing in it says where it ends.
    pub(crate) is_bare: bool,
    /// What indices that the system fetched before name under its name and version. Whether it is one of these is known once the
    /// whole of it is there, and need not hold: somebody may have built it anew.
    pub(crate) perhaps: Vec<Candidate>,
}

impl Proof {
    /// Whether it says of each byte that it belongs there.
    fn is_of_all(&self) -> bool {
        !self.digests.is_empty() || self.signed.is_some() || self.apk.is_some()
    }

    /// What can be known once the whole is there. What nothing vouches for is no longer in the file then.
    fn check_whole(&self, file: &mut File, now: u64) -> Result<(), String> {
        if let Some((keys, signatures)) = &self.signed {
            keys.verify_file(signatures, file, now)?;
        }
        if let Some(keys) = &self.signed_within {
            rpm::check(file, keys, now)?;
        }
        if let Some(control) = self.apk {
            let begins = apk::check(file, control)?;
            leave_from(file, begins).map_err(|error| format!("cannot keep it: {error}"))?;
        }
        Ok(())
    }
}

/// Leaves of a file only what stands from `begins` on.
fn leave_from(file: &File, begins: u64) -> io::Result<()> {
    if begins == 0 {
        return Ok(());
    }
    let mut buffer = vec![0; 64 << 10];
    let mut to = 0;
    loop {
        let count = file.read_at(&mut buffer, begins + to)?;
        if count == 0 {
            return file.set_len(to);
        }
        file.write_all_at(&buffer[..count], to)?;
        to += count as u64;
    }
}

/// Whether a file on this machine is what its candidate says, as far as digests tell. Signatures are checked when it is fetched.
pub(crate) fn holds(candidate: &Candidate, progress: &mut Progress) -> Result<(), Error> {
    let open = || {
        let opened = candidate.place.open_file();
        opened.map_err(|trouble| trouble.to_string())
    };
    digests_hold(candidate, &open, progress).map_err(|why| Error::Unproven {
        location: candidate.place.shown(),
        why,
    })
}

/// As [`holds`], of what `open` opens.
pub(crate) fn digests_hold(
    candidate: &Candidate,
    open: &dyn Fn() -> Result<File, String>,
    progress: &mut Progress,
) -> Result<(), String> {
    for &digest in &candidate.proof.digests {
        let from = Box::new(open()?);
        Tally::new(from, digest, candidate.size, MOST, progress).finish()?;
    }
    if let Some(control) = candidate.proof.apk {
        let mut file = open()?;
        // What is in front of the control part has no digest, but is counted.
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        if let Some(size) = candidate.size.filter(|&size| size != length) {
            return Err(format!("it has {}, not {size}", counted(length)));
        }
        apk::check(&mut file, control)?;
    }
    Ok(())
}

/// Fetches `candidate` into `to`, and checks it. Of an .apk, the signature in front of what its index names is left out. What only
/// the whole could tell is in `candidate` then.
pub(crate) fn fetch(
    candidate: &mut Candidate,
    to: &mut File,
    room: u64,
    progress: &mut Progress,
) -> Result<(), Error> {
    let place = candidate.place.clone();
    let cannot = |why: String| Error::Fetch {
        location: place.shown(),
        why,
    };
    let unproven = |why: String| Error::Unproven {
        location: place.shown(),
        why,
    };
    let (mut from, announced) = candidate
        .place
        .open_sized()
        .map_err(|trouble| match trouble {
            Trouble::Missing => Error::Missing {
                location: place.shown(),
            },
            other => cannot(other.to_string()),
        })?;
    let write = |error: io::Error| cannot(format!("cannot keep what came: {error}"));
    to.set_len(0).map_err(write)?;
    to.seek(SeekFrom::Start(0)).map_err(write)?;
    let mut hashers: Vec<Hasher> = candidate
        .proof
        .digests
        .iter()
        .map(|digest| Hasher::new(digest.algorithm()))
        .collect();
    progress.go_on(0, candidate.size.or(announced));
    let mut buffer = vec![0; 64 << 10];
    let mut begins = Vec::new();
    let mut length = 0;
    loop {
        if interrupt::pressed_already() {
            progress.clear();
            return Err(cannot("it was stopped".into()));
        }
        let count = from.read(&mut buffer).map_err(|error| {
            let sofar = kedge_progress::bytes(length);
            cannot(format!("after {sofar}: {error}"))
        })?;
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        length += count as u64;
        if begins.len() < 256 {
            begins.extend_from_slice(&bytes[..count.min(256)]);
        }
        if length > candidate.size.unwrap_or(MOST) {
            progress.clear();
            return Err(unproven(format!(
                "it is longer than {}{}",
                counted(candidate.size.unwrap_or(MOST)),
                stranger(&begins)
            )));
        }
        if length > room {
            progress.clear();
            return Err(cannot(format!(
                "it is longer than the {} that there is room for; --scratch FOLDER keeps it on another disk, if it is a \
                 package{}",
                kedge_progress::bytes(room),
                stranger(&begins)
            )));
        }
        hashers.iter_mut().for_each(|hasher| hasher.update(bytes));
        to.write_all(bytes).map_err(write)?;
        progress.set(length);
    }
    progress.clear();
    if let Some(size) = candidate.size.filter(|&size| size != length) {
        return Err(unproven(format!(
            "it has {}, not {size}{}",
            counted(length),
            stranger(&begins)
        )));
    }
    for (hasher, &expected) in hashers.into_iter().zip(&candidate.proof.digests) {
        let is = hasher.finish();
        if is != expected {
            let stranger = stranger(&begins);
            return Err(unproven(format!("it is {is}, not {expected}{stranger}")));
        }
    }
    if !candidate.proof.perhaps.is_empty() {
        let open = || {
            let mut from = to.try_clone()?;
            from.rewind().map(|()| from)
        };
        listed::settle(
            candidate,
            &|| open().map_err(|e: io::Error| e.to_string()),
            progress,
        );
        // Of half of it nothing is known.
        if interrupt::pressed_already() {
            return Err(cannot("it was stopped".into()));
        }
    }
    let whole = candidate.proof.check_whole(to, crate::date::now());
    whole.map_err(|why| unproven(format!("{why}{}", stranger(&begins))))?;
    let is_told = candidate.proof.is_of_all() || candidate.proof.is_bare;
    if candidate.place.is_remote() && !is_told {
        to.seek(SeekFrom::Start(0)).map_err(write)?;
        // Its end is nowhere said but in itself.
        kedge_archive::read(to, &mut |_, _| Ok(ControlFlow::Continue(())))
            .map_err(|error| unproven(format!("{error}{}", stranger(&begins))))?;
    }
    to.seek(SeekFrom::Start(0)).map_err(write)?;
    Ok(())
}

/// "1 byte", "52 bytes".
pub(crate) fn counted(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".into(),
        _ => format!("{bytes} bytes"),
    }
}

/// What a file is that is none of those expected, when its first bytes tell: "; it begins with …".
pub(crate) fn stranger(begins: &[u8]) -> String {
    if begins.is_empty() {
        return "; it is empty".into();
    }
    let text = String::from_utf8_lossy(&begins[..begins.len().min(256)]);
    let line = text.trim_start().lines().next().unwrap_or_default();
    if !line.starts_with('<') {
        return String::new();
    }
    let line: String = line.chars().take(40).collect();
    format!(
        "; it begins with {}: some captive portal or error page",
        crate::words::shown(&line)
    )
}

#[cfg(test)]
mod tests {
    use super::stranger;

    #[test]
    fn an_error_page_is_recognised() {
        let page = b"\r\n<!DOCTYPE html>\n<title>Login</title>";
        assert_eq!(
            stranger(page),
            "; it begins with <!DOCTYPE html>: some captive portal or error page"
        );
        assert_eq!(stranger(b"!<arch>\n"), "");
        assert_eq!(stranger(b""), "; it is empty");
    }
}
