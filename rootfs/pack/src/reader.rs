//! Reads a device that may never answer, in a process of its own.
//!
//! A process, not a thread: a read from a dead device cannot be interrupted, and a process whose thread
//! is in one does not end. So the child hangs, and is left behind.
//!
//! Reads are direct (`O_DIRECT`), one behind the other and none larger than asked for: no read-ahead fetches
//! what nobody wants over a slow link, and what was damaged on its way is read anew and not out of memory.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Memory of direct reads begins at a multiple of this: the largest block of a device.
const ALIGNMENT: usize = 4096;
/// What comes back is taken in pieces of at most this.
const PIECE: usize = 64 << 10;

/// Kinds of frames that the child sends: data, the end of a request, or an error number (which is positive).
const DATA: i32 = -1;
const END: i32 = 0;

/// How a device is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Reads begin and end at multiples of this.
    pub(crate) block: u64,
    /// No read is larger, a multiple of `block`.
    pub(crate) chunk: usize,
}

/// What has come.
#[derive(Debug)]
pub(crate) enum Came {
    /// The next bytes.
    Data(Vec<u8>),
    /// All that was asked for, or as much as there is.
    End,
    /// Nothing yet.
    Nothing,
}

/// A device that is open, in the child at least.
#[derive(Debug)]
pub(crate) struct Reader {
    child: Pid,
    stream: UnixStream,
    /// Received, and not taken apart yet.
    incoming: Vec<u8>,
    /// So many bytes of a frame of data are still to come.
    frame: usize,
    /// So many bytes in front were read for the sake of alignment only.
    skip: u64,
    /// So many bytes are wanted.
    left: u64,
    /// A request's end has not come yet ...
    pending: bool,
    /// ... and of so many requests before it, of which nobody wants to know any more.
    stale: u32,
    block: u64,
}

