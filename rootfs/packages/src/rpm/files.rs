//! The files of a package out of its header, as far as `rpm -V` would look at them (`lib/verify.c` of rpm).

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use kedge_digest::{Algorithm, Digest};
use kedge_rpm_header::{Header, Numbers, Texts, tag};

use crate::name::{self, LONGEST};
use crate::{Capabilities, Entry, Kind, NoFile, Owner};

/// `RPMFILE_*`, `rpmfiles.h`.
const CONFIG: u64 = 1 << 0;
const MISSINGOK: u64 = 1 << 3;
const GHOST: u64 = 1 << 6;

/// `RPMVERIFY_*`, `rpmvf.h`.
const VERIFY_DIGEST: u64 = 1 << 0;
const VERIFY_SIZE: u64 = 1 << 1;
const VERIFY_LINK: u64 = 1 << 2;
const VERIFY_USER: u64 = 1 << 3;
const VERIFY_GROUP: u64 = 1 << 4;
const VERIFY_MODE: u64 = 1 << 6;
const VERIFY_CAPS: u64 = 1 << 8;

/// `RPMFILE_STATE_*`, `rpmfiles.h`.
const REPLACED: u64 = 1;
const NOT_INSTALLED: u64 = 2;
const NET_SHARED: u64 = 3;
const WRONG_COLOR: u64 = 4;

/// File types in a mode, `stat.h`.
const TYPE: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;
const LINK: u64 = 0o120_000;
const FOLDER: u64 = 0o040_000;

/// The paths of a package, each as its folder and its name.
pub(super) struct Paths<'a> {
    folders: Vec<&'a [u8]>,
    indices: Numbers<'a>,
    names: Texts<'a>,
    index: usize,
}

impl<'a> Paths<'a> {
    pub(super) fn of(header: &'a Header) -> Paths<'a> {
        // Before rpm 4.0 the names had their folders with them.
        let old = header.count(tag::BASENAMES) == 0;
        let names = if old {
            tag::OLDFILENAMES
        } else {
            tag::BASENAMES
        };
        Paths {
            folders: header.texts(tag::DIRNAMES).collect(),
            indices: header.numbers(tag::DIRINDEXES),
            names: header.texts(names),
            index: 0,
        }
    }
}

impl<'a> Iterator for Paths<'a> {
    /// `None` in it when its folder is not in the header, or longer than any: one of megabytes is not to be put in front of
    /// a million names.
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.names.next()?;
        let index = self.index;
        self.index += 1;
        if let Some(slash) = name.iter().rposition(|&byte| byte == b'/') {
            return Some((name.len() <= LONGEST).then(|| name.split_at(slash + 1)));
        }
        let folder = self
            .indices
            .get(index)
            .and_then(|at| usize::try_from(at).ok());
        Some(
            folder
                .and_then(|at| self.folders.get(at))
                .map(|folder| (*folder, name))
                .filter(|(folder, name)| folder.len() + name.len() <= LONGEST),
        )
    }
}

