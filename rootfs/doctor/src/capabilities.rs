//! File capabilities of a file, beside those that its package gave it. Who copies a system without extended attributes loses them,
//! and `ping` works for root only.
//!
//! As `rpm -V` looks at them (its P), but for files that have some and should have none: only where the database names any is the file
//! asked, which costs a look at its inode each.

use std::os::fd::AsRawFd;
use std::path::Path;

use kedge_packages::Capabilities;
use kedge_sysroot::{Error, Sysroot};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::Difference;
use crate::compare::{cannot_open, is_the_disk_s};

/// Longer than any that the kernel takes.
const LONGEST: usize = 64;

/// In what the regular file at `path` differs, as far as it can be known.
pub(crate) fn compare(root: &Sysroot, path: &Path, must: Capabilities) -> Option<Difference> {
    let handle = root.handle(path, OFlags::NOFOLLOW).ok()?;
    // O_PATH has no attributes; the file behind it has.
    let behind = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let mut value = [0; LONGEST];
    let read = rustix::fs::getxattr(&*behind, Capabilities::ATTRIBUTE, &mut value[..]);
    let read = read.map(|length| &value[..length]);
    match judge(read, must) {
        Ok(is) => is.map(|is| Difference::Capabilities {
            is,
            must: must.to_string(),
        }),
        Err(errno) => {
            let path = root.outside(path);
            Some(Error::System { path, errno })
                .filter(is_the_disk_s)
                .map(cannot_open)
        }
    }
}

/// What there is instead of `must`. An error says that nobody knows: there are file systems without attributes, and namespaces whose
/// users have no number here.
fn judge(read: Result<&[u8], Errno>, must: Capabilities) -> Result<Option<String>, Errno> {
    let is = match read {
        Ok(value) => Capabilities::from_attribute(value),
        Err(Errno::NODATA) => return Ok(Some("none".into())),
        // The kernel takes it apart itself, and would not start such a program either.
        Err(Errno::INVAL | Errno::RANGE) => None,
        Err(errno) => return Err(errno),
    };
    Ok(match is {
        Some(is) if is == must => None,
        Some(is) => Some(is.to_string()),
        None => Some("nothing that makes sense".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn must() -> Capabilities {
        Capabilities::from_text("cap_net_raw=ep").unwrap()
    }

    #[test]
    fn what_cannot_be_known_is_no_difference() {
        let other = Capabilities::from_text("cap_net_raw,cap_bpf=p").unwrap();
        let good = must().attribute();
        for (read, expected) in [
            (Ok(&*good), Ok(None)),
            (Ok(&*other.attribute()), Ok(Some("cap_net_raw,cap_bpf=p"))),
            (Err(Errno::NODATA), Ok(Some("none"))),
            (Ok(&good[..19]), Ok(Some("nothing that makes sense"))),
            (Ok(b""), Ok(Some("nothing that makes sense"))),
            (Err(Errno::INVAL), Ok(Some("nothing that makes sense"))),
            (Err(Errno::RANGE), Ok(Some("nothing that makes sense"))),
            (Err(Errno::OPNOTSUPP), Err(Errno::OPNOTSUPP)),
            (Err(Errno::PERM), Err(Errno::PERM)),
            (Err(Errno::ACCESS), Err(Errno::ACCESS)),
            (Err(Errno::OVERFLOW), Err(Errno::OVERFLOW)),
            (Err(Errno::IO), Err(Errno::IO)),
        ] {
            let said = judge(read, must());
            let said = said.as_ref().map(Option::as_deref).map_err(|errno| *errno);
            assert_eq!(said, expected, "{read:?}");
        }
    }

    /// `/proc` has no extended attributes.
    #[test]
    fn a_file_system_without_attributes_is_no_difference() {
        let root = Sysroot::open(Path::new("/")).unwrap();
        let found = compare(&root, Path::new("proc/version"), must());
        assert!(found.is_none(), "{found:?}");
        let found = compare(&root, Path::new("proc/no-such-file"), must());
        assert!(found.is_none(), "{found:?}");
    }
}
