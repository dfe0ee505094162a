//! What dpkg knows of the files of one package: its list, its checksums, its configuration files.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kedge_digest::{Algorithm, Digest};

use rustix::fs::FileType;

use super::Dpkg;
use super::status::{self, Conffile};
use crate::scan::lines;
use crate::store::{LARGEST, damaged};
use crate::{Entry, Error, Kind, NoFile, name};

pub(super) fn read(
    dpkg: &Dpkg<'_>,
    index: usize,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), Error> {
    let package = &dpkg.packages[index];
    let conffiles = conffiles(dpkg, index)?;
    let (sums, sums_path) = first(dpkg, dpkg.info(index, "md5sums"));
    // Nobody writes one without a line.
    let mut sums_lost = sums.as_ref().is_some_and(Vec::is_empty);
    let sums = sums.unwrap_or_default();
    let sums_length = sums.len() as u64;
    let mut sums = Sums::of(dpkg, &sums, &sums_path);
    let covered = sums.top_folders();
    let (list, list_path) = first(dpkg, dpkg.info(index, "list"));
    let store = dpkg.stores[dpkg.store_of[index]].path();
    let distroless = store
        .parent()
        .is_some_and(|folder| folder.ends_with("status.d"));
    // dpkg writes at least `/.` into it.
    let lost = match &list {
        None => (!distroless).then_some("cannot be read"),
        Some(list) => list.is_empty().then_some("is empty"),
    };
    let list = list.unwrap_or_default();
    if let Some(lost) = lost {
        dpkg.complaints.add(format!(
            "{} {lost}; only files with a checksum are known of package {}",
            dpkg.root.outside(&list_path).display(),
            package.name
        ));
    } else if list.last().is_some_and(|&last| last != b'\n') {
        let why = "it ends in the middle of a line";
        let error = damaged(&dpkg.root.outside(&list_path), list.len() as u64, why);
        dpkg.complaints.add(error.to_string());
    }
    let folders = OnceCell::new();
    let list_ended = list.last() == Some(&b'\n');

    let mut give = |raw: &[u8], kind: Kind, whole: bool| {
        let raw = name::trim(raw);
        let Some(path) = name::clean(dpkg.diversions.of(raw, &package.name)) else {
            dpkg.complaints.add(format!(
                "{} has a line that is no path: {}",
                dpkg.root.outside(&list_path).display(),
                name::shown(raw)
            ));
            return ControlFlow::Continue(());
        };
        let conffile = conffiles.get(raw);
        let kind = match (kind, conffile) {
            (Kind::Unknown, Some(Conffile { md5, .. })) => conffile_kind(md5),
            (kind, _) => kind,
        };
        let unknown = kind == Kind::Unknown;
        if unknown && sums_lost && is_regular(dpkg, &path) {
            sums_lost = false;
            dpkg.complaints.add(format!(
                "{} is empty; what is in the files of package {} is not known",
                dpkg.root.outside(&sums_path).display(),
                package.name
            ));
        }
        let stat = dpkg.overrides.get(raw);
        each(Entry {
            path,
            kind,
            mode: stat.map(|stat| stat.mode),
            user: stat.map(|stat| stat.user.clone()),
            group: stat.map(|stat| stat.group.clone()),
            capabilities: None,
            modified: None,
            configuration: conffile.is_some(),
            optional: conffile.is_some_and(|conffile| conffile.obsolete)
                || !whole
                || dpkg.excluded.contains(raw),
            no_file: match &covered {
                Some(covered) if unknown && whole => match covered.contains(top_folder(raw)) {
                    true => NoFile::Sure,
                    false => NoFile::Likely,
                },
                _ => NoFile::Unsaid,
            },
        })
    };
    let mut all = lines(&list).peekable();
    while let Some(line) = all.next() {
        let raw = name::trim(&list[line]);
        let next = all.peek().map(|next| name::trim(&list[next.clone()]));
        let kind = if let Some(digest) = sums.take_next(raw) {
            file(digest)
        } else if next.is_some_and(|next| is_below(next, raw)) {
            Kind::Directory
        } else if let Some(digest) = sums.take(raw) {
            file(digest)
        } else if folders.get_or_init(|| self::folders(&list)).contains(raw) {
            Kind::Directory
        } else {
            Kind::Unknown
        };
        // The last line may be half a name.
        if give(raw, kind, next.is_some() || list_ended).is_break() {
            return Ok(());
        }
    }
    // The list does not name them: it is damaged, or was never there.
    let cut = sums.cut;
    let mut rest = sums.rest();
    // Or this is half a name.
    if let (Some(cut), false) = (cut, list.is_empty())
        && let Some(at) = rest.iter().position(|(path, _)| *path == cut)
    {
        rest.remove(at);
        let why = "it ends in the middle of a line";
        let error = damaged(&dpkg.root.outside(&sums_path), sums_length, why);
        dpkg.complaints.add(error.to_string());
    }
    if let (Some((path, _)), false) = (rest.first(), list.is_empty()) {
        dpkg.complaints.add(format!(
            "{} does not name {}, of which there is a checksum",
            dpkg.root.outside(&list_path).display(),
            name::shown(path)
        ));
    }
    for (raw, digest) in rest {
        if give(raw, file(digest), true).is_break() {
            break;
        }
    }
    Ok(())
}

