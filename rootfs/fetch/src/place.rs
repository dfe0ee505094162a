//! Where the bytes go: a file under a name of its own until it is whole, stdout, or a device.
//!
//! `FILE.kedge-part` grows; beside it, `FILE.kedge-part.of` says of what it is a part, so that a later run can go on. Both
//! are gone when FILE is there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kedge_digest::{Algorithm, Digest, Hasher};
use kedge_progress::interrupt;
use kedge_web::download::{Resume, Stream};
use kedge_web::header::Validator;
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::arguments::{From, To, Wish};
use crate::error::Error;

/// Read at once when what is there is hashed.
const CHUNK: usize = 256 << 10;

/// The place, and what of the content is there.
pub(crate) struct Place {
    kind: Kind,
    file: File,
    /// Whether where it comes from can begin in the middle.
    has_offsets: bool,
    written: u64,
    digests: Vec<Digest>,
    hashers: Vec<Hasher>,
    /// Of what it is a part, when that is known.
    origin: Option<Origin>,
}

enum Kind {
    /// A file that gets its name in the end.
    Named {
        path: PathBuf,
        part: PathBuf,
        force: bool,
    },
    /// stdout, a pipe, a device: what is written there is gone.
    Stream,
}

/// What tells whether a part is one of the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// A validator is one URL's, and a URL may hold a secret: its SHA-256.
    url: Digest,
    validator: Option<Validator>,
}

impl Place {
    pub(crate) fn open(wish: &Wish) -> Result<Place, Error> {
        let (kind, file) = match &wish.to {
            To::Stdout => {
                let stdout = io::stdout();
                let copy = std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned();
                (Kind::Stream, copy.map_err(Error::Stdout)?.into())
            }
            To::Path(path, name) => open(path, name.as_deref(), wish.force)?,
        };
        let mut place = Place {
            kind,
            file,
            written: 0,
            digests: wish.digests.clone(),
            has_offsets: matches!(wish.from, From::Web(_)),
            hashers: Vec::new(),
            origin: None,
        };
        place.forget_hashes();
        place.take_up()?;
        Ok(place)
    }

    /// How much is there.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What to call it.
    pub(crate) fn name(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Named { path, .. } => Some(path),
            Kind::Stream => None,
        }
    }

    /// The part that stays when the whole did not come.
    pub(crate) fn part(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Named { part, .. } if self.written > 0 => Some(part),
            _ => None,
        }
    }

    /// Whether the same command can go on from the part.
    pub(crate) fn can_go_on(&self) -> bool {
        self.resume().is_some()
    }

    /// From where to ask for the rest: when there is a validator, or a digest that would show that the rest was of
    /// something else.
    pub(crate) fn resume(&self) -> Option<Resume> {
        let validator = self.origin.as_ref().and_then(|o| o.validator.clone());
        let provable = validator.is_some() || !self.digests.is_empty();
        (self.has_offsets && self.written > 0 && provable).then_some(Resume {
            offset: self.written,
            validator,
        })
    }

    /// Gets ready for what `stream` brings. Gives `false` when that is the rest of something that only looks the same:
    /// another URL's, to which its validator means nothing. Then [`Place::restart`], and all of it is to be asked for.
    pub(crate) fn accept(&mut self, stream: &Stream) -> Result<bool, Error> {
        let origin = Origin {
            url: sha256(stream.url()),
            validator: stream.validator(),
        };
        if stream.first() > 0 && stream.first() == self.written {
            let same = self.origin.as_ref().is_some_and(|of| of.url == origin.url);
            return Ok(same || !self.digests.is_empty());
        }
        if self.written > 0 {
            self.restart()?;
        }
        if let Kind::Named { part, .. } = &self.kind {
            note(part, &origin)?;
            if let Some(length) = stream.length() {
                room(part, &self.file, length)?;
            }
        }
        self.origin = Some(origin);
        Ok(true)
    }

    /// Throws away what there is.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        match &self.kind {
            Kind::Named { part, .. } => {
                let again = self.file.set_len(0).and_then(|()| self.file.rewind());
                again.map_err(Error::file("write", part))?;
            }
            Kind::Stream => {
                return Err(Error::Broken {
                    written: self.written,
                });
            }
        }
        self.written = 0;
        self.origin = None;
        self.forget_hashes();
        Ok(())
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for hasher in &mut self.hashers {
            hasher.update(bytes);
        }
        let written = self.file.write_all(bytes);
        written.map_err(|source| match &self.kind {
            Kind::Named { part, .. } => Error::file("write", part)(source),
            Kind::Stream => Error::Stdout(source),
        })?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// All of it is there: checks it, and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let found = std::mem::take(&mut self.hashers)
            .into_iter()
            .map(Hasher::finish);
        let wrong = self
            .digests
            .iter()
            .zip(found)
            .find(|(expected, found)| *expected != found);
        if let Some((expected, found)) = wrong {
            let removed = self.discard();
            return Err(Error::Digest {
                expected: Box::new(*expected),
                found: Box::new(found),
                removed,
            });
        }
        let Kind::Named { path, part, force } = &self.kind else {
            return Ok(());
        };
        self.file.sync_all().map_err(Error::file("write", part))?;
        rename(part, path, *force)?;
        let _ = fs::remove_file(of(part));
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(Error::file("write the folder", folder))
    }

    /// Removes the part, which is of no use. Gives whether nothing is left.
    pub(crate) fn discard(&self) -> bool {
        let Kind::Named { part, .. } = &self.kind else {
            return false;
        };
        let _ = fs::remove_file(of(part));
        fs::remove_file(part).is_ok()
    }

    fn forget_hashes(&mut self) {
        let new = |digest: &Digest| Hasher::new(digest.algorithm());
        self.hashers = self.digests.iter().map(new).collect();
    }

    /// What an earlier run left.
    fn take_up(&mut self) -> Result<(), Error> {
        let Kind::Named { part, .. } = &self.kind else {
            return Ok(());
        };
        let fail = || Error::file("read", part);
        let length = self.file.metadata().map_err(fail())?.len();
        self.origin = read_note(part);
        // Without its last byte, so that there is always a rest to ask for.
        self.written = length.saturating_sub(1);
        if self.resume().is_none() {
            self.written = 0;
        }
        self.file.set_len(self.written).map_err(fail())?;
        self.file.rewind().map_err(fail())?;
        if !self.hashers.is_empty() {
            let (mut buffer, mut left) = (vec![0; CHUNK], self.written);
            while left > 0 {
                let most = left.min(CHUNK as u64) as usize;
                self.file.read_exact(&mut buffer[..most]).map_err(fail())?;
                self.hashers
                    .iter_mut()
                    .for_each(|h| h.update(&buffer[..most]));
                left -= most as u64;
            }
        }
        self.file
            .seek(SeekFrom::Start(self.written))
            .map_err(fail())?;
        Ok(())
    }
}

