//! The archive in a group: cpio's newc, as the kernel's documentation has it
//! (Documentation/driver-api/early-userspace/buffer-format.rst), unpacked into a folder.
//!
//! Its bytes have the digest that this system was built with; still nothing leaves the folder.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// A header: the magic number and 13 fields of 8 hex digits.
const HEADER: usize = 110;
const MAGIC: &[u8] = b"070701";
const TRAILER: &[u8] = b"TRAILER!!!";
/// The longest name that is taken.
const LONGEST_NAME: u64 = 4096;
/// The longest target of a link.
const LONGEST_TARGET: u64 = 4096;

const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// What was unpacked: a path in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative, without `.` and `..`.
    pub(crate) path: PathBuf,
    /// For a directory its permission bits; otherwise it is a file or link.
    pub(crate) directory: Option<u32>,
}

struct Header {
    inode: u64,
    mode: u32,
    links: u64,
    mtime: i64,
    size: u64,
    device: (u64, u64),
    name: u64,
}

/// Unpacks one archive into `folder`; adds what there is to `entries`.
pub(crate) fn unpack(
    archive: &mut impl Read,
    folder: &Path,
    entries: &mut Vec<Entry>,
) -> io::Result<()> {
    // Further names of a file that was met: (device, inode) to its first path.
    let mut linked: HashMap<(u64, u64, u64), PathBuf> = HashMap::new();
    loop {
        let header = header(archive)?;
        let name = bytes(archive, header.name, LONGEST_NAME)?;
        padding(archive, HEADER as u64 + header.name)?;
        let Some((0, name)) = name.split_last() else {
            return Err(malformed("a name has no end"));
        };
        if name == TRAILER {
            break;
        }
        let path = relative(name)?;
        let here = folder.join(&path);
        let mode = header.mode & 0o7777;
        match header.mode & S_IFMT {
            // The root itself.
            S_IFDIR if path.as_os_str().is_empty() => {}
            _ if path.as_os_str().is_empty() => return Err(malformed("a file has no name")),
            S_IFDIR => {
                folders(folder, &path)?;
                entries.push(Entry {
                    path,
                    directory: Some(mode),
                });
            }
            S_IFREG => {
                folders(folder, path.parent().unwrap_or(Path::new("")))?;
                let (major, minor) = header.device;
                let identity = (major, minor, header.inode);
                match linked.get(&identity).filter(|_| header.links > 1) {
                    Some(first) => fs::hard_link(folder.join(first), &here)?,
                    None => drop(create(&here, mode)?),
                }
                // The last name of a file carries its content (cpio(5)); the earlier ones none.
                if header.size > 0 {
                    let mut file = OpenOptions::new().write(true).open(&here)?;
                    copy(archive, &mut file, header.size)?;
                    file.set_permissions(fs::Permissions::from_mode(mode))?;
                }
                times(&here, header.mtime)?;
                if header.links > 1 {
                    linked.entry(identity).or_insert_with(|| path.clone());
                }
                entries.push(Entry {
                    path,
                    directory: None,
                });
            }
            S_IFLNK => {
                folders(folder, path.parent().unwrap_or(Path::new("")))?;
                let target = bytes(archive, header.size, LONGEST_TARGET)?;
                let target = String::from_utf8(target).map_err(|_| malformed("a link's target"))?;
                symlink(target, &here)?;
                times(&here, header.mtime)?;
                entries.push(Entry {
                    path,
                    directory: None,
                });
            }
            _ => return Err(malformed("something is neither file, folder nor link")),
        }
        padding(archive, header.size)?;
    }
    // The rest is zeros; reading them lets the decoder check its stream to the end.
    io::copy(archive, &mut io::sink())?;
    Ok(())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive: {what}"))
}

fn header(archive: &mut impl Read) -> io::Result<Header> {
    let mut header = [0; HEADER];
    archive.read_exact(&mut header)?;
    if !header.starts_with(MAGIC) {
        return Err(malformed("no header of newc where one should be"));
    }
    let field = |number: usize| {
        let digits = &header[6 + number * 8..14 + number * 8];
        let digits = std::str::from_utf8(digits).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let field = |number| field(number).ok_or_else(|| malformed("a header's number"));
    Ok(Header {
        inode: field(0)?,
        mode: field(1)? as u32,
        links: field(4)?,
        mtime: field(5)? as i64,
        size: field(6)?,
        device: (field(7)?, field(8)?),
        name: field(11)?,
    })
}

/// A path that stays where it is put.
fn relative(name: &[u8]) -> io::Result<PathBuf> {
    let name = std::str::from_utf8(name).map_err(|_| malformed("a name is no text"))?;
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) if !name.contains('\0') => path.push(part),
            Component::CurDir => {}
            _ => {
                let name = name.escape_debug();
                return Err(malformed(&format!("'{name}' leads out of it")));
            }
        }
    }
    Ok(path)
}

