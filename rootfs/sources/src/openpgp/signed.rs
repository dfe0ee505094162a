//! What a signature is over: bytes, or a file that is longer than anybody wants to have twice in memory.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// What was signed.
pub(super) enum Signed<'a> {
    Bytes(&'a [u8]),
    File(&'a mut File),
}

impl Signed<'_> {
    /// Gives `then` what is hashed: the data, with line ends of CR LF where it is a text, and the trailer.
    pub(super) fn with(
        &mut self,
        text: bool,
        trailer: &[u8],
        then: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        match self {
            Signed::Bytes(data) => then(&message(data, text, trailer)),
            Signed::File(_) if text => {
                Err("it is one of a text, which is not supported of packages".into())
            }
            Signed::File(file) => {
                let cannot = |error: std::io::Error| format!("cannot check it: {error}");
                let length = file.metadata().map_err(cannot)?.len();
                // ring wants it in one piece: the trailer stands behind the file as long as that takes.
                file.seek(SeekFrom::Start(length)).map_err(cannot)?;
                let written = file.write_all(trailer);
                let whole = usize::try_from(length).ok();
                let whole = whole.and_then(|length| length.checked_add(trailer.len()));
                let checked = match (written, whole) {
                    (Err(error), _) => Err(cannot(error)),
                    (_, None) => Err("it is too long for this machine".into()),
                    (Ok(()), Some(whole)) => mapped(file, whole, then),
                };
                file.set_len(length).map_err(cannot)?;
                checked
            }
        }
    }
}

fn message(data: &[u8], text: bool, trailer: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(data.len() + trailer.len());
    if text {
        let mut before = 0;
        for &byte in data {
            if byte == b'\n' && before != b'\r' {
                message.push(b'\r');
            }
            message.push(byte);
            before = byte;
        }
    } else {
        message.extend_from_slice(data);
    }
    message.extend_from_slice(trailer);
    message
}

/// Gives `then` the first `length` bytes of a file, without copying them: a package in memory is there once.
fn mapped(
    file: &File,
    length: usize,
    then: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    // SAFETY: a new mapping, at an address of the kernel's choice, is nobody else's.
    let mapping = unsafe {
        mmap(
            std::ptr::null_mut(),
            length,
            ProtFlags::READ,
            MapFlags::PRIVATE,
            file,
            0,
        )
    };
    let mapping = mapping.map_err(|errno| format!("cannot map it into memory: {errno}"))?;
    // SAFETY: the kernel mapped that many bytes for reading; the file is the caller's own, borrowed meanwhile, and nobody
    // makes it shorter or writes to it before the mapping goes.
    let bytes = unsafe { std::slice::from_raw_parts(mapping.cast::<u8>(), length) };
    let result = then(bytes);
    // SAFETY: the mapping is ours, and the slice over it is used no more.
    let _ = unsafe { munmap(mapping, length) };
    result
}
