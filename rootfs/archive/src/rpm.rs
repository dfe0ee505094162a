//! `.rpm` (rpm's `docs/manual/format.md`): a lead that nobody reads any more, a header of signatures, the package's header, and
//! an archive of cpio's, packed.
//!
//! The archive has names and contents; the header has everything else. Archives with files over 4 GB have only numbers
//! of files in the header (`07070X`). Of hard links only the last one has the content.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

use kedge_packages::{Capabilities, Family, Package};
use kedge_rpm_header::{Header, tag};

use crate::member::{Member, MemberKind, below_root};
use crate::unpack::{buffered, ends, unpack};
use crate::{Each, Error, Packed, damaged};

/// How a package file begins.
pub(crate) const MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];
const LEAD: usize = 96;

/// `stat.h`.
const TYPE: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;
const LINK: u64 = 0o120_000;
const FOLDER: u64 = 0o040_000;

const TRAILER: &[u8] = b"TRAILER!!!";
/// `newc` header: magic and thirteen numbers of eight digits.
const NEWC: usize = 110;
/// As Linux has it.
const LONGEST_NAME: u64 = 4096;

/// As [`crate::read`]. Without `each`, only as far as to know which package it is.
pub(crate) fn read(from: &mut Packed, each: Option<Each>) -> Result<Package, Error> {
    from.read_exact(&mut [0; LEAD])?;
    kedge_rpm_header::read_padded(from)?;
    let header = Header::parse(&kedge_rpm_header::read(from)?)
        .map_err(|error| damaged(&error.to_string()))?;
    let text = |tag, what| {
        header
            .text(tag)
            .ok_or_else(|| damaged(&format!("its header has no {what}")))
    };
    let epoch = header.number(tag::EPOCH).map(|epoch| format!("{epoch}:"));
    let package = Package {
        family: Family::Rpm,
        name: text(tag::NAME, "name")?,
        version: format!(
            "{}{}-{}",
            epoch.unwrap_or_default(),
            text(tag::VERSION, "version")?,
            text(tag::RELEASE, "release")?
        ),
        architecture: text(tag::ARCH, "architecture")?,
    };
    let Some(each) = each else {
        return Ok(package);
    };
    if let Some(format) = header.text(tag::PAYLOADFORMAT)
        && format != "cpio"
    {
        return Err(Error::Unsupported(format!(
            "an archive of the format '{}'",
            format.escape_debug()
        )));
    }
    let mut payload = Payload {
        files: files(&header)?,
        waiting: HashMap::new(),
        each,
    };
    drop(header);
    let mut inner: &mut dyn Read = from;
    payload.read(&mut unpack(buffered(&mut inner))?)?;
    Ok(package)
}

/// A file of the header.
struct Listed {
    path: PathBuf,
    member: Member,
    size: u64,
    mode: u64,
    /// Which other files are the same, by device and inode.
    identity: Option<(u64, u64)>,
    /// Of those, it is the last one.
    last: bool,
}

fn files(header: &Header) -> Result<Vec<Listed>, Error> {
    let texts = |tag| header.texts(tag).collect::<Vec<&[u8]>>();
    let folders = texts(tag::DIRNAMES);
    let (folder_of, mut names) = (header.numbers(tag::DIRINDEXES), texts(tag::BASENAMES));
    if names.is_empty() {
        names = texts(tag::OLDFILENAMES);
    }
    let (modes, times) = (
        header.numbers(tag::FILEMODES),
        header.numbers(tag::FILEMTIMES),
    );
    let sizes = match header.count(tag::LONGFILESIZES) {
        0 => header.numbers(tag::FILESIZES),
        _ => header.numbers(tag::LONGFILESIZES),
    };
    let (devices, inodes) = (
        header.numbers(tag::FILEDEVICES),
        header.numbers(tag::FILEINODES),
    );
    let (users, groups) = (texts(tag::FILEUSERNAME), texts(tag::FILEGROUPNAME));
    let (targets, capabilities) = (texts(tag::FILELINKTOS), texts(tag::FILECAPS));
    let text = |texts: &[&[u8]], index: usize| {
        let text = texts.get(index).copied().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    let mut files = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let folder = folder_of
            .get(index)
            .and_then(|at| folders.get(usize::try_from(at).ok()?));
        let path = below_root(&[folder.copied().unwrap_or_default(), name].concat())?;
        let mode = modes
            .get(index)
            .ok_or_else(|| damaged("its header has fewer modes than files"))?;
        let kind = match mode & TYPE {
            REGULAR => MemberKind::File(0),
            LINK => MemberKind::Symlink(text(&targets, index).into()),
            FOLDER => MemberKind::Directory,
            _ => MemberKind::Special,
        };
        let capabilities = Capabilities::from_text(&text(&capabilities, index));
        let member = Member {
            path: path.clone(),
            kind,
            mode: (mode & 0o7777) as u32,
            owner: (0, 0),
            names: (text(&users, index), text(&groups, index)),
            modified: times.get(index).map_or(0, |time| time as i64),
            attributes: capabilities
                .into_iter()
                .map(|value| (Capabilities::ATTRIBUTE.into(), value.attribute()))
                .collect(),
        };
        let identity = inodes.get(index).filter(|_| mode & TYPE == REGULAR);
        files.push(Listed {
            path,
            member,
            size: sizes.get(index).unwrap_or(0),
            mode,
            identity: identity.map(|inode| (devices.get(index).unwrap_or(0), inode)),
            last: true,
        });
    }
    let mut seen = std::collections::HashSet::new();
    for file in files.iter_mut().rev() {
        file.last = file.identity.is_none_or(|identity| seen.insert(identity));
    }
    Ok(files)
}