/// Calls `each` for every file until it breaks. `Err` says what makes no sense; files before it were told.
pub(super) fn entries(
    header: &Header,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), String> {
    let old = header.count(tag::BASENAMES) == 0;
    let count = header.count(if old {
        tag::OLDFILENAMES
    } else {
        tag::BASENAMES
    });
    for (tag, name) in [
        (tag::FILEMODES, "modes"),
        (tag::FILEDIGESTS, "digests"),
        (tag::FILELINKTOS, "targets of links"),
        (tag::FILEFLAGS, "flags"),
        (tag::FILEUSERNAME, "users"),
        (tag::FILEGROUPNAME, "groups"),
        (tag::FILECAPS, "capabilities"),
    ] {
        let there = header.count(tag);
        if there != count && there != 0 {
            return Err(format!(
                "a package with {count} files has {there} {name} of files"
            ));
        }
    }
    let algorithm = match header.number(tag::FILEDIGESTALGO) {
        None | Some(0 | 1) => Some(Algorithm::Md5),
        Some(2) => Some(Algorithm::Sha1),
        Some(8) => Some(Algorithm::Sha256),
        Some(10) => Some(Algorithm::Sha512),
        Some(_) => None,
    };
    let (sizes, long_sizes) = (
        header.numbers(tag::FILESIZES),
        header.numbers(tag::LONGFILESIZES),
    );
    let (modes, times) = (
        header.numbers(tag::FILEMODES),
        header.numbers(tag::FILEMTIMES),
    );
    let (flags, states) = (
        header.numbers(tag::FILEFLAGS),
        header.numbers(tag::FILESTATES),
    );
    let verify = header.numbers(tag::FILEVERIFYFLAGS);
    let (mut digests, mut targets) = (
        header.texts(tag::FILEDIGESTS),
        header.texts(tag::FILELINKTOS),
    );
    let (mut users, mut groups) = (
        header.texts(tag::FILEUSERNAME),
        header.texts(tag::FILEGROUPNAME),
    );
    // Most packages have none.
    let mut capabilities = header.texts(tag::FILECAPS);
    let mut told = 0;
    for (index, path) in Paths::of(header).enumerate() {
        told += 1;
        let (digest, target) = (digests.next(), targets.next());
        let (user, group) = (users.next(), groups.next());
        let capabilities = capabilities.next().filter(|text| !text.is_empty());
        let Some((folder, name)) = path else {
            return Err(format!(
                "file {index} of a package is in a folder that it does not name, or that there cannot be"
            ));
        };
        let whole = [folder, name].concat();
        let Some(path) = name::clean(&whole) else {
            return Err(format!(
                "a package has a file called {}",
                whole.escape_ascii()
            ));
        };
        let flags = flags.get(index).unwrap_or(0);
        let state = states.get(index).unwrap_or(0);
        let mode = modes.get(index);
        let mut checked = verify.get(index).unwrap_or(u64::MAX);
        match state {
            REPLACED | NOT_INSTALLED | NET_SHARED => checked = 0,
            WRONG_COLOR => checked &= !(VERIFY_DIGEST | VERIFY_SIZE),
            _ => {}
        }
        let ghost = flags & GHOST != 0;
        if ghost {
            // The package brings nothing: whatever makes the file decides what it is.
            checked = 0;
        }
        let known = |bit: u64| checked & bit != 0;
        let kind = match mode.map(|mode| mode & TYPE) {
            // Only whether it is there is looked at.
            _ if ghost || state == REPLACED || state == NOT_INSTALLED || state == NET_SHARED => {
                Kind::Unknown
            }
            Some(REGULAR) => Kind::File {
                size: known(VERIFY_SIZE)
                    .then(|| sizes.get(index).or(long_sizes.get(index)))
                    .flatten(),
                digest: digest
                    .filter(|digest| known(VERIFY_DIGEST) && !digest.is_empty())
                    .and_then(|digest| {
                        Digest::from_hex(algorithm?, std::str::from_utf8(digest).ok()?)
                    }),
            },
            Some(LINK) => match target {
                Some(target) if known(VERIFY_LINK) => {
                    Kind::Symlink(OsStr::from_bytes(target).into())
                }
                _ => Kind::Unknown,
            },
            Some(FOLDER) => Kind::Directory,
            Some(_) => Kind::Special,
            None => Kind::Unknown,
        };
        // Links have no mode of their own.
        let has_mode = known(VERIFY_MODE) && mode.is_some_and(|mode| mode & TYPE != LINK);
        let owner = |name: Option<&[u8]>, bit| {
            let name = name.filter(|_| known(bit))?;
            Some(Owner::Name(String::from_utf8_lossy(name).into_owned()))
        };
        let going_on = each(Entry {
            path,
            kind,
            mode: mode.filter(|_| has_mode).map(|mode| (mode & 0o7777) as u32),
            user: owner(user, VERIFY_USER),
            group: owner(group, VERIFY_GROUP),
            capabilities: capabilities
                .filter(|_| known(VERIFY_CAPS) && mode.is_some_and(|mode| mode & TYPE == REGULAR))
                .and_then(|text| Capabilities::from_text(std::str::from_utf8(text).ok()?)),
            modified: times.get(index).and_then(|time| i64::try_from(time).ok()),
            configuration: flags & CONFIG != 0,
            optional: ghost
                || flags & MISSINGOK != 0
                || matches!(state, NOT_INSTALLED | NET_SHARED),
            no_file: NoFile::Unsaid,
        });
        if going_on.is_break() {
            return Ok(());
        }
    }
    if told < count {
        return Err(format!("a package with {count} files names only {told}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with these texts.
    fn header(tags: &[(u32, Vec<&[u8]>)], numbers: &[(u32, Vec<u32>)]) -> Header {
        const INT32: u32 = 4;
        const STRING_ARRAY: u32 = 8;
        let (mut index, mut data) = (Vec::new(), Vec::new());
        let mut entry = |tag: u32, kind: u32, count: usize, value: Vec<u8>| {
            for number in [tag, kind, data.len() as u32, count as u32] {
                index.extend(number.to_be_bytes());
            }
            data.extend(value);
        };
        for (tag, values) in numbers {
            let bytes = values.iter().flat_map(|number| number.to_be_bytes());
            entry(*tag, INT32, values.len(), bytes.collect());
        }
        for (tag, values) in tags {
            let bytes = values.iter().flat_map(|text| [*text, b"\0"].concat());
            entry(*tag, STRING_ARRAY, values.len(), bytes.collect());
        }
        let count = (tags.len() + numbers.len()) as u32;
        let lengths = [count.to_be_bytes(), (data.len() as u32).to_be_bytes()].concat();
        let magic = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
        Header::parse(&[magic, lengths, index, data].concat()).unwrap()
    }

    #[test]
    fn a_folder_of_megabytes_is_not_put_in_front_of_every_name() {
        let slashes = vec![b'/'; 1 << 20];
        for (folder, told) in [(b"/usr/".as_slice(), 2), (&slashes, 0)] {
            let texts = [
                (tag::BASENAMES, vec![b"a".as_slice(), b"b"]),
                (tag::DIRNAMES, vec![folder]),
            ];
            let header = header(&texts, &[(tag::DIRINDEXES, vec![0, 0])]);
            let mut found = 0;
            let all = entries(&header, &mut |_| {
                found += 1;
                ControlFlow::Continue(())
            });
            assert_eq!((found, all.is_ok()), (told, told == 2), "{all:?}");
            assert_eq!(Paths::of(&header).flatten().count(), told);
        }
    }

    #[test]
    fn capabilities_that_make_no_sense_are_none() {
        let capabilities = |texts: Vec<&[u8]>, mode: u32, verify: u32| {
            let texts = [
                (tag::BASENAMES, vec![b"a".as_slice(), b"b"]),
                (tag::DIRNAMES, vec![b"/usr/".as_slice()]),
                (tag::FILECAPS, texts),
            ];
            let numbers = [
                (tag::DIRINDEXES, vec![0, 0]),
                (tag::FILEMODES, vec![mode; 2]),
                (tag::FILEVERIFYFLAGS, vec![verify; 2]),
            ];
            let mut found = Vec::new();
            entries(&header(&texts, &numbers), &mut |entry| {
                found.push(entry.capabilities.map(|some| some.to_string()));
                ControlFlow::Continue(())
            })
            .map(|()| found)
        };
        let good = b"cap_net_raw=ep".as_slice();
        let told = Some("cap_net_raw=ep".to_string());
        let regular = 0o100_755;
        for (texts, expected) in [
            (vec![b"".as_slice(), good], [None, told.clone()]),
            (vec![good, b"cap_net_raw=e\xff"], [told.clone(), None]),
            (vec![b"cap_new_raw=ep", b"=="], [None, None]),
            (vec![good; 2], [told.clone(), told]),
        ] {
            assert_eq!(capabilities(texts, regular, u32::MAX), Ok(expected.into()));
        }
        let none = Ok(vec![None; 2]);
        assert_eq!(capabilities(vec![good; 2], regular, !(1 << 8)), none);
        assert_eq!(capabilities(vec![good; 2], 0o120_777, u32::MAX), none);
        assert_eq!(capabilities(vec![good; 2], 0o040_755, u32::MAX), none);
        for count in [1, 3] {
            assert!(capabilities(vec![good; count], regular, u32::MAX).is_err());
        }
    }
}
