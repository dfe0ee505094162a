//! One request, one answer.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, StatVfs};

use super::attributes::{self, Wanted};
use super::files::{Files, Open};
use super::{EOF, FAILURE, Failure, LONGEST, LONGEST_DATA, OK, OP_UNSUPPORTED, kind, status};
use kedge_ssh_wire::{Put, Reader};

/// Flags of OPEN.
const READ: u32 = 1;
const WRITE: u32 = 2;
const APPEND: u32 = 4;
const CREATE: u32 = 8;
const TRUNCATE: u32 = 16;
const EXCLUSIVE: u32 = 32;

/// Entries of a folder in one answer: with the longest names they fit a message.
const ENTRIES: usize = 100;

fn path(bytes: &[u8]) -> &Path {
    // The empty name is the folder that one is in.
    Path::new(OsStr::from_bytes(if bytes.is_empty() {
        b"."
    } else {
        bytes
    }))
}

/// Does what is asked, and puts the answer, or gives why not.
pub(super) fn answer(
    kind: u8,
    id: u32,
    mut reader: Reader<'_>,
    files: &mut Files,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    match kind {
        kind::OPEN => {
            let name = reader.string()?;
            let flags = reader.u32()?;
            let file = open(name, flags, Wanted::read(&mut reader)?)?;
            handle(out, id, files.insert(Open::File(file))?);
        }
        kind::CLOSE => {
            files.remove(reader.string()?)?;
            done(out, id);
        }
        kind::READ => {
            let file = files.file(reader.string()?)?;
            let (offset, length) = (reader.u64()?, reader.u32()?);
            read(out, id, file, offset, length)?;
        }
        kind::WRITE => {
            let file = files.file(reader.string()?)?;
            let (offset, data) = (reader.u64()?, reader.string()?);
            file.write_all_at(data, offset)?;
            done(out, id);
        }
        kind::LSTAT => attrs(out, id, &fs::symlink_metadata(path(reader.string()?))?),
        kind::STAT => attrs(out, id, &fs::metadata(path(reader.string()?))?),
        kind::FSTAT => attrs(out, id, &files.file(reader.string()?)?.metadata()?),
        kind::SETSTAT => {
            let name = reader.string()?;
            Wanted::read(&mut reader)?.apply_at(name, true)?;
            done(out, id);
        }
        kind::FSETSTAT => {
            let file = files.file(reader.string()?)?;
            Wanted::read(&mut reader)?.apply(file)?;
            done(out, id);
        }
        kind::OPENDIR => {
            let path = path(reader.string()?).to_path_buf();
            let entries = fs::read_dir(&path)?;
            handle(out, id, files.insert(Open::Folder { path, entries })?);
        }
        kind::READDIR => match files.get(reader.string()?)? {
            Open::Folder { path, entries } => {
                let mut list = Vec::new();
                for entry in entries.take(ENTRIES) {
                    let name = entry?.file_name();
                    // One that is gone meanwhile is none.
                    if let Ok(metadata) = fs::symlink_metadata(path.join(&name)) {
                        list.push((name.as_bytes().to_vec(), Some(metadata)));
                    } else {
                        list.push((name.as_bytes().to_vec(), None));
                    }
                }
                if list.is_empty() {
                    return Err(Failure::new(EOF, "that was all"));
                }
                names(out, id, &list);
            }
            Open::File(_) => return Err(Failure::new(FAILURE, "that handle is a file's")),
        },
        kind::REMOVE => {
            let name = reader.string()?;
            rustix::fs::unlinkat(CWD, path(name), AtFlags::empty())?;
            done(out, id);
        }
        kind::MKDIR => {
            let name = reader.string()?;
            let wanted = Wanted::read(&mut reader)?;
            let mode = wanted.mode.unwrap_or(0o777);
            fs::DirBuilder::new().mode(mode).create(path(name))?;
            done(out, id);
        }
        kind::RMDIR => {
            fs::remove_dir(path(reader.string()?))?;
            done(out, id);
        }
        kind::REALPATH => {
            let real = real_path(path(reader.string()?))?;
            names(out, id, &[(real.as_os_str().as_bytes().to_vec(), None)]);
        }
        kind::RENAME => {
            rename_new(path(reader.string()?), path(reader.string()?))?;
            done(out, id);
        }
        kind::READLINK => {
            let target = fs::read_link(path(reader.string()?))?;
            names(out, id, &[(target.as_os_str().as_bytes().to_vec(), None)]);
        }
        kind::SYMLINK => {
            // OpenSSH sends the target first, against the draft, and everybody follows OpenSSH.
            let (target, link) = (reader.string()?, reader.string()?);
            std::os::unix::fs::symlink(path(target), path(link))?;
            done(out, id);
        }
        kind::EXTENDED => extended(id, reader, files, out)?,
        _ => return Err(Failure::new(OP_UNSUPPORTED, "no such request")),
    }
    Ok(())
}

