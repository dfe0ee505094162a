//! What is at a path, beside what the package database says must be there.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kedge_digest::Hasher;
use kedge_packages::{Digest, Entry, Kind, NoFile};
use kedge_sysroot::{Error, Sysroot, kind_name};
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

pub use crate::device::Sector;
use crate::reading::{self, BUFFER};
use crate::{Accounts, capabilities};

/// One way in which they differ.
#[derive(Debug)]
pub enum Difference {
    /// There is nothing.
    Missing,
    /// Another type: what it is now, in a word ("empty regular file", "folder").
    Type {
        /// What is there.
        is: String,
        /// What must be there.
        must: String,
    },
    /// A link that leads elsewhere.
    Target {
        /// Where it leads.
        is: PathBuf,
        /// Where it must lead.
        must: PathBuf,
    },
    /// Another length.
    Size {
        /// In bytes.
        is: u64,
        /// In bytes.
        must: u64,
    },
    /// Other content.
    Content {
        /// Of what is there; `None` when the length alone says that it differs.
        is: Option<Digest>,
        /// Of what must be there.
        must: Digest,
    },
    /// Other permission bits.
    Mode {
        /// 0o7777.
        is: u32,
        /// 0o7777.
        must: u32,
    },
    /// Another user or group: `user:group`, each side.
    Owner {
        /// Who has it.
        is: String,
        /// Who must.
        must: String,
    },
    /// Other file capabilities: as cap_to_text(3), or in words.
    Capabilities {
        /// Which it has.
        is: String,
        /// Which it must have.
        must: String,
    },
    /// It cannot be read: the error, how far it could be read, and the place on the device, where that is known.
    Unreadable {
        /// What the kernel said.
        error: Error,
        /// The first byte of the file that could not be read.
        offset: u64,
        /// Where that byte lies.
        sector: Option<Sector>,
    },
}

/// What can be told without reading the file.
pub(crate) struct Judged {
    pub(crate) differences: Vec<Difference>,
    /// The content must be this, and that is still to be seen.
    pub(crate) content: Option<Digest>,
}

/// Everything in which the file differs from `entry`; empty when it is as it must be. `entry.configuration` and
/// `entry.optional` are not looked at: what they excuse, [`excused`] says.
pub fn compare(root: &Sysroot, accounts: &Accounts, entry: &Entry) -> Vec<Difference> {
    let Judged {
        mut differences,
        content,
    } = judge(root, accounts, entry, root.symlink_metadata(&entry.path));
    if let Some(must) = content {
        let opened = open(root, &entry.path);
        differences.extend(match opened {
            Ok((file, stat)) => {
                let mut buffer = vec![0; BUFFER];
                let file = (&file, &stat);
                reading::check(root, &entry.path, file, must, &mut buffer, &mut |_| {})
            }
            Err(error) => Some(cannot_open(error)),
        });
        add_zeros(root, entry, &mut differences);
    }
    // What is worst is said first.
    differences.sort_by_key(rank);
    differences
}

/// Opens what `entry.path` is, or, for a link that stands for a file of the package, what it leads to.
pub(crate) fn open(root: &Sysroot, path: &Path) -> Result<(File, Stat), Error> {
    let file = root.open_file(path)?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| Error::System {
        path: root.outside(path),
        errno,
    })?;
    Ok((file, stat))
}

pub(crate) fn cannot_open(error: Error) -> Difference {
    Difference::Unreadable {
        error,
        offset: 0,
        sector: None,
    }
}

