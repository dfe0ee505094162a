//! After a repair: what the doctor says of the file now, and whether it can be loaded.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kedge_doctor::shown::typed;
use kedge_doctor::{Gravity, examine};
use kedge_elf::{Finding, Object, Severity, is_elf};
use kedge_packages::Database;
use kedge_sysroot::Sysroot;

use crate::quarantine;
use crate::trial::{self, Trial};

/// Larger ones are not read as a whole: no library or program that others need to start is.
const MOST: u64 = 256 << 20;
/// `e_machine` of 32-bit and 64-bit x86, and of ARM's.
const LINKERS: [(u16, bool, &[&str]); 4] = [
    (
        62,
        true,
        &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"],
    ),
    (62, false, &["/libx32/ld-linux-x32.so.2"]),
    (3, false, &["/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1"]),
    (
        183,
        true,
        &["/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"],
    ),
];

/// What the doctor still sees.
pub(crate) fn remains(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    path: &Path,
) -> Vec<String> {
    let examined = match examine(root, databases, path) {
        Ok(examined) => examined,
        Err(error) => return vec![error.to_string()],
    };
    let differences = examined.owned.iter().flat_map(|owned| &owned.differences);
    let mut remains: Vec<String> = differences
        .map(|difference| match difference.sides() {
            (Some(is), Some(must)) => format!("{}: is {is}, must be {must}", difference.word()),
            (Some(is), None) => format!("{}: {is}", difference.word()),
            _ => difference.word().to_string(),
        })
        .collect();
    let damaged = |finding: &&Finding| finding.severity >= Severity::Damage;
    let elf = examined.elf.iter().filter(damaged);
    remains.extend(elf.map(|finding| finding.text.clone()));
    let odd = examined
        .oddities
        .iter()
        .filter(|oddity| oddity.gravity > Gravity::Odd);
    remains.extend(odd.map(|oddity| oddity.text.clone()));
    remains
}

/// Of how many ranges of blocks it is told how they were damaged.
const MOST_RANGES: usize = 4;

/// How the file that is kept as `number` differs from the one that took its place: a flipped bit is a tired memory, a
/// block of zeros a disk. Nothing when one of them is no file.
pub(crate) fn damage(root: &Sysroot, number: u64, path: &Path) -> Vec<String> {
    let kept = quarantine::kept(number);
    let (Ok(old), Ok(new)) = (root.open_file_itself(&kept), root.open_file_itself(path)) else {
        return Vec::new();
    };
    let mut lines = kedge_peek::differences(&old, &new);
    if let Some(more) = lines.len().checked_sub(MOST_RANGES + 1) {
        lines.truncate(MOST_RANGES);
        let (kept, place) = (typed(&root.outside(&kept)), typed(&root.outside(path)));
        lines.push(format!("and {} more: peek --diff {kept} {place}", more + 1));
    }
    lines
}

/// A dynamic linker that does not end, once and again, will not end with the next file either.
const MOST_LOST: Duration = Duration::from_secs(30);

/// Trials of one system's files, one after the other.
pub(crate) struct Trials<'a> {
    root: &'a Sysroot,
    /// How long it was waited for nothing.
    lost: Duration,
}

impl<'a> Trials<'a> {
    pub(crate) fn new(root: &'a Sysroot) -> Trials<'a> {
        let lost = Duration::ZERO;
        Trials { root, lost }
    }

    /// Loads the next, if it is something that is loaded dynamically.
    pub(crate) fn of(&mut self, path: &Path) -> Option<Trial> {
        if self.lost >= MOST_LOST {
            return Some(Trial::Untried(
                "the system's dynamic linker did not end with others before".into(),
            ));
        }
        let began = Instant::now();
        let trial = trial(self.root, path);
        if matches!(trial, Some(Trial::Untried(_))) {
            self.lost += began.elapsed();
        }
        trial
    }
}

fn trial(root: &Sysroot, path: &Path) -> Option<Trial> {
    let object = Object::read(&elf(root, path)?)?;
    if object.interpreter.is_none() && object.needed.is_empty() && object.soname.is_none() {
        // Static, or a module of the kernel.
        return None;
    }
    let interpreter = object.interpreter.clone().map(PathBuf::from).or_else(|| {
        let (.., linkers) = LINKERS
            .iter()
            .find(|(machine, is_64, _)| (*machine, *is_64) == (object.machine, object.is_64))?;
        let there = |linker: &&&str| root.exists(Path::new(linker));
        linkers.iter().find(there).map(PathBuf::from)
    });
    Some(match interpreter {
        Some(interpreter) => trial::load(root, &interpreter, path),
        None => Trial::Untried("this system has no dynamic linker for it".into()),
    })
}

fn elf(root: &Sysroot, path: &Path) -> Option<Vec<u8>> {
    let bytes = root.read(path, MOST).ok()?;
    is_elf(&bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn how_it_was_damaged_is_told_of_the_first_ranges_only() {
        let root = std::env::temp_dir().join(format!("kedge-after-{}", std::process::id()));
        let old = root.join(quarantine::kept(3));
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(root.join("file"), [1; 16 << 10]).unwrap();
        let mut bytes = [1; 16 << 10];
        bytes[5000] ^= 4;
        fs::write(&old, bytes).unwrap();
        let open = Sysroot::open(&root).unwrap();
        let damage = |path: &str| damage(&open, 3, Path::new(path));
        assert_eq!(
            damage("file"),
            ["0x1200-0x1400  block 9: bit 2 of byte 0x1388: 05, should be 01"]
        );
        assert_eq!(damage("missing"), Vec::<String>::new());
        for sector in [0, 4, 8, 12, 16] {
            bytes[sector * 512] ^= 1;
        }
        fs::write(&old, bytes).unwrap();
        let many = damage("file");
        assert_eq!(many.len(), MOST_RANGES + 1, "{many:?}");
        assert!(many[MOST_RANGES].starts_with("and 2 more: peek --diff"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_linker_that_never_ends_is_not_waited_for_with_every_file() {
        let root = std::env::temp_dir().join(format!("kedge-trials-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::copy(std::env::current_exe().unwrap(), root.join("tool")).unwrap();
        let open = Sysroot::open(&root).unwrap();
        // There is no linker in that system at all, which costs nothing.
        let mut trials = Trials::new(&open);
        let why = |trial| match trial {
            Some(Trial::Untried(why)) => why,
            other => panic!("{other:?}"),
        };
        for _ in 0..3 {
            let why = why(trials.of(Path::new("tool")));
            assert!(!why.contains("before"), "{why}");
        }
        trials.lost += MOST_LOST;
        let why = why(trials.of(Path::new("tool")));
        assert!(why.contains("before"), "{why}");
        fs::remove_dir_all(root).unwrap();
    }
}