fn open(path: &Path, name: Option<&str>, force: bool) -> Result<(Kind, File), Error> {
    let path = match fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            let name = name.ok_or_else(|| Error::Folder { path: path.into() })?;
            path.join(name)
        }
        Ok(there) if there.file_type().is_block_device() && !force => {
            return Err(Error::Disk { path: path.into() });
        }
        Ok(there) if !there.is_file() => {
            return Ok((Kind::Stream, open_stream(path)?));
        }
        _ => path.to_path_buf(),
    };
    // Before anybody is asked for anything; and once more at the end.
    if !force && path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path });
    }
    let mut part = path.clone().into_os_string();
    part.push(".kedge-part");
    let part = PathBuf::from(part);
    // Who else can write to the folder must not choose what is written.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags.bits() as i32)
        .open(&part);
    let file = opened.map_err(Error::file("create", &part))?;
    let about = file.metadata().map_err(Error::file("create", &part))?;
    if !about.is_file() {
        let source = io::Error::other("something else has that name");
        return Err(Error::file("create", &part)(source));
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: part }),
        // A file system without locks.
        Err(TryLockError::Error(_)) | Ok(()) => {}
    }
    Ok((Kind::Named { path, part, force }, file))
}

/// Opens a pipe, a device. A FIFO is waited for until somebody reads it; in open(2) itself ctrl-C would be noted, and the
/// waiting go on.
fn open_stream(path: &Path) -> Result<File, Error> {
    const STEP: Duration = Duration::from_millis(100);
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    loop {
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path);
        match opened {
            Ok(file) => {
                // What is written there may block again.
                let blocking = rustix::fs::fcntl_getfl(&file)
                    .and_then(|flags| rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK));
                blocking.map_err(|errno| Error::file("write", path)(errno.into()))?;
                return Ok(file);
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) && is_fifo(path) => {
                if interrupt::pressed_already() {
                    return Err(Error::Interrupted);
                }
                std::thread::sleep(STEP);
            }
            Err(error) => return Err(Error::file("write", path)(error)),
        }
    }
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo())
}

fn rename(part: &Path, path: &Path, force: bool) -> Result<(), Error> {
    let renamed = match force {
        true => Err(Errno::INVAL),
        false => rustix::fs::renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE),
    };
    match renamed {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Error::Exists { path: path.into() }),
        // A file system that cannot; vfat is one.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if force || !path.exists() => {
            fs::rename(part, path).map_err(Error::file("write", path))
        }
        Err(errno) => Err(Error::file("write", path)(errno.into())),
    }
}

fn of(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".of");
    name.into()
}

fn sha256(text: &str) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(text.as_bytes());
    hasher.finish()
}

/// Writes down of what `part` is a part: before its first byte.
fn note(part: &Path, origin: &Origin) -> Result<(), Error> {
    let path = of(part);
    let _ = fs::remove_file(&path);
    let validator = origin.validator.as_ref().map_or("", Validator::as_str);
    let text = format!("{}\n{validator}\n", origin.url);
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(Error::file("write", &path))
}

fn read_note(part: &Path) -> Option<Origin> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(of(part));
    let mut text = String::new();
    opened.ok()?.take(1024).read_to_string(&mut text).ok()?;
    let (url, rest) = text.split_once('\n')?;
    Some(Origin {
        url: Digest::from_hex(Algorithm::Sha256, url.strip_prefix("sha256:")?)?,
        validator: Validator::parse(rest.strip_suffix('\n')?),
    })
}

/// Better now than after an hour.
fn room(part: &Path, file: &File, needed: u64) -> Result<(), Error> {
    let Ok(about) = rustix::fs::fstatvfs(file) else {
        return Ok(());
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    // A file system that does not count has no blocks.
    if about.f_blocks > 0 && free < needed {
        return Err(Error::Room {
            path: part.into(),
            needed,
            free,
        });
    }
    Ok(())
}
