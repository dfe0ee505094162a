//! Everything that is known to be wrong with a file: against the database, as an ELF file, as a file.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kedge_elf::{Finding, Severity};
use kedge_packages::{Database, Digest, Kind};
use kedge_sysroot::{Error, Sysroot, kind_name};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::closure::LONGEST_OBJECT;
use crate::compare::cannot_open;
use crate::owned::{Owned, owners};
use crate::{Accounts, Difference, memory, reading, undone};

/// A disk's blocks and a file system's: what a disk loses is a multiple of these.
const BLOCK: usize = 4096;

/// How bad a file is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Nothing is wrong.
    Whole,
    /// Odd, and may be meant.
    Odd,
    /// Its owner or mode is another.
    Rights,
    /// It is not what it must be.
    Damaged,
    /// Whoever needs it cannot start.
    Fatal,
}

/// What stands against a file with no database's help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// How bad.
    pub gravity: Gravity,
    /// One sentence without a full stop.
    pub text: String,
}

/// What is known of one file.
#[derive(Debug)]
pub struct Examined {
    /// Below ROOT, without leading `/`.
    pub path: PathBuf,
    /// What packages say of it; more than one may own it, or none.
    pub owned: Vec<Owned>,
    /// What is wrong with it as an ELF file; nothing is when it is proven.
    pub elf: Vec<Finding>,
    /// What is wrong with it as a file.
    pub oddities: Vec<Oddity>,
    /// Why it cannot be read, where no package's entry says so.
    unreadable: Option<Box<Difference>>,
    /// Its content is what some database says.
    proven: bool,
}

impl Examined {
    /// How bad it is.
    pub fn gravity(&self) -> Gravity {
        let elf = self.elf.iter().map(|finding| match finding.severity {
            Severity::Odd => Gravity::Odd,
            Severity::Damage => Gravity::Damaged,
            Severity::Fatal => Gravity::Fatal,
        });
        let differences = self.owned.iter().flat_map(|owned| &owned.differences);
        let by_package = differences.map(|difference| match difference.is_of_rights() {
            true => Gravity::Rights,
            false => Gravity::Damaged,
        });
        let odd = self.oddities.iter().map(|oddity| oddity.gravity);
        elf.chain(by_package)
            .chain(odd)
            .max()
            .unwrap_or(Gravity::Whole)
    }