fn is_regular(dpkg: &Dpkg<'_>, path: &Path) -> bool {
    let stat = dpkg.root.symlink_metadata(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

fn file(digest: Digest) -> Kind {
    Kind::File {
        size: None,
        digest: Some(digest),
    }
}

/// `usr` of `usr/bin/x`.
fn top_folder(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'/').next().unwrap_or_default()
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    let rest = path.strip_prefix(folder);
    folder.is_empty() || rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn conffiles(dpkg: &Dpkg<'_>, index: usize) -> Result<BTreeMap<Vec<u8>, Conffile>, Error> {
    let Some(offset) = dpkg.records[index].conffiles else {
        return Ok(BTreeMap::new());
    };
    let store = &dpkg.stores[dpkg.store_of[index]];
    let found = status::conffiles(&mut store.lines(offset))?;
    let by_path = found
        .into_iter()
        .map(|conffile| (name::trim(&conffile.path).to_vec(), conffile));
    Ok(by_path.collect())
}

/// As the package brought it; what it was before is not known while it is `newconffile`.
fn conffile_kind(md5: &[u8]) -> Kind {
    let digits = std::str::from_utf8(md5).unwrap_or_default();
    Kind::File {
        size: None,
        digest: Digest::from_hex(Algorithm::Md5, digits),
    }
}

/// The first of the files that is there, and which one it is. One that cannot be read is complained of: the others tell
/// something as well.
fn first(dpkg: &Dpkg<'_>, paths: [PathBuf; 3]) -> (Option<Vec<u8>>, PathBuf) {
    for path in &paths {
        match dpkg.root.read(path, LARGEST) {
            Ok(bytes) => return (Some(bytes), path.clone()),
            Err(error) if error.is_missing() => {}
            Err(error) => dpkg.complaints.add(error.to_string()),
        }
    }
    let [path, ..] = paths;
    (None, path)
}

/// Checksums, sorted by path. Most lists name files in the same order, so that the next one is mostly the one wanted.
struct Sums<'a> {
    /// The value without its algorithm: a package can have a hundred thousand.
    all: Vec<(&'a [u8], [u8; 16])>,
    taken: Vec<bool>,
    next: usize,
    /// There are some, and none was lost: what has none is no regular file.
    whole: bool,
    /// The path of the last line, when that has no end.
    cut: Option<&'a [u8]>,
}

impl<'a> Sums<'a> {
    /// `MD5  PATH` a line.
    fn of(dpkg: &Dpkg<'_>, sums: &'a [u8], path: &Path) -> Sums<'a> {
        let mut all = Vec::with_capacity(lines(sums).count());
        let mut complained = false;
        for line in lines(sums) {
            let offset = line.start;
            match one_digest(&sums[line]) {
                Some(one) => all.push(one),
                // The lines after it may be good; one complaint a file says enough.
                None if complained => {}
                None => {
                    complained = true;
                    let why = "there is no checksum and path";
                    let error = damaged(&dpkg.root.outside(path), offset as u64, why);
                    dpkg.complaints.add(error.to_string());
                }
            }
        }
        let ended = sums.last() == Some(&b'\n');
        let cut = all.last().filter(|_| !ended).map(|(path, _)| *path);
        // Mostly they are, and sorting takes room.
        if !all.is_sorted_by_key(|(path, _)| *path) {
            all.sort_by_key(|(path, _)| *path);
        }
        all.dedup_by_key(|(path, _)| *path);
        Sums {
            taken: vec![false; all.len()],
            all,
            next: 0,
            whole: !complained && ended,
            cut,
        }
    }

    /// In which there is something; `None` when checksums were lost, or there never were any.
    fn top_folders(&self) -> Option<HashSet<&'a [u8]>> {
        let folders = || self.all.iter().map(|(path, _)| top_folder(path));
        self.whole.then(|| folders().collect())
    }

    /// If `path` is the one after the one taken last.
    fn take_next(&mut self, path: &[u8]) -> Option<Digest> {
        let (next, digest) = self.all.get(self.next)?;
        if *next != path {
            return None;
        }
        self.taken[self.next] = true;
        self.next += 1;
        Some(Digest::Md5(*digest))
    }

    fn take(&mut self, path: &[u8]) -> Option<Digest> {
        let index = self.all.binary_search_by_key(&path, |(path, _)| *path);
        self.next = index.ok()?;
        self.take_next(path)
    }

    fn rest(self) -> Vec<(&'a [u8], Digest)> {
        let left = self.all.into_iter().zip(self.taken);
        left.filter(|(_, taken)| !taken)
            .map(|((path, digest), _)| (path, Digest::Md5(digest)))
            .collect()
    }
}

fn one_digest(line: &[u8]) -> Option<(&[u8], [u8; 16])> {
    let (digits, path) = line.split_at_checked(32)?;
    let digest = Digest::from_hex(Algorithm::Md5, std::str::from_utf8(digits).ok()?)?;
    let digest = digest.bytes().try_into().ok()?;
    let path = path.strip_prefix(b" ")?;
    // md5sum(1): a star says that it was read as binary.
    let path = path.strip_prefix(b" ").or(path.strip_prefix(b"*"))?;
    let path = name::trim(path);
    (!path.is_empty()).then_some((path, digest))
}

/// What other lines of the list are below.
fn folders(list: &[u8]) -> HashSet<&[u8]> {
    // ROOT itself.
    let mut folders = HashSet::from([b"".as_slice()]);
    let mut last = b"".as_slice();
    for line in lines(list) {
        let mut path = name::trim(&list[line]);
        while let Some(slash) = path.iter().rposition(|&byte| byte == b'/') {
            path = &path[..slash];
            // Neighbours are in the same folder.
            if path == last || !folders.insert(path) {
                break;
            }
            last = path;
        }
    }
    folders
}
