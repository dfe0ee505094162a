//! Extended attributes: capabilities, labels, access control lists, notes of users.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// As Linux has it (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LONGEST: usize = 64 << 10;

/// Names and values.
pub(crate) type Attributes = Vec<(String, Vec<u8>)>;

/// Those of what `handle` (`O_PATH`) stands for; none where they cannot be read.
pub(crate) fn of_handle(handle: &OwnedFd) -> Attributes {
    // O_PATH has no attributes; the file behind it has.
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let mut names = vec![0; LONGEST];
    let Ok(length) = rustix::fs::listxattr(&*path, &mut names[..]) else {
        return Attributes::new();
    };
    names.truncate(length);
    read(&names, |name, value| {
        rustix::fs::getxattr(&*path, name, value)
    })
}

/// Those of an open file; none where the file system has none.
pub(crate) fn of_file(file: &File) -> Attributes {
    let mut names = vec![0; LONGEST];
    let Ok(length) = rustix::fs::flistxattr(file, &mut names[..]) else {
        return Attributes::new();
    };
    names.truncate(length);
    read(&names, |name, value| {
        rustix::fs::fgetxattr(file, name, value)
    })
}

fn read(names: &[u8], get: impl Fn(&str, &mut [u8]) -> Result<usize, Errno>) -> Attributes {
    let mut attributes = Attributes::new();
    let mut value = vec![0; LONGEST];
    for name in names.split(|&b| b == 0) {
        if let Ok(name) = std::str::from_utf8(name)
            && !name.is_empty()
            && let Ok(length) = get(name, &mut value)
        {
            attributes.push((name.into(), value[..length].to_vec()));
        }
    }
    attributes
}

/// Gives `file` all of them.
pub(crate) fn put_on(file: impl AsFd, attributes: &[(String, Vec<u8>)]) -> Result<(), Errno> {
    for (name, value) in attributes {
        rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty())?;
    }
    Ok(())
}