fn extended(
    id: u32,
    mut reader: Reader<'_>,
    files: &mut Files,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    match reader.text()? {
        "posix-rename@openssh.com" => {
            fs::rename(path(reader.string()?), path(reader.string()?))?;
            done(out, id);
        }
        "hardlink@openssh.com" => {
            fs::hard_link(path(reader.string()?), path(reader.string()?))?;
            done(out, id);
        }
        "fsync@openssh.com" => {
            files.file(reader.string()?)?.sync_all()?;
            done(out, id);
        }
        "lsetstat@openssh.com" => {
            let name = reader.string()?;
            Wanted::read(&mut reader)?.apply_at(name, false)?;
            done(out, id);
        }
        "statvfs@openssh.com" => {
            statvfs(out, id, &rustix::fs::statvfs(path(reader.string()?))?);
        }
        "fstatvfs@openssh.com" => {
            let file = files.file(reader.string()?)?;
            statvfs(out, id, &rustix::fs::fstatvfs(file)?);
        }
        "limits@openssh.com" => {
            out.put_byte(kind::EXTENDED_REPLY);
            out.put_u32(id);
            // The longest message, the longest read and write, and how many may be open: we do not
            // say.
            for limit in [LONGEST, LONGEST_DATA, LONGEST_DATA, 0] {
                out.put_u64(limit.into());
            }
        }
        "expand-path@openssh.com" => {
            let name = reader.string()?;
            let home = std::env::home_dir().unwrap_or_else(|| "/".into());
            let expanded = match name {
                b"~" => home,
                [b'~', b'/', rest @ ..] => home.join(path(rest)),
                [b'~', ..] => return Err(Failure::new(FAILURE, "root is the only user")),
                _ => path(name).to_path_buf(),
            };
            let real = real_path(&expanded)?;
            names(out, id, &[(real.as_os_str().as_bytes().to_vec(), None)]);
        }
        "copy-data" => {
            copy_data(&mut reader, files)?;
            done(out, id);
        }
        _ => return Err(Failure::new(OP_UNSUPPORTED, "no such extension")),
    }
    Ok(())
}

/// draft-ietf-secsh-filexfer-extensions-00, section 7: bytes that need not cross the network twice.
fn copy_data(reader: &mut Reader<'_>, files: &mut Files) -> Result<(), Failure> {
    let from = reader.string()?;
    let (mut offset, length) = (reader.u64()?, reader.u64()?);
    let to = reader.string()?;
    let mut place = reader.u64()?;
    let from = files.file(from)?.try_clone()?;
    let to = files.file(to)?.try_clone()?;
    // By whatever handle: reading what is written would never come to an end.
    let (read, written) = (from.metadata()?, to.metadata()?);
    if (read.dev(), read.ino()) == (written.dev(), written.ino()) {
        return Err(Failure::new(FAILURE, "a file cannot be copied into itself"));
    }
    // No length is all there is.
    let mut left = if length == 0 { u64::MAX } else { length };
    let mut buffer = vec![0; LONGEST as usize];
    while left > 0 {
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = from.read_at(&mut buffer[..most], offset)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&buffer[..count], place)?;
        let count = count as u64;
        (offset, place, left) = (offset + count, place + count, left - count);
    }
    Ok(())
}

