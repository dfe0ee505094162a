//! Folders of programs and libraries: links that lead nowhere, files that are empty and have no rights.

use std::path::{Path, PathBuf};

use kedge_packages::Database;
use kedge_sysroot::{Error, Sysroot};
use rustix::fs::FileType;

use crate::examine::examine_all;
use crate::trouble::Trouble;
use crate::{Accounts, Gravity};

/// Where whatever starts lies; without those of other machines, which nothing starts.
const FOLDERS: &[&str] = &[
    "bin",
    "sbin",
    "lib",
    "lib64",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/security",
    "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64/security",
    "usr/lib/security",
    "usr/lib/systemd",
    "usr/lib/systemd/system",
    "etc",
    "etc/pam.d",
    "etc/ssh",
    "etc/systemd/system",
    "etc/network",
    "etc/apt",
    "etc/default",
];
/// More such files than this say nothing more.
const MOST: usize = 200;

/// A file that looks as if it should not be so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) path: PathBuf,
    /// A link that leads nowhere, as opposed to an empty file.
    dangling: bool,
}

/// Looks at names only; and says which of them the file system does not give.
pub(super) fn suspects(root: &Sysroot) -> (Vec<Suspect>, Vec<Trouble>) {
    let mut suspects = Vec::new();
    let mut unreadable = Vec::new();
    let mut lost = |path: &Path, error: &Error| {
        if !error.is_missing() && unreadable.len() < MOST {
            unreadable.push(Trouble::unreadable(path, error));
        }
    };
    let mut seen: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS {
        // /lib may be a link to /usr/lib.
        let real = match root.real_path(Path::new(folder)) {
            Ok(real) => real,
            Err(error) => {
                lost(Path::new(folder), &error);
                continue;
            }
        };
        if seen.contains(&real) {
            continue;
        }
        let names = root.read_dir(&real);
        let mut names = names
            .inspect_err(|error| lost(&real, error))
            .unwrap_or_default();
        names.sort_by_key(|name| name.inode);
        for name in names {
            let path = real.join(&name.name);
            let stat = match root.symlink_metadata(&path) {
                Ok(stat) => stat,
                Err(error) => {
                    lost(&path, &error);
                    continue;
                }
            };
            let husk = stat.st_size == 0 && stat.st_mode & 0o7777 == 0;
            let found = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if husk => Some(false),
                // Links to libraries without a number are for compilers, and their libraries may be elsewhere.
                FileType::Symlink if is_soname(&name.name) => match root.metadata(&path) {
                    Err(error) if error.is_missing() => Some(true),
                    Err(error) => {
                        lost(&path, &error);
                        None
                    }
                    Ok(_) => None,
                },
                _ => None,
            };
            suspects.extend(found.map(|dangling| Suspect { path, dangling }));
            if suspects.len() == MOST {
                return (suspects, unreadable);
            }
        }
        seen.push(real);
    }
    (suspects, unreadable)
}

/// `libz.so.1`.
fn is_soname(name: &Path) -> bool {
    let name = name.to_string_lossy();
    let after = name
        .strip_prefix("lib")
        .and_then(|rest| rest.split_once(".so."));
    after.is_some_and(|(_, number)| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// What the databases say of them.
pub(super) fn examine(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    suspects: &[Suspect],
) -> Vec<Trouble> {
    let paths: Vec<PathBuf> = suspects
        .iter()
        .map(|suspect| suspect.path.clone())
        .collect();
    if paths.is_empty() {
        return Vec::new();
    }
    let accounts = Accounts::of(root);
    let examined = examine_all(root, databases, &accounts, &paths, &mut Vec::new());
    let mut troubles = Vec::new();
    for (suspect, mut examined) in suspects.iter().zip(examined) {
        if suspect.dangling {
            // Somebody else's link that leads nowhere is nobody's fault that matters.
            if !examined.is_owned() {
                continue;
            }
            let target = root.read_link(&suspect.path).unwrap_or_default();
            examined.oddities.clear();
            examined.say(
                Gravity::Damaged,
                format!("it leads to {}, which is not there", target.display()),
            );
        } else if examined.gravity() < Gravity::Damaged {
            examined.say(Gravity::Damaged, "it is empty and has mode 000".into());
        }
        let headline = match suspect.dangling {
            true => "leads nowhere: programs that need it die at start",
            false => "is what is left when an unpacking was cut off, or ran twice at once",
        };
        let mut trouble = Trouble::of(&examined, root.path(), headline);
        if let Some(trouble) = &mut trouble
            && suspect.dangling
        {
            trouble.next = crate::links::repair_target(root, &suspect.path);
        }
        troubles.extend(trouble);
    }
    troubles
}