/// Compares what the `stat` of the path itself says.
pub(crate) fn judge(
    root: &Sysroot,
    accounts: &Accounts,
    entry: &Entry,
    stat: Result<Stat, Error>,
) -> Judged {
    let mut judged = Judged {
        differences: Vec::new(),
        content: None,
    };
    let stat = match stat {
        Ok(stat) => stat,
        Err(error) => {
            judged.differences.push(match error.is_missing() {
                true => Difference::Missing,
                false => cannot_open(error),
            });
            return judged;
        }
    };
    let seen = Seen::new(root, entry, &stat);
    match &entry.kind {
        Kind::File { size, digest } => seen.file(*size, *digest, &mut judged),
        Kind::Symlink(must) => judged.differences.extend(seen.link(must)),
        Kind::Directory => judged.differences.extend(seen.folder()),
        Kind::Special => judged.differences.extend(seen.special()),
        Kind::Unknown => judged.differences.extend(seen.unknown()),
    }
    if let (Some(must), FileType::RegularFile) = (entry.capabilities, seen.kind) {
        judged
            .differences
            .extend(capabilities::compare(root, &entry.path, must));
    }
    // A link has no mode, and whose it is matters to nobody; what a link leads to is not the package's.
    if seen.kind != FileType::Symlink {
        judged
            .differences
            .extend(rights(root, accounts, entry, &stat));
    }
    judged
}

struct Seen<'a> {
    root: &'a Sysroot,
    entry: &'a Entry,
    stat: &'a Stat,
    kind: FileType,
}

impl Seen<'_> {
    fn new<'a>(root: &'a Sysroot, entry: &'a Entry, stat: &'a Stat) -> Seen<'a> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        Seen {
            root,
            entry,
            stat,
            kind,
        }
    }

    fn other_type(&self, must: &str) -> Difference {
        Difference::Type {
            is: self.describe(),
            must: must.into(),
        }
    }

    /// "empty regular file with mode 000": what is there, with what makes it strange.
    fn describe(&self) -> String {
        let kind = kind_name(self.kind);
        match self.kind {
            FileType::RegularFile if self.is_husk() => format!("empty {kind} with mode 000"),
            FileType::RegularFile if self.stat.st_size == 0 => format!("empty {kind}"),
            FileType::Symlink => match self.root.read_link(&self.entry.path) {
                Ok(target) => format!("{kind} to {}", target.display()),
                Err(_) => kind.into(),
            },
            _ => kind.into(),
        }
    }

    /// What two `tar`s that unpack into one folder leave of a link: the file that holds its place until the end.
    fn is_husk(&self) -> bool {
        self.kind == FileType::RegularFile
            && self.stat.st_size == 0
            && self.stat.st_mode & 0o7777 == 0
    }

    fn behind(&self) -> Option<Stat> {
        self.root.metadata(&self.entry.path).ok()
    }

    fn file(&self, size: Option<u64>, digest: Option<Digest>, judged: &mut Judged) {
        let length = |is: u64, judged: &mut Judged| match size {
            Some(must) if must != is => {
                judged.differences.push(Difference::Size { is, must });
                let content = digest.map(|must| Difference::Content { is: None, must });
                judged.differences.extend(content);
            }
            _ => judged.content = digest,
        };
        // Said as what it is, also where a configuration file may have any content.
        let empty = |digest: Digest| Hasher::new(digest.algorithm()).finish() == digest;
        if self.is_husk() && size.is_none_or(|size| size > 0) && !digest.is_some_and(empty) {
            judged
                .differences
                .push(self.other_type("regular file with content"));
            return;
        }
        match self.kind {
            FileType::RegularFile => length(self.stat.st_size as u64, judged),
            // dpkg's database does not say that it was no link, and moving a file and leaving a link is done; what is behind
            // it must be right.
            FileType::Symlink if self.entry.mode.is_none() => match self.behind() {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    length(stat.st_size as u64, judged);
                }
                _ => judged.differences.push(self.other_type("regular file")),
            },
            _ => judged.differences.push(self.other_type("regular file")),
        }
    }

    fn link(&self, must: &Path) -> Option<Difference> {
        if self.kind != FileType::Symlink {
            return Some(self.other_type(&format!("symlink to {}", must.display())));
        }
        match self.root.read_link(&self.entry.path) {
            Ok(is) if is == must => None,
            Ok(is) => Some(Difference::Target {
                is,
                must: must.into(),
            }),
            Err(error) => Some(cannot_open(error)),
        }
    }

    /// A folder that was moved to where there is room, with a link in its place, is as good.
    fn folder(&self) -> Option<Difference> {
        let is_folder = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match self.kind {
            FileType::Directory => None,
            FileType::Symlink if self.behind().is_some_and(is_folder) => None,
            _ => Some(self.other_type("folder")),
        }
    }

    fn special(&self) -> Option<Difference> {
        match self.kind {
            FileType::RegularFile | FileType::Directory | FileType::Symlink => {
                Some(self.other_type("device or FIFO"))
            }
            _ => None,
        }
    }

    fn unknown(&self) -> Option<Difference> {
        let has_content = self.kind == FileType::RegularFile && self.stat.st_size > 0;
        // A link in /etc says how a thing is configured, and the administrator may have written a file there.
        let configures = self.entry.path.starts_with("etc");
        match (self.kind, self.entry.no_file) {
            (_, NoFile::Unsaid) => {
                let husk = self.is_husk();
                husk.then(|| self.other_type("symlink, folder or file with content"))
            }
            (FileType::Symlink | FileType::Directory, _) => None,
            (_, NoFile::Likely) if has_content => None,
            (_, NoFile::Sure) if has_content && configures => None,
            _ => Some(self.other_type("symlink or folder")),
        }
    }
}

