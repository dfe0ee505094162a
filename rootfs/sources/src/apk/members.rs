//! The gzip members of an .apk: signature, control, content; each has a digest of its own.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use flate2::bufread::GzDecoder;
use kedge_digest::{Algorithm, Digest, Hasher};

/// What a control part and a signature unpack to at most.
const MOST_CONTROL: u64 = 64 << 20;

/// How long the first gzip member of `bytes` is.
pub(super) fn first_member(bytes: &[u8]) -> Result<usize, String> {
    let mut decoder = GzDecoder::new(bytes);
    let unpacked = io::copy(&mut (&mut decoder).take(MOST_CONTROL), &mut io::sink());
    unpacked.map_err(|error| format!("it is no gzip file: {error}"))?;
    // The decoder stands behind the member only when it saw its end.
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(bytes.len() - decoder.into_inner().len()),
        _ => Err("its first part is longer than makes sense".into()),
    }
}

/// Whether the control part of the package `file` has the digest `control`, and its content the one that it names. Where the
/// control part begins: of what stands in front of it, nothing is proven.
pub(crate) fn check(file: &mut (impl Read + Seek), control: Digest) -> Result<u64, String> {
    let broken = |error: io::Error| format!("it cannot be taken apart: {error}");
    file.seek(SeekFrom::Start(0)).map_err(broken)?;
    let mut from = Measured {
        from: BufReader::with_capacity(64 << 10, file),
        hasher: Hasher::new(control.algorithm()),
        consumed: 0,
    };
    // The signature, if there is one, and the control part.
    let mut in_front = Ok(());
    for _ in 0..2 {
        from.hasher = Hasher::new(control.algorithm());
        let begins = from.consumed;
        let member = member(&mut from).map_err(broken)?;
        let is = from.hasher.clone().finish();
        if is != control {
            in_front = only_signatures(&member);
            continue;
        }
        in_front?;
        let named = data_hash(&member).ok_or("its control part names no digest of its content")?;
        from.hasher = Hasher::new(Algorithm::Sha256);
        io::copy(&mut from, &mut io::sink()).map_err(broken)?;
        let is = from.hasher.finish();
        return if is == named {
            Ok(begins)
        } else {
            Err(format!("its content is {is}, not {named}"))
        };
    }
    Err(format!("its control part is not {control}"))
}

/// One member, unpacked.
fn member(from: &mut Measured<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut decoder = GzDecoder::new(from);
    (&mut decoder).take(MOST_CONTROL).read_to_end(&mut bytes)?;
    if decoder.read(&mut [0])? != 0 {
        return Err(io::Error::other("a part of it is longer than makes sense"));
    }
    Ok(bytes)
}

/// Whether the part in front of the control part is what apk makes: nobody else puts files there.
fn only_signatures(part: &[u8]) -> Result<(), String> {
    let mut from = part;
    let mut other = None;
    kedge_archive::archive(&mut from, &mut |member, _| {
        let name = member.path.to_string_lossy();
        if name.starts_with(".SIGN.") {
            return Ok(ControlFlow::Continue(()));
        }
        other = Some(crate::words::shown(&name));
        Ok(ControlFlow::Break(()))
    })
    .map_err(|error| format!("in front of its control part is no signature: {error}"))?;
    match other {
        Some(name) => Err(format!(
            "{name} in front of its control part is no signature"
        )),
        None => Ok(()),
    }
}

/// What `.PKGINFO` says of the content.
fn data_hash(control: &[u8]) -> Option<Digest> {
    let mut found = None;
    let mut from = control;
    let _ = kedge_archive::archive(&mut from, &mut |member, content| {
        if member.path.as_os_str() != ".PKGINFO" {
            return Ok(ControlFlow::Continue(()));
        }
        let mut text = String::new();
        content.take(MOST_CONTROL).read_to_string(&mut text)?;
        found = text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            let value = (key.trim() == "datahash").then_some(value.trim())?;
            Digest::from_hex(Algorithm::Sha256, value)
        });
        Ok(ControlFlow::Break(()))
    });
    found
}

/// That nothing in front of a good package is believed with it, be it these bytes or a part of them.
pub(super) fn fuzz(front: &[u8]) {
    let part = |bytes: &[u8]| {
        let mut packed = flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast());
        let mut part = Vec::new();
        packed.read_to_end(&mut part).map(|_| part)
    };
    let digest = |algorithm, bytes: &[u8]| {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    };
    // A header of tar's, and a line that is all of .PKGINFO.
    let content = part(b"content").unwrap_or_default();
    let hash = digest(Algorithm::Sha256, &content).to_string();
    let hash = hash.trim_start_matches("sha256:");
    let mut info = vec![0; 512];
    info[..8].copy_from_slice(b".PKGINFO");
    info[124..135].copy_from_slice(format!("{:011o}", 11 + hash.len()).as_bytes());
    info[148..156].fill(b' ');
    let sum: u32 = info.iter().map(|&b| u32::from(b)).sum();
    info[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    info.extend(format!("datahash = {hash}").as_bytes());
    info.resize(1024, 0);
    let control = part(&info).unwrap_or_default();
    let named = digest(Algorithm::Sha1, &control);
    let proven = [control, content].concat();
    for front in [front.to_vec(), part(front).unwrap_or_default(), Vec::new()] {
        let file = [&front[..], &proven].concat();
        let begins = check(&mut io::Cursor::new(&file), named);
        match begins.map(usize::try_from) {
            Ok(Ok(begins)) => assert_eq!(&file[begins..], &proven[..]),
            other => assert!(!front.is_empty(), "{other:?}"),
        }
    }
}

/// Hashes what is consumed, and not what is only looked at.
struct Measured<R> {
    from: BufReader<R>,
    hasher: Hasher,
    /// How many bytes.
    consumed: u64,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.consumed += count as u64;
        Ok(count)
    }
}

impl<R: Read> BufRead for Measured<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let used = &self.from.buffer()[..count];
        self.hasher.update(used);
        self.consumed += count as u64;
        self.from.consume(count);
    }
}
