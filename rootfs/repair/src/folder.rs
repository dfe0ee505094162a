//! Folders: those that are missing on the way to a file, and those that are damaged themselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kedge_archive::Member;
use kedge_doctor::Accounts;
use kedge_packages::Owner;
use kedge_sysroot::Sysroot;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::Error;
use crate::target::open_folder;

/// What a system whose folders are merged into `/usr` has links for. Where the link is missing, a folder in its place would
/// hide everything behind it.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Makes the folders above `path` that are missing, as the package says (`known`).
pub(crate) fn make_above(
    root: &Sysroot,
    accounts: &Accounts,
    path: &Path,
    known: &HashMap<PathBuf, Member>,
) -> Result<(), Error> {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for folder in above
        .into_iter()
        .rev()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        match root.metadata(folder) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(stat) => {
                let kind = kedge_sysroot::kind_name(FileType::from_raw_mode(stat.st_mode));
                return Err(Error::NoFolder(root.outside(folder), kind));
            }
            Err(error) if error.is_missing() => {
                refuse_merged(root, folder)?;
                make(root, accounts, folder, known.get(folder))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes a folder that is missing, or gives one that is there its owner and mode.
pub(crate) fn make(
    root: &Sysroot,
    accounts: &Accounts,
    path: &Path,
    member: Option<&Member>,
) -> Result<(), Error> {
    let fail = |doing, errno| Error::System {
        doing,
        path: root.outside(path),
        errno,
    };
    let (above, name) = root.open_parent(path)?;
    match rustix::fs::mkdirat(&above, &name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(fail("make the folder", errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(&above, &name, flags, Mode::empty())
        .map_err(|errno| fail("open the folder", errno))?;
    let (user, group, mode) = match member {
        Some(member) => {
            let number = |name: &str, number: u32, of: &dyn Fn(&Owner) -> Option<u32>| {
                of(&Owner::Name(name.into())).unwrap_or(number)
            };
            (
                number(&member.names.0, member.owner.0, &|owner| {
                    accounts.user(owner)
                }),
                number(&member.names.1, member.owner.1, &|owner| {
                    accounts.group(owner)
                }),
                member.mode,
            )
        }
        None => (0, 0, 0o755),
    };
    rustix::fs::fchown(
        &folder,
        Some(Uid::from_raw(user)),
        Some(Gid::from_raw(group)),
    )
    .and_then(|()| rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode)))
    .and_then(|()| rustix::fs::fsync(&folder))
    .and_then(|()| rustix::fs::fsync(&above))
    .map_err(|errno| fail("set owner and mode of the folder", errno))
}

/// Refuses a folder that should be a link, when nothing is in its place.
pub(crate) fn refuse_merged(root: &Sysroot, folder: &Path) -> Result<(), Error> {
    let merged = folder.to_str().is_some_and(|name| MERGED.contains(&name));
    if merged
        && root.symlink_metadata(folder).is_err()
        && open_folder(root, &Path::new("usr").join(folder)).is_ok()
    {
        let name = folder.display();
        let at = root.outside(folder);
        return Err(Error::Word(format!(
            "{at} is missing, and was probably a link to usr/{name}: ln -s usr/{name} {at}, then again",
            at = at.display()
        )));
    }
    Ok(())
}
