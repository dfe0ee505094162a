//! That two who change a system do not meet: another `repair`, or the system's own package manager.

use std::fs::File;
use std::path::Path;

use kedge_sysroot::Sysroot;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::quarantine::STATE;
use crate::target::{make_folders, open_folder};

/// What package managers lock by fcntl(2) while they change something.
const MANAGERS: [(&str, &str); 4] = [
    ("var/lib/dpkg/lock-frontend", "apt"),
    ("var/lib/dpkg/lock", "dpkg"),
    ("var/lib/rpm/.rpm.lock", "rpm"),
    ("usr/lib/sysimage/rpm/.rpm.lock", "rpm"),
];

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Vec<File>,
}

impl Lock {
    pub(crate) fn take(root: &Sysroot) -> Result<Lock, Error> {
        make_folders(root, Path::new("var/lib"), 0o755)?;
        make_folders(root, Path::new(STATE), 0o700)?;
        let folder = open_folder(root, Path::new(STATE))?;
        let path = root.outside(&Path::new(STATE).join("lock"));
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fail = |errno| Error::System {
            doing: "lock",
            path: path.clone(),
            errno,
        };
        let own = match rustix::fs::openat(folder, "lock", flags, Mode::RUSR | Mode::WUSR) {
            Ok(own) => File::from(own),
            // A device or a FIFO may have been put there, which is not opened; flock(2) needs no right to write.
            Err(Errno::EXIST) => {
                let opened = root.open_file_itself(&Path::new(STATE).join("lock"));
                opened.map_err(|error| match error {
                    kedge_sysroot::Error::NotAFile { .. } => Error::Refused(format!(
                        "{error}: a file that is kedge's belongs there; remove it, then again"
                    )),
                    error => error.into(),
                })?
            }
            Err(errno) => return Err(fail(errno)),
        };
        let busy = |who: &str| {
            Error::Refused(format!(
                "{who} is at work in {}: wait for its end, then again",
                root.path().display()
            ))
        };
        match rustix::fs::flock(&own, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(busy("another repair")),
            locked => locked.map_err(fail)?,
        }
        let mut held = vec![own];
        for (path, who) in MANAGERS {
            // Opened for reading only, which cannot be locked exclusively; so a shared lock, which theirs excludes.
            let Ok(file) = root.open_file_itself(Path::new(path)) else {
                continue;
            };
            match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
                Err(Errno::AGAIN | Errno::ACCESS) => return Err(busy(who)),
                Err(_) => {}
                Ok(()) => held.push(file),
            }
        }
        Ok(Lock { _held: held })
    }
}
