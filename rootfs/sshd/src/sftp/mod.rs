//! The SFTP server: version 3 (draft-ietf-secsh-filexfer-02), which is what OpenSSH speaks, with
//! OpenSSH's extensions, on standard input and output.
//!
//! Names are bytes, as the kernel has them. One request is done after the other; a client has many
//! under way at once, so the answers of a fast disk keep the line full.

mod attributes;
pub(crate) mod files;
mod requests;

use std::io::{self, Read, Write};

use files::Files;
use kedge_ssh_wire::{Malformed, Put, Reader};

/// The longest message that is taken, and the most that one read or write may carry: OpenSSH's
/// numbers, told by `limits@openssh.com`.
const LONGEST: u32 = 256 * 1024;
const LONGEST_DATA: u32 = LONGEST - 1024;

/// Types of messages.
pub(crate) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RMDIR: u8 = 15;
    pub(crate) const REALPATH: u8 = 16;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

/// What is done beyond version 3, and in which version.
const EXTENSIONS: [(&str, &str); 9] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
];

/// Why a request was not done: a status of the protocol, and a sentence.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u32,
    text: String,
}

/// Status codes.
const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const OP_UNSUPPORTED: u32 = 8;

impl Failure {
    fn new(code: u32, text: &str) -> Self {
        Self {
            code,
            text: text.to_string(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        let code = match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NO_SUCH_FILE,
            io::ErrorKind::PermissionDenied => PERMISSION_DENIED,
            io::ErrorKind::UnexpectedEof => EOF,
            _ => FAILURE,
        };
        Self {
            code,
            text: e.to_string(),
        }
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(e: rustix::io::Errno) -> Self {
        io::Error::from(e).into()
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::new(BAD_MESSAGE, "the request is malformed")
    }
}

/// Serves standard input and output until the client has no more to say.
pub(crate) fn serve() -> io::Result<()> {
    // Files are made as the client says.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let input = std::fs::File::from(rustix::io::dup(rustix::stdio::stdin())?);
    let output = std::fs::File::from(rustix::io::dup(rustix::stdio::stdout())?);
    run(input, output)
}

/// The server, on any two streams.
pub(crate) fn run(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut files = Files::default();
    let mut buffer = vec![0; 2 * LONGEST as usize];
    let (mut start, mut end) = (0, 0);
    let mut answer = Vec::new();
    loop {
        while let Some(header) = buffer[start..end].first_chunk::<4>() {
            let length = u32::from_be_bytes(*header);
            if length == 0 || length > LONGEST {
                return Err(io::Error::other("a message has an impossible length"));
            }
            let whole = 4 + length as usize;
            if end - start < whole {
                break;
            }
            answer.clear();
            answer.put_u32(0);
            respond(&buffer[start + 4..start + whole], &mut files, &mut answer);
            let length = crate::protocol::number(answer.len() - 4);
            answer[..4].copy_from_slice(&length.to_be_bytes());
            output.write_all(&answer)?;
            start += whole;
        }
        if start == end {
            (start, end) = (0, 0);
        } else if buffer.len() - start < LONGEST as usize + 4 {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
        match input.read(&mut buffer[end..]) {
            Ok(0) => return Ok(()),
            Ok(count) => end += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Puts the answer to one request behind the length in `answer`.
pub(crate) fn respond(request: &[u8], files: &mut Files, answer: &mut Vec<u8>) {
    let mut reader = Reader::new(request);
    let kind = reader.byte().unwrap_or_default();
    if kind == kind::INIT {
        answer.put_byte(kind::VERSION);
        answer.put_u32(3);
        for (name, version) in EXTENSIONS {
            answer.put_string(name.as_bytes());
            answer.put_string(version.as_bytes());
        }
        return;
    }
    let id = reader.u32().unwrap_or_default();
    let start = answer.len();
    if let Err(failure) = requests::answer(kind, id, reader, files, answer) {
        answer.truncate(start);
        status(answer, id, failure.code, &failure.text);
    }
}

fn status(answer: &mut Vec<u8>, id: u32, code: u32, text: &str) {
    answer.put_byte(kind::STATUS);
    answer.put_u32(id);
    answer.put_u32(code);
    answer.put_string(text.as_bytes());
    answer.put_string(b"");
}

#[cfg(test)]
mod tests;
