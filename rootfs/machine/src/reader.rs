//! Reads of devices that may never answer: each device's in a child process, all bounded together.
//!
//! A process, not a thread: a read from a dead disk cannot be interrupted, and a process whose
//! thread is in one does not end.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Pieces of one device or partition that are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// The device's node.
    pub(crate) path: PathBuf,
    /// Offset and length in bytes of each piece.
    pub(crate) pieces: Vec<(u64, usize)>,
}

/// What was read of a wish: the pieces' offsets and bytes, short or missing where reading failed.
pub(crate) type Pieces = Vec<(u64, Vec<u8>)>;

/// A device's answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One entry a wish.
    Read(Vec<Pieces>),
    /// It did not come in time.
    NoAnswer,
}

/// The longest piece.
const LONGEST: usize = 16 << 10;

/// Reads what is wished of several devices at once. Inner lists are wishes that share a device:
/// when one hangs, those after it would too.
pub(crate) fn read_all(devices: &[Vec<Wish>], longest: Duration) -> Vec<Answer> {
    let deadline = Instant::now() + longest;
    let mut readers: Vec<Option<Reader>> =
        devices.iter().map(|wishes| Reader::start(wishes)).collect();
    loop {
        let open: Vec<&mut Reader> = readers.iter_mut().flatten().filter(|r| !r.done).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            break;
        }
        let mut fds: Vec<PollFd<'_>> = open
            .iter()
            .map(|reader| PollFd::from_borrowed_fd(reader.pipe.as_fd(), PollFlags::IN))
            .collect();
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        if poll(&mut fds, Some(&timeout)).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (reader, ready) in open.into_iter().zip(ready) {
            if ready {
                reader.take();
            }
        }
    }
    readers
        .into_iter()
        .zip(devices)
        .map(|(reader, wishes)| match reader {
            Some(reader) if reader.done => Answer::Read(reader.answer(wishes)),
            _ => Answer::NoAnswer,
        })
        .collect()
}

#[derive(Debug)]
struct Reader {
    child: Pid,
    pipe: File,
    received: Vec<u8>,
    done: bool,
}

impl Reader {
    fn start(wishes: &[Wish]) -> Option<Reader> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        // All that the child needs is made before: after fork it must not allocate.
        let mut prepared = Vec::new();
        for wish in wishes {
            let path = CString::new(wish.path.as_os_str().as_bytes()).ok()?;
            prepared.push((path, wish.pieces.as_slice()));
        }
        let mut buffer = vec![0u8; 8 + LONGEST];
        // SAFETY: the child makes system calls and ends by _exit; see `serve`.
        match unsafe { libc::fork() } {
            0 => {
                serve(&prepared, &write, &mut buffer);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) }
            }
            pid => Some(Reader {
                child: Pid::from_raw(pid).filter(|_| pid > 0)?,
                pipe: File::from(read),
                received: Vec::new(),
                done: false,
            }),
        }
    }

    fn take(&mut self) {
        let mut buffer = [0u8; 8192];
        match self.pipe.read(&mut buffer) {
            Ok(length) if length > 0 => self.received.extend_from_slice(&buffer[..length]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            _ => self.done = true,
        }
    }

    /// Takes apart what the child sent: a length of 8 bytes and as many bytes, once a piece.
    fn answer(&self, wishes: &[Wish]) -> Vec<Pieces> {
        let mut rest = self.received.as_slice();
        let mut piece = || -> Vec<u8> {
            let Some((length, after)) = rest.split_first_chunk::<8>() else {
                return Vec::new();
            };
            let length = usize::try_from(u64::from_ne_bytes(*length)).unwrap_or(0);
            let Some((bytes, after)) = after.split_at_checked(length) else {
                return Vec::new();
            };
            rest = after;
            bytes.to_vec()
        };
        wishes
            .iter()
            .map(|wish| {
                wish.pieces
                    .iter()
                    .map(|&(offset, _)| (offset, piece()))
                    .collect()
            })
            .collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.done {
            let _ = kill_process(self.child, Signal::KILL);
        } else if let Ok(Some(_)) = waitpid(Some(self.child), WaitOptions::empty()) {
            return;
        }
        // One that hangs cannot be waited for: it is reaped by process 1 when it ends.
        let _ = waitpid(Some(self.child), WaitOptions::NOHANG);
    }
}

/// The child's part. Only system calls: no allocation, no locks, for the parent may have threads.
fn serve(wishes: &[(CString, &[(u64, usize)])], pipe: &OwnedFd, buffer: &mut [u8]) {
    for (path, pieces) in wishes {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: the path ends in a zero byte.
        let fd = unsafe { libc::open(path.as_ptr(), flags) };
        let device = if fd >= 0 {
            // A superblock is one block: no read-ahead, which a failing disk pays for in seconds.
            // SAFETY: no memory is passed; then: open just gave us the descriptor.
            unsafe {
                libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_RANDOM);
                Some(OwnedFd::from_raw_fd(fd))
            }
        } else {
            None
        };
        for &(offset, length) in *pieces {
            let length = length.min(buffer.len() - 8);
            let into = &mut buffer[8..8 + length];
            let read = match &device {
                // SAFETY: `into` is as long as it says.
                Some(device) => unsafe {
                    libc::pread(
                        device.as_raw_fd(),
                        into.as_mut_ptr().cast(),
                        length,
                        offset.cast_signed(),
                    )
                },
                None => 0,
            };
            let read = usize::try_from(read).unwrap_or(0);
            buffer[..8].copy_from_slice(&(read as u64).to_ne_bytes());
            if !write_all(pipe, &buffer[..8 + read]) {
                return;
            }
        }
    }
}

fn write_all(pipe: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(pipe, bytes) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(path: &std::path::Path, pieces: &[(u64, usize)]) -> Wish {
        Wish {
            path: path.to_path_buf(),
            pieces: pieces.to_vec(),
        }
    }

    #[test]
    fn pieces_come_back_in_order_and_short_where_the_device_ends() {
        let path = std::env::temp_dir().join(format!("kedge-reader-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let wishes = vec![
            wish(&path, &[(2, 3), (8, 10), (100, 4)]),
            wish("/nonexistent".as_ref(), &[(0, 1)]),
        ];
        let answers = read_all(&[wishes], Duration::from_secs(10));
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            answers,
            [Answer::Read(vec![
                vec![(2, b"234".to_vec()), (8, b"89".to_vec()), (100, vec![])],
                vec![(0, vec![])],
            ])]
        );
    }

    #[test]
    fn a_device_that_hangs_does_not_keep_the_others() {
        // Opening a FIFO that nobody writes to never returns.
        let fifo = std::env::temp_dir().join(format!("kedge-fifo-{}", std::process::id()));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let began = Instant::now();
        let answers = read_all(
            &[
                vec![wish(&fifo, &[(0, 4096)])],
                vec![wish("/dev/zero".as_ref(), &[(0, 4)])],
            ],
            Duration::from_millis(500),
        );
        std::fs::remove_file(fifo).unwrap();
        assert_eq!(answers[0], Answer::NoAnswer);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(answers[1], Answer::Read(vec![vec![(0, vec![0; 4])]]));
    }
}