fn rights(root: &Sysroot, accounts: &Accounts, entry: &Entry, stat: &Stat) -> Vec<Difference> {
    let is = stat.st_mode & 0o7777;
    let must = entry.mode.map_or(is, |mode| mode & 0o7777);
    // A name that ROOT does not know cannot be judged.
    let user = entry.user.as_ref().and_then(|user| accounts.user(user));
    let group = entry.group.as_ref().and_then(|group| accounts.group(group));
    let owner = (stat.st_uid, stat.st_gid);
    let owners = (user.unwrap_or(owner.0), group.unwrap_or(owner.1));
    if (is == must && owner == owners) || has_no_rights(root, &entry.path) {
        return Vec::new();
    }
    let mut differences = Vec::new();
    let given = accounts.tmpfiles(root);
    if is != must && !given.gives_mode(&entry.path, is) {
        differences.push(Difference::Mode { is, must });
    }
    if owner != owners && !given.gives_owner(accounts, &entry.path, owner, owners) {
        differences.push(Difference::Owner {
            is: accounts.both(owner.0, owner.1),
            must: accounts.both(owners.0, owners.1),
        });
    }
    differences
}

/// Whether it lies on a file system that knows neither modes nor owners, as an ESP: the mount says which all of it have.
fn has_no_rights(root: &Sysroot, path: &Path) -> bool {
    root.handle(path, OFlags::NOFOLLOW)
        .ok()
        .and_then(|handle| rustix::fs::fstatfs(handle).ok())
        // `MSDOS_SUPER_MAGIC`, linux/magic.h.
        .is_some_and(|known| known.f_type == 0x4d44)
}

/// Adds what no administrator does to a configuration file: blocks of zeros in a text, which a disk or a file system leaves
/// of what was there. Only a file whose content differs is read for that, once more.
pub(crate) fn add_zeros(root: &Sysroot, entry: &Entry, differences: &mut Vec<Difference>) {
    let differs = |difference: &Difference| matches!(difference, Difference::Content { .. });
    if entry.configuration && differences.iter().any(differs) && has_lost_blocks(root, &entry.path)
    {
        differences.push(Difference::Type {
            is: "regular file with blocks of zero bytes".into(),
            must: "regular file with content".into(),
        });
    }
}

/// Whether there is a sector of zeros, and no zero byte between two others, as what is no text has.
fn has_lost_blocks(root: &Sysroot, path: &Path) -> bool {
    const SECTOR: usize = 512;
    /// A configuration file has some kilobytes.
    const MOST: u64 = 16 << 20;
    let Ok((file, stat)) = open(root, path) else {
        return false;
    };
    let mut buffer = vec![0; BUFFER];
    let (mut offset, mut lost) = (0, false);
    while offset < MOST.min(stat.st_size as u64) {
        let read = file.read_at(&mut buffer, offset);
        let Some(count @ 1..) = read.ok() else {
            break;
        };
        offset += count as u64;
        for sector in buffer[..count].chunks(SECTOR) {
            let from = sector.iter().position(|&byte| byte != 0);
            let until = sector.iter().rposition(|&byte| byte != 0);
            match from.zip(until) {
                Some((from, until)) if sector[from..until].contains(&0) => return false,
                Some(_) => {}
                // The last one may be short, and a single zero at the end is no sector.
                None => lost |= sector.len() > SECTOR / 8 || stat.st_size as usize == sector.len(),
            }
        }
    }
    lost
}