fn open(name: &[u8], flags: u32, wanted: Wanted) -> Result<File, Failure> {
    let mut how = OFlags::CLOEXEC | OFlags::NOCTTY;
    how |= match (flags & READ != 0, flags & (WRITE | APPEND) != 0) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    for (flag, one) in [
        (APPEND, OFlags::APPEND),
        (CREATE, OFlags::CREATE),
        (TRUNCATE, OFlags::TRUNC),
        (EXCLUSIVE, OFlags::EXCL),
    ] {
        if flags & flag != 0 {
            how |= one;
        }
    }
    let mode = Mode::from_raw_mode(wanted.mode.unwrap_or(0o666));
    let file = File::from(rustix::fs::open(path(name), how, mode)?);
    if file.metadata()?.is_dir() {
        return Err(Failure::new(FAILURE, "that is a folder"));
    }
    Ok(file)
}

fn read(out: &mut Vec<u8>, id: u32, file: &File, offset: u64, length: u32) -> Result<(), Failure> {
    let length = length.min(LONGEST_DATA);
    out.put_byte(kind::DATA);
    out.put_u32(id);
    out.put_u32(0);
    let start = out.len();
    out.resize(start + length as usize, 0);
    let count = match file.read_at(&mut out[start..], offset) {
        // Pipes and terminals have no offsets.
        Err(e) if e.kind() == ErrorKind::NotSeekable => {
            io::Read::read(&mut &*file, &mut out[start..])?
        }
        result => result?,
    };
    if count == 0 && length > 0 {
        return Err(Failure::new(EOF, "that was all"));
    }
    out.truncate(start + count);
    let length = crate::protocol::number(count);
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// RENAME of version 3 replaces nothing; `posix-rename@openssh.com` does.
fn rename_new(from: &Path, to: &Path) -> Result<(), Failure> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot: looking first is the best there is.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::Error::from(ErrorKind::AlreadyExists).into());
            }
            Ok(fs::rename(from, to)?)
        }
        result => Ok(result?),
    }
}

/// The path without links; where its end does not exist, as far as it does.
fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    match fs::canonicalize(path) {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let name = path.file_name();
            let parent = match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                Some(parent) => parent,
                None => return Err(e.into()),
            };
            let name = name.ok_or(e)?;
            Ok(fs::canonicalize(parent)?.join(name))
        }
        Err(e) => Err(e.into()),
    }
}

fn done(out: &mut Vec<u8>, id: u32) {
    status(out, id, OK, "");
}

fn handle(out: &mut Vec<u8>, id: u32, handle: [u8; 4]) {
    out.put_byte(kind::HANDLE);
    out.put_u32(id);
    out.put_string(&handle);
}

fn attrs(out: &mut Vec<u8>, id: u32, metadata: &Metadata) {
    out.put_byte(kind::ATTRS);
    out.put_u32(id);
    attributes::put(out, metadata);
}

fn names(out: &mut Vec<u8>, id: u32, list: &[(Vec<u8>, Option<Metadata>)]) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs().cast_signed());
    out.put_byte(kind::NAME);
    out.put_u32(id);
    out.put_u32(crate::protocol::number(list.len()));
    for (name, metadata) in list {
        out.put_string(name);
        match metadata {
            Some(metadata) => {
                out.put_string(&attributes::long_name(metadata, name, now));
                attributes::put(out, metadata);
            }
            None => {
                out.put_string(name);
                out.put_u32(0);
            }
        }
    }
}

fn statvfs(out: &mut Vec<u8>, id: u32, of: &StatVfs) {
    out.put_byte(kind::EXTENDED_REPLY);
    out.put_u32(id);
    for value in [
        of.f_bsize,
        of.f_frsize,
        of.f_blocks,
        of.f_bfree,
        of.f_bavail,
        of.f_files,
        of.f_ffree,
        of.f_favail,
        of.f_fsid,
        // ST_RDONLY and ST_NOSUID have the kernel's numbers.
        of.f_flag.bits() & 3,
        of.f_namemax,
    ] {
        out.put_u64(value);
    }
}