/// The archive, and what is known of its files.
struct Payload<'a> {
    files: Vec<Listed>,
    /// Names that were seen without content, by what they are names of.
    waiting: HashMap<(u64, u64), Vec<usize>>,
    each: Each<'a>,
}

impl Payload<'_> {
    fn read(&mut self, from: &mut dyn Read) -> Result<(), Error> {
        let by_path: HashMap<PathBuf, usize> = self
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| (file.path.clone(), index))
            .collect();
        loop {
            let mut magic = [0; 6];
            from.read_exact(&mut magic)?;
            let (index, size) = match &magic {
                b"07070X" => {
                    let index = number(from)? as usize;
                    skip(from, 2)?;
                    let file = self
                        .files
                        .get(index)
                        .ok_or_else(|| damaged("its archive has a file more"))?;
                    let has = matches!(file.mode & TYPE, REGULAR | LINK) && file.last;
                    (index, if has { file.size } else { 0 })
                }
                b"070701" | b"070702" => match newc(from)? {
                    None => return ends(from),
                    Some((path, size)) => {
                        let index = by_path.get(&path).copied();
                        (
                            index.ok_or_else(|| {
                                damaged("its archive has a file more than its header")
                            })?,
                            size,
                        )
                    }
                },
                _ => return Err(damaged("its archive is none of cpio's, or is cut off")),
            };
            let mut content = (&mut *from).take(size);
            if self.member(index, size, &mut content)?.is_break() {
                return Ok(());
            }
            let rest = content.limit();
            if io::copy(&mut content, &mut io::sink())? < rest {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            skip(from, (size.wrapping_neg() % 4) as usize)?;
        }
    }

    /// Hands over a file, and the names that waited for its content.
    fn member(
        &mut self,
        index: usize,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<ControlFlow<()>, Error> {
        let file = &self.files[index];
        let mut member = file.member.clone();
        let mut content: &mut dyn Read = content;
        let mut nothing = io::empty();
        if let MemberKind::File(length) = &mut member.kind {
            if let Some(identity) = file.identity
                && size == 0
                && !file.last
            {
                self.waiting.entry(identity).or_default().push(index);
                return Ok(ControlFlow::Continue(()));
            }
            *length = size;
        } else {
            // A link's is its target, which the header has.
            content = &mut nothing;
        }
        if (self.each)(&member, content)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let waiting = file
            .identity
            .and_then(|identity| self.waiting.remove(&identity));
        for index in waiting.unwrap_or_default() {
            let mut link = self.files[index].member.clone();
            link.kind = MemberKind::HardLink(member.path.clone());
            if (self.each)(&link, &mut io::empty())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// What follows `newc`'s magic: name and size; nothing at the end.
fn newc(from: &mut dyn Read) -> Result<Option<(PathBuf, u64)>, Error> {
    let mut fields = [0; 13];
    for field in &mut fields {
        *field = number(from)?;
    }
    let (size, name_size) = (fields[6], fields[11]);
    if name_size > LONGEST_NAME {
        return Err(damaged("a name in its archive is longer than makes sense"));
    }
    let mut name = vec![0; name_size as usize];
    from.read_exact(&mut name)?;
    skip(from, (NEWC + name.len()).wrapping_neg() % 4)?;
    let name = name.strip_suffix(b"\0").unwrap_or(&name);
    if name == TRAILER {
        return Ok(None);
    }
    Ok(Some((below_root(name)?, size)))
}

/// Eight hexadecimal digits.
fn number(from: &mut dyn Read) -> Result<u64, Error> {
    let mut digits = [0; 8];
    from.read_exact(&mut digits)?;
    let text = std::str::from_utf8(&digits)
        .ok()
        .filter(|text| !text.starts_with('+'));
    text.and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| damaged("a number in its archive is none"))
}

/// Padding, at most three bytes.
fn skip(from: &mut dyn Read, count: usize) -> Result<(), Error> {
    Ok(from.read_exact(&mut [0; 4][..count])?)
}