/// Whether this is no damage: an administrator may change a configuration file, take it away, or put a link there; an
/// optional file may be absent, and one in /run while the system is off.
pub fn excused(entry: &Entry, difference: &Difference) -> bool {
    match difference {
        Difference::Missing => {
            entry.optional || entry.configuration || is_made_at_boot(&entry.path)
        }
        Difference::Unreadable { .. } => false,
        Difference::Type { is, .. } => entry.configuration && is.starts_with("symlink"),
        _ => entry.configuration,
    }
}

/// Whether it lies where a file system of the running system is mounted: what is below of packages is gone while it is off.
fn is_made_at_boot(path: &Path) -> bool {
    ["run", "var/run", "var/lock", "dev", "proc", "sys", "tmp"]
        .iter()
        .any(|folder| path != Path::new(folder) && path.starts_with(folder))
}

/// As [`Difference::is_the_disk_s`], of an error itself.
pub(crate) fn is_the_disk_s(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(
            Errno::IO
                | Errno::UCLEAN
                | Errno::BADMSG
                | Errno::REMOTEIO
                | Errno::TIMEDOUT
                | Errno::NODATA
        )
    )
}

/// What is worst is said first.
pub(crate) fn rank(difference: &Difference) -> u8 {
    match difference {
        Difference::Unreadable { .. } => 0,
        Difference::Missing => 1,
        Difference::Type { .. } => 2,
        Difference::Target { .. } => 3,
        Difference::Size { .. } => 4,
        Difference::Content { .. } => 5,
        Difference::Mode { .. } => 6,
        Difference::Owner { .. } => 7,
        Difference::Capabilities { .. } => 8,
    }
}

impl Difference {
    /// "content", "size": the word for it, in text and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Type { .. } => "type",
            Difference::Target { .. } => "target",
            Difference::Size { .. } => "size",
            Difference::Content { .. } => "content",
            Difference::Mode { .. } => "mode",
            Difference::Owner { .. } => "owner",
            Difference::Capabilities { .. } => "capabilities",
            Difference::Unreadable { .. } => "unreadable",
        }
    }

    /// Whether it is of who may do what with the file, and not of what is in it.
    pub(crate) fn is_of_rights(&self) -> bool {
        matches!(
            self,
            Difference::Mode { .. } | Difference::Owner { .. } | Difference::Capabilities { .. }
        )
    }

    /// Whether the disk could not read it, or what the file system has of it makes no sense: `EUCLEAN` and `EBADMSG` are
    /// ext4's, xfs' and btrfs' words for that, the others come from what is below.
    pub fn is_the_disk_s(&self) -> bool {
        matches!(self, Difference::Unreadable { error, .. } if is_the_disk_s(error))
    }

    /// What is, and what must be, for people; not yet escaped.
    pub fn sides(&self) -> (Option<String>, Option<String>) {
        let both = |is: String, must: String| (Some(is), Some(must));
        match self {
            Difference::Missing => (None, None),
            Difference::Type { is, must }
            | Difference::Owner { is, must }
            | Difference::Capabilities { is, must } => both(is.clone(), must.clone()),
            Difference::Target { is, must } => {
                both(is.display().to_string(), must.display().to_string())
            }
            Difference::Size { is, must } => both(is.to_string(), must.to_string()),
            Difference::Content { is, must } => {
                (is.map(|is| is.to_string()), Some(must.to_string()))
            }
            Difference::Mode { is, must } => both(format!("{is:04o}"), format!("{must:04o}")),
            Difference::Unreadable {
                error,
                offset,
                sector,
            } => {
                let place = sector.as_ref().map(|sector| format!(" ({sector})"));
                let place = place.unwrap_or_default();
                // Whose path it is, stands above.
                let error = match error.errno() {
                    Some(errno) => errno.to_string(),
                    None => error.to_string(),
                };
                (Some(format!("{error}, at byte {offset}{place}")), None)
            }
        }
    }
}