/// Makes the folders of a path; one that is a link there is none.
fn folders(root: &Path, path: &Path) -> io::Result<()> {
    let mut here = root.to_path_buf();
    for part in path {
        here.push(part);
        match fs::symlink_metadata(&here) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(malformed("something is a folder and a file")),
            Err(_) => fs::DirBuilder::new().mode(0o755).create(&here)?,
        }
    }
    Ok(())
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // For its owner only until it is whole; then with its own bits, whatever the umask.
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

fn times(path: &Path, mtime: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn bytes(archive: &mut impl Read, count: u64, most: u64) -> io::Result<Vec<u8>> {
    if count > most {
        return Err(malformed("a name is too long"));
    }
    let mut bytes = vec![0; count as usize];
    archive.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn copy(archive: &mut impl Read, to: &mut impl Write, count: u64) -> io::Result<()> {
    match io::copy(&mut archive.take(count), to)? {
        copied if copied == count => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Headers and contents end at multiples of four.
fn padding(archive: &mut impl Read, length: u64) -> io::Result<()> {
    let count = length.next_multiple_of(4) - length;
    copy(archive, &mut io::sink(), count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("kedge-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("to")).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn gnu_cpio(folder: &Path) -> Vec<u8> {
        let script = "find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet";
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    }

    #[test]
    fn what_gnu_cpio_packed_comes_out_the_same() {
        let scratch = Scratch::new("cpio");
        let from = scratch.0.join("from");
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/a"), b"#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("bin/a"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(from.join("bin/a"), from.join("bin/b")).unwrap();
        fs::write(from.join("bin/empty"), b"").unwrap();
        symlink("../bin/a", from.join("bin/l")).unwrap();
        times(&from.join("bin/a"), 1_000_000_000).unwrap();
        let archive = gnu_cpio(&from);
        let (to, mut entries) = (scratch.0.join("to"), Vec::new());
        unpack(&mut archive.as_slice(), &to, &mut entries).unwrap();
        let meta = fs::metadata(to.join("bin/a")).unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.mtime()),
            (0o4751, 1_000_000_000)
        );
        assert_eq!(fs::read(to.join("bin/a")).unwrap(), b"#!/bin/sh\n");
        assert_eq!(fs::metadata(to.join("bin/b")).unwrap().ino(), meta.ino());
        assert_eq!(
            fs::read_link(to.join("bin/l")).unwrap(),
            Path::new("../bin/a")
        );
        assert_eq!(fs::read(to.join("bin/empty")).unwrap(), b"");
        let paths: Vec<_> = entries.iter().map(|e| e.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["bin", "bin/a", "bin/b", "bin/empty", "bin/l"]);
        for end in 0..archive.len() - 512 {
            fs::remove_dir_all(&to).unwrap();
            fs::create_dir(&to).unwrap();
            let cut = unpack(&mut &archive[..end], &to, &mut Vec::new());
            assert!(cut.is_err() || end > archive.len() - 600, "{end}");
        }
    }

    /// One entry, without the archive's end.
    fn entry(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
        let size = content.len();
        let length = name.len() + 1;
        let mut bytes = format!(
            "07070100000001{mode:08x}000000000000000000000001{:08x}{size:08x}{}{length:08x}{:08x}",
            0,
            "00000000".repeat(4),
            0
        )
        .into_bytes();
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let scratch = Scratch::new("cpio-out");
        let to = scratch.0.join("to");
        let out = scratch.0.to_str().unwrap();
        let absolute = format!("{out}/absolute");
        let unpacked = |mut archive: Vec<u8>| {
            archive.extend(entry("TRAILER!!!", 0, b""));
            unpack(&mut archive.as_slice(), &to, &mut Vec::new())
        };
        for name in ["../up", &absolute, "bin/../../up", "/", ""] {
            let error = unpacked(entry(name, S_IFREG | 0o644, b"x")).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("leads out") || error.contains("no name"),
                "{error}"
            );
        }
        let mut archive = entry("l", S_IFLNK | 0o777, out.as_bytes());
        archive.extend(entry("l/through", S_IFREG | 0o644, b"x"));
        let error = unpacked(archive).unwrap_err();
        assert!(error.to_string().contains("a folder and a file"), "{error}");
        let device = unpacked(entry("d", 0o020_600, b"")).unwrap_err();
        assert!(device.to_string().contains("neither file"), "{device}");
        unpacked(entry("./bin/in", S_IFREG | 0o644, b"x")).unwrap();
        let names: Vec<_> = fs::read_dir(&scratch.0)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["to"]);
    }
}