    /// Whether something is wrong that is not meant.
    pub fn is_damaged(&self) -> bool {
        self.gravity() > Gravity::Odd
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether it is the disk or the file system that cannot give it.
    pub(crate) fn is_lost(&self) -> bool {
        let differences = self.owned.iter().flat_map(|owned| &owned.differences);
        let mut all = differences.chain(self.unreadable.as_deref());
        all.any(Difference::is_the_disk_s)
    }

    /// Whether a package can give it back.
    pub fn is_owned(&self) -> bool {
        !self.owned.is_empty()
    }
}

/// Everything known to be wrong with one file.
///
/// # Errors
/// When a database cannot be read.
pub fn examine(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    path: &Path,
) -> Result<Examined, kedge_packages::Error> {
    let accounts = Accounts::of(root);
    let mut complaints = Vec::new();
    let paths = [path.to_path_buf()];
    let owned = owners(root, databases, &accounts, &paths, &mut complaints);
    match complaints.pop() {
        Some(error) => Err(error),
        None => {
            let owned = owned.into_iter().next().unwrap_or_default();
            let mut patience = undone::PATIENCE;
            Ok(look(root, path, owned, &mut patience))
        }
    }
}

/// As [`examine`], for several; what cannot be read of the databases is added to `complaints`, and the rest goes on.
pub fn examine_all(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    accounts: &Accounts,
    paths: &[PathBuf],
    complaints: &mut Vec<kedge_packages::Error>,
) -> Vec<Examined> {
    let owned = owners(root, databases, accounts, paths, complaints);
    let mut patience = undone::PATIENCE;
    let both = paths.iter().zip(owned);
    both.map(|(path, owned)| look(root, path, owned, &mut patience))
        .collect()
}

/// The file itself; what was done to it is looked for as long as there is `patience`.
fn look(root: &Sysroot, path: &Path, owned: Vec<Owned>, patience: &mut Duration) -> Examined {
    let path = path.strip_prefix("/").unwrap_or(path);
    let vouched = |owned: &Owned| {
        let content = |difference: &Difference| !difference.is_of_rights();
        let digest = matches!(
            owned.entry.kind,
            Kind::File {
                digest: Some(_),
                ..
            }
        );
        digest && !owned.changed && !owned.differences.iter().any(content)
    };
    let mut examined = Examined {
        path: path.into(),
        proven: owned.iter().any(vouched),
        owned,
        elf: Vec::new(),
        oddities: Vec::new(),
        unreadable: None,
    };
    match root.metadata(path) {
        Ok(stat) => {
            let kind = FileType::from_raw_mode(stat.st_mode);
            match kind {
                // What a link leads to is another file, with owners of its own.
                FileType::RegularFile if is_link(root, path) => {}
                // However odd it is, that is how it was made.
                FileType::RegularFile if examined.proven => {}
                FileType::RegularFile => inside(root, &stat, &mut examined, patience),
                FileType::Directory => {}
                _ => examined.say(Gravity::Fatal, format!("it is a {}", kind_name(kind))),
            }
        }
        Err(error) => {
            let known = examined.owned.iter().any(|o| !o.differences.is_empty());
            if !known && !examined.owned.iter().any(|o| o.entry.optional) {
                examined.say(Gravity::Damaged, error.to_string());
                examined.unreadable = Some(Box::new(cannot_open(error)));
            }
        }
    }
    examined
}

fn is_link(root: &Sysroot, path: &Path) -> bool {
    let stat = root.symlink_metadata(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

impl Examined {
    pub(crate) fn say(&mut self, gravity: Gravity, text: String) {
        self.oddities.push(Oddity { gravity, text });
    }

    /// What content it must have, where it has other content of the same length, as far as that is known.
    fn must(&self) -> Option<Digest> {
        let differences = || self.owned.iter().flat_map(|owned| &owned.differences);
        if differences().any(|d| matches!(d, Difference::Size { .. })) {
            return None;
        }
        differences().find_map(|difference| match difference {
            Difference::Content { is: Some(_), must } => Some(*must),
            _ => None,
        })
    }

    fn has(&self, of: impl Fn(&Difference) -> bool) -> bool {
        self.owned
            .iter()
            .any(|owned| owned.differences.iter().any(&of))
    }
}

/// The content of a regular file.
fn inside(root: &Sysroot, stat: &Stat, examined: &mut Examined, patience: &mut Duration) {
    if examined.has(|d| matches!(d, Difference::Unreadable { .. })) {
        return;
    }
    let length = stat.st_size as u64;
    let not_looked_into = |why: &str| {
        let long = kedge_progress::bytes(length);
        format!("it is {long} long{why}; it was not looked into")
    };
    if length > LONGEST_OBJECT {
        return examined.say(Gravity::Odd, not_looked_into(""));
    }
    let no_room = || not_looked_into(", and memory has no room for that");
    if !memory::has_room(length) {
        return examined.say(Gravity::Odd, no_room());
    }
    let bytes = match read(root, &examined.path, length) {
        Ok(bytes) => bytes,
        Err(difference) => {
            if matches!(&*difference, Difference::Unreadable { error, .. } if error.errno() == Some(Errno::NOMEM))
            {
                return examined.say(Gravity::Odd, no_room());
            }
            let (is, _) = difference.sides();
            examined.unreadable = Some(difference);
            return examined.say(Gravity::Fatal, is.unwrap_or_default());
        }
    };
    if kedge_elf::is_elf(&bytes) {
        examined.elf = kedge_elf::check(&bytes);
    } else {
        zeros(&bytes, examined);
    }
    let proof = examined
        .must()
        .and_then(|must| undone::look_for(&bytes, must, &examined.elf, patience));
    if let Some(change) = proof {
        let text = format!(
            "{change}: undone, the content is what the package says; repair with --from itself undoes it"
        );
        examined.say(Gravity::Damaged, text);
    } else if examined.elf.is_empty() && kedge_elf::is_elf(&bytes) {
        by_hand(&bytes, examined);
    }
}

/// All of it, or how far it could be read.
pub(crate) fn read(root: &Sysroot, path: &Path, length: u64) -> Result<Vec<u8>, Box<Difference>> {
    let file = root
        .open_file(path)
        .map_err(|error| Box::new(cannot_open(error)))?;
    let length = usize::try_from(length).unwrap_or(0);
    let mut bytes = Vec::new();
    let reserved = bytes.try_reserve_exact(length);
    reserved.map_err(|_| {
        Box::new(cannot_open(Error::System {
            path: root.outside(path),
            errno: Errno::NOMEM,
        }))
    })?;
    bytes.resize(length, 0);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let difference = reading::unreadable(root, path, &file, filled as u64, &error);
                return Err(Box::new(difference));
            }
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A whole ELF file that is not the package's: what people do to such files.
fn by_hand(bytes: &[u8], examined: &mut Examined) {
    if !examined.has(|d| matches!(d, Difference::Content { .. })) {
        return;
    }
    let sections = kedge_elf::section_names(bytes);
    let has = |name: &str| sections.iter().any(|section| section == name);
    let shorter = examined.has(|d| matches!(d, Difference::Size { is, must } if is < must));
    let text = if has(".gnu.prelink_undo") {
        "it is whole as an ELF file and was prelinked (prelink -u undoes it): no damage, then"
    } else if shorter && !has(".symtab") {
        "it is whole as an ELF file, shorter than the package's and has no symbol table: stripped by hand?"
    } else if !has(".symtab") && !has(".gnu_debuglink") {
        // What Debian strips names the file with its symbols, and a second strip changes nothing. dpkg knows no sizes.
        "it is whole as an ELF file, and has neither symbols nor the name of a file with them: stripped by hand? Or a change that only the checksum shows"
    } else {
        "it is whole as an ELF file, as far as can be seen: another build or version of it, or a change that only the checksum shows"
    };
    examined.say(Gravity::Odd, text.into());
}

/// What a file system leaves of a file that was never written out, and a disk of a block that it lost.
fn zeros(bytes: &[u8], examined: &mut Examined) {
    let is_zero = |block: &[u8]| block.iter().all(|&b| b == 0);
    if !bytes.is_empty() && is_zero(bytes) {
        let text = format!("it consists of {} zero bytes", bytes.len());
        return examined.say(Gravity::Damaged, text);
    }
    let head = &bytes[..bytes.len().min(512)];
    if head.is_empty() || head.contains(&0) {
        return;
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let blocks = bytes.chunks(BLOCK).enumerate();
    for (index, _) in blocks.filter(|(_, block)| is_zero(block)) {
        match runs.last_mut() {
            Some((from, count)) if *from + *count == index => *count += 1,
            _ => runs.push((index, 1)),
        }
    }
    if let Some((from, count)) = runs.first() {
        let text = format!(
            "it is text, and {} bytes from byte {} on are zero: blocks of {BLOCK} that a disk or file system has lost",
            count * BLOCK,
            from * BLOCK
        );
        examined.say(Gravity::Damaged, text);
    }
}