impl Reader {
    /// Opens a device or file. That it cannot be opened is said by the first request.
    pub(crate) fn start(path: &Path, manner: Manner) -> io::Result<Reader> {
        let (ours, theirs) = UnixStream::pair()?;
        // All that the child needs is made before: after fork it must not allocate.
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut buffer = vec![0u8; manner.chunk + ALIGNMENT];
        let shift = buffer.as_ptr().align_offset(ALIGNMENT);
        let buffer = buffer
            .get_mut(shift..shift + manner.chunk)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the child makes system calls and ends by _exit; see `serve`.
        let pid = match unsafe { libc::fork() } {
            0 => {
                serve(&path, theirs.as_raw_fd(), buffer);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) }
            }
            -1 => return Err(io::Error::last_os_error()),
            pid => pid,
        };
        Ok(Reader {
            child: Pid::from_raw(pid).ok_or(io::ErrorKind::Other)?,
            stream: ours,
            incoming: Vec::new(),
            frame: 0,
            skip: 0,
            left: 0,
            pending: false,
            stale: 0,
            block: manner.block,
        })
    }

    /// Asks for bytes; what was asked for before and has not come is forgotten.
    pub(crate) fn ask(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let first = offset / self.block * self.block;
        let end = (offset + length).next_multiple_of(self.block);
        let mut request = [0; 16];
        request[..8].copy_from_slice(&first.to_ne_bytes());
        request[8..].copy_from_slice(&(end - first).to_ne_bytes());
        (self.skip, self.left) = (offset - first, length);
        self.stale += u32::from(std::mem::replace(&mut self.pending, true));
        self.stream.write_all(&request)
    }

    /// Waits so long for what comes next. An error is the device's.
    pub(crate) fn next(&mut self, wait: Duration) -> io::Result<Came> {
        loop {
            if let Some(came) = self.take_apart()? {
                return Ok(came);
            }
            self.stream
                .set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
            let mut piece = [0; PIECE];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::Error::other("its reader ended")),
                Ok(count) => self.incoming.extend_from_slice(&piece[..count]),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) =>
                {
                    return Ok(Came::Nothing);
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// What is complete of that which was received.
    fn take_apart(&mut self) -> io::Result<Option<Came>> {
        loop {
            if self.frame > 0 {
                if self.incoming.is_empty() {
                    return Ok(None);
                }
                let count = self.incoming.len().min(self.frame);
                let mut data: Vec<u8> = self.incoming.drain(..count).collect();
                self.frame -= count;
                if self.stale > 0 {
                    continue;
                }
                let skip = self.skip.min(data.len() as u64);
                data.drain(..skip as usize);
                self.skip -= skip;
                data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= data.len() as u64;
                if data.is_empty() {
                    continue;
                }
                return Ok(Some(Came::Data(data)));
            }
            let Some((head, _)) = self.incoming.split_first_chunk::<8>() else {
                return Ok(None);
            };
            let [a, b, c, d, e, f, g, h] = *head;
            let (kind, length) = (
                i32::from_ne_bytes([a, b, c, d]),
                u32::from_ne_bytes([e, f, g, h]),
            );
            self.incoming.drain(..8);
            match kind {
                DATA => self.frame = length as usize,
                _ if self.stale > 0 => self.stale -= 1,
                END => {
                    self.pending = false;
                    return Ok(Some(Came::End));
                }
                errno => {
                    self.pending = false;
                    return Err(io::Error::from_raw_os_error(errno));
                }
            }
        }
    }

    /// Asks for bytes, and waits for them until `deadline`, or until `stop` says so.
    pub(crate) fn fetch(
        &mut self,
        offset: u64,
        length: u64,
        deadline: Instant,
        stop: fn() -> bool,
    ) -> io::Result<Vec<u8>> {
        self.ask(offset, length)?;
        let mut bytes = Vec::new();
        loop {
            match self.next(Duration::from_millis(200))? {
                Came::Data(data) => bytes.extend_from_slice(&data),
                Came::End if bytes.len() as u64 == length => return Ok(bytes),
                Came::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                Came::Nothing if stop() || Instant::now() > deadline => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Came::Nothing => {}
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // One that hangs ends when its device answers; it is init's then.
        let _ = kill_process(self.child, Signal::KILL);
        for _ in 0..20 {
            match waitpid(Some(self.child), WaitOptions::NOHANG) {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
    }
}

/// The child's part: answers requests until nobody asks any more. No allocation, no locks: other threads
/// of the parent may have held some when it forked.
fn serve(path: &CString, socket: i32, buffer: &mut [u8]) {
    // What the parent holds open (the lock, files that are to be executed) is not this process'.
    // SAFETY: descriptors only; 3 is the socket afterwards, and nothing else is used.
    let mut socket = unsafe {
        // ctrl-C reaches the whole group: its end is what ends this process, and not an error of the device.
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
        if libc::dup2(socket, 3) != 3 {
            return;
        }
        libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0);
        std::mem::ManuallyDrop::new(File::from_raw_fd(3))
    };
    let device = open(path);
    let mut request = [0; 16];
    while socket.read_exact(&mut request).is_ok() {
        let [offset, length] = [&request[..8], &request[8..]].map(|number| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(number);
            u64::from_ne_bytes(bytes)
        });
        let answered = match &device {
            Ok(device) => answer(&mut socket, device, offset, length, buffer),
            Err(errno) => head(&mut socket, *errno, 0),
        };
        if answered.is_none() {
            return;
        }
    }
}

/// Direct where the file system can do that.
fn open(path: &CString) -> Result<OwnedFd, i32> {
    let mut errno = 0;
    for direct in [libc::O_DIRECT, 0] {
        // SAFETY: path ends with a NUL; a descriptor that is no error is ours.
        unsafe {
            let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | direct);
            if fd >= 0 {
                return Ok(OwnedFd::from_raw_fd(fd));
            }
            errno = *libc::__errno_location();
        }
        if errno != libc::EINVAL {
            break;
        }
    }
    Err(errno)
}

fn answer(
    socket: &mut File,
    device: &OwnedFd,
    mut offset: u64,
    mut length: u64,
    buffer: &mut [u8],
) -> Option<()> {
    while length > 0 {
        let count = buffer
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        // SAFETY: the buffer has so many bytes.
        let read = unsafe {
            libc::pread(
                device.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                count,
                offset as libc::off_t,
            )
        };
        let Ok(read) = usize::try_from(read) else {
            // SAFETY: this thread's errno.
            let errno = unsafe { *libc::__errno_location() };
            if errno == libc::EINTR {
                continue;
            }
            return head(socket, errno, 0);
        };
        if read == 0 {
            break;
        }
        head(socket, DATA, read)?;
        socket.write_all(&buffer[..read]).ok()?;
        offset += read as u64;
        length -= (read as u64).min(length);
    }
    head(socket, END, 0)
}

fn head(socket: &mut File, kind: i32, length: usize) -> Option<()> {
    let mut head = [0; 8];
    head[..4].copy_from_slice(&kind.to_ne_bytes());
    head[4..].copy_from_slice(&(length as u32).to_ne_bytes());
    socket.write_all(&head).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: fn() -> bool = || false;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_is_asked_for_comes_whole_wherever_it_begins() {
        let folder = std::env::temp_dir().join(format!("kedge-reader-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("device");
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let manner = Manner {
            block: 4096,
            chunk: 16 << 10,
        };
        let mut reader = Reader::start(&path, manner).unwrap();
        for (offset, length) in [(0, 1), (4095, 2), (100_001, 123_456), (299_999, 1)] {
            let got = reader.fetch(offset, length, soon(), NEVER).unwrap();
            assert_eq!(got, bytes[offset as usize..(offset + length) as usize]);
        }
        // A short file is no file of the wanted length.
        let short = reader.fetch(299_990, 11, soon(), NEVER).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        // Nobody waited for the end of this one.
        reader.ask(0, 200_000).unwrap();
        let again = reader.fetch(5, 5, soon(), NEVER).unwrap();
        assert_eq!(again, bytes[5..10]);
        drop(reader);
        let mut none = Reader::start(&folder.join("none"), manner).unwrap();
        let error = none.fetch(0, 1, soon(), NEVER).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_device_that_never_answers_is_left() {
        // A FIFO that nobody writes to: open(2) waits.
        let path = std::env::temp_dir().join(format!("kedge-fifo-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let manner = Manner {
            block: 512,
            chunk: 4096,
        };
        let mut reader = Reader::start(&path, manner).unwrap();
        let deadline = Instant::now() + Duration::from_millis(300);
        let error = reader.fetch(0, 1, deadline, NEVER).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(matches!(
            reader.next(Duration::from_millis(10)).unwrap(),
            Came::Nothing
        ));
        std::fs::remove_file(&path).unwrap();
    }
}
