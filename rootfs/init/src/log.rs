//! `/var/log/messages`: the kernel's log, init's own messages in it, kept in a file.
//!
//! The kernel's buffer is a ring that a talkative driver of a dying disk overwrites within
//! minutes. The file is bounded too: when it is full it becomes `messages.1`, and the one before
//! is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kedge_message::warning;

/// Bytes of one file at most, and at least; between them a 64th of the memory.
const LARGEST: u64 = 4 << 20;
const SMALLEST: u64 = 256 << 10;

/// Records taken before other work has its turn.
const AT_ONCE: usize = 200;

/// Copies records from `/dev/kmsg` to the file.
#[derive(Debug)]
pub(crate) struct Log {
    kmsg: File,
    file: LogFile,
    /// Microseconds since boot of the newest record that the file already held.
    seen: u64,
}

impl Log {
    /// Starts where the file ends: at the first record after the last one in it.
    pub(crate) fn open(path: &Path) -> io::Result<Log> {
        let kmsg = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open("/dev/kmsg")?;
        let memory = rustix::system::sysinfo();
        let memory = (memory.totalram as u64).saturating_mul(memory.mem_unit.into());
        let file = LogFile::open(path, (memory / 64).clamp(SMALLEST, LARGEST))?;
        let seen = newest(path).unwrap_or(0);
        Ok(Log { kmsg, file, seen })
    }

    /// Copies what there is, without waiting. `false` when the log has to be given up.
    pub(crate) fn copy(&mut self) -> bool {
        // The kernel gives one whole record a read, at most 8 KiB (CONSOLE_EXT_LOG_MAX).
        let mut record = [0u8; 8192];
        let mut lines = Vec::new();
        let mut fine = true;
        for _ in 0..AT_ONCE {
            match self.kmsg.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    if let Some((time, line)) = line(&record[..length])
                        && (self.seen == 0 || time > self.seen)
                    {
                        lines.extend_from_slice(&line);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read: go on with the oldest.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
                    lines.extend_from_slice(b"[records lost]\n");
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    warning!("cannot read the kernel's log: {e}; it is no longer copied");
                    fine = false;
                    break;
                }
            }
        }
        // A full memory is told by everything else; the log must not add to it.
        let _ = self.file.append(&lines);
        fine
    }
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kmsg.as_fd()
    }
}

/// One record of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg: `prio,seq,usec,flags;text`, then
/// indented `KEY=value` lines) as its time and the line that dmesg shows.
fn line(record: &[u8]) -> Option<(u64, Vec<u8>)> {
    let semicolon = record.iter().position(|&b| b == b';')?;
    let (header, text) = (&record[..semicolon], &record[semicolon + 1..]);
    let text = text.split(|&b| b == b'\n').next()?;
    let header = std::str::from_utf8(header).ok()?;
    let time: u64 = header.split(',').nth(2)?.parse().ok()?;
    let mut line = format!("[{:5}.{:06}] ", time / 1_000_000, time % 1_000_000).into_bytes();
    line.extend_from_slice(text);
    line.push(b'\n');
    Some((time, line))
}

/// The time of the last line in a log file that has one.
fn newest(path: &Path) -> Option<u64> {
    const TAIL: u64 = 16 << 10;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    tail.split(|&b| b == b'\n').rev().find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let (seconds, micros) = line.strip_prefix('[')?.split_once(']')?.0.split_once('.')?;
        let seconds: u64 = seconds.trim().parse().ok()?;
        Some(seconds * 1_000_000 + micros.parse::<u64>().ok()?)
    })
}

/// A file that is replaced when it is full.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
}

impl LogFile {
    fn open(path: &Path, limit: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(LogFile {
            path: path.to_path_buf(),
            file,
            length,
            limit,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let added = bytes.len() as u64;
        if self.length > 0 && self.length + added > self.limit {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old)?;
            *self = LogFile::open(&self.path, self.limit)?;
        }
        self.file.write_all(bytes)?;
        self.length += added;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_the_line_that_dmesg_shows() {
        let record = b"5,1,1234567,-;kedge: hello; there\n SUBSYSTEM=pci\n DEVICE=+pci:0\n";
        let (time, line) = line(record).unwrap();
        assert_eq!(time, 1_234_567);
        assert_eq!(line, b"[    1.234567] kedge: hello; there\n");
    }

    #[test]
    fn garbage_records_are_left_out() {
        for record in [
            &b""[..],
            b";",
            b"a,b,c;d",
            b"1,2;x",
            b"\xff,\xff,\xff;x",
            b"6,1",
        ] {
            assert_eq!(line(record), None);
        }
    }

    #[test]
    fn the_log_is_bounded_and_a_restart_knows_where_it_was() {
        let path = std::env::temp_dir().join(format!("kedge-init-log-{}", std::process::id()));
        let mut old = path.clone().into_os_string();
        old.push(".1");
        let old = PathBuf::from(old);
        let mut file = LogFile::open(&path, 1000).unwrap();
        for n in 0..100u32 {
            file.append(format!("[   12.{n:06}] line\n").as_bytes())
                .unwrap();
        }
        let size = |p: &Path| std::fs::metadata(p).unwrap().len();
        assert!(size(&path) <= 1000 && size(&old) <= 1000 && size(&old) > 900);
        assert_eq!(newest(&path), Some(12_000_099));
        std::fs::write(&path, "[records lost]\n").unwrap();
        assert_eq!(newest(&path), None);
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(old).unwrap();
    }
}
