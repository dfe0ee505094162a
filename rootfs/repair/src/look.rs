//! Owner, mode, times and attributes of the file that takes the damaged one's place.
//!
//! What the local database says goes first, then what the package says. dpkg's database says nothing of a mode, and maintainer
//! scripts change some after unpacking (`chmod`, `chgrp`, `setcap`); so what the damaged file has beyond the package's is kept
//! and said, if the file looks as if only its content were damaged.
//!
//! A checksum of the content proves nothing of all that. So a package that nobody vouches for gives no rights: nothing that
//! the damaged file did not have, and what is missing becomes root's, without setuid.

use std::fs::File;

use kedge_archive::{Member, MemberKind};
use kedge_doctor::Accounts;
use kedge_packages::{Capabilities, Entry, Family, Owner};
use kedge_sysroot::Sysroot;
use rustix::fs::{FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::attributes::{self, Attributes};
use crate::replace::Source;

/// The most that a missing file or folder gets from a package that nobody vouches for.
const MOST_MODE: u32 = 0o755;

/// Who may do what with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

impl Rights {
    /// As the local database has it, and where that says nothing, `member`.
    fn packaged(
        accounts: &Accounts,
        entry: Option<&Entry>,
        member: &Member,
        notes: &mut Vec<String>,
    ) -> Rights {
        let known = |owner: Option<&Owner>, name: &str, number: u32| {
            owner.cloned().unwrap_or_else(|| named(name, number))
        };
        let user = entry.and_then(|entry| entry.user.as_ref());
        let user = known(user, &member.names.0, member.owner.0);
        let group = entry.and_then(|entry| entry.group.as_ref());
        let group = known(group, &member.names.1, member.owner.1);
        let unknown = |what: &str, owner: &Owner, number: u32| {
            format!("this system has no {what} {owner:?}; {number} was taken")
        };
        Rights {
            mode: entry.and_then(|entry| entry.mode).unwrap_or(member.mode),
            owner: (
                accounts.user(&user).unwrap_or_else(|| {
                    notes.push(unknown("user", &user, member.owner.0));
                    member.owner.0
                }),
                accounts.group(&group).unwrap_or_else(|| {
                    notes.push(unknown("group", &group, member.owner.1));
                    member.owner.1
                }),
            ),
        }
    }

    /// What is left of these when nobody vouches for the package: what the database says, and else no more than `old` has.
    fn unvouched(self, entry: Option<&Entry>, old: Option<&Stat>) -> Rights {
        let most = old.map_or(MOST_MODE, |old| old.st_mode & 0o7777);
        let (user, group) = old.map_or((0, 0), |old| (old.st_uid, old.st_gid));
        let says = |what: fn(&Entry) -> bool| entry.is_some_and(what);
        Rights {
            mode: match says(|entry| entry.mode.is_some()) {
                true => self.mode,
                false => self.mode & most,
            },
            owner: (
                match says(|entry| entry.user.is_some()) {
                    true => self.owner.0,
                    false => user,
                },
                match says(|entry| entry.group.is_some()) {
                    true => self.owner.1,
                    false => group,
                },
            ),
        }
    }

    /// Of a folder that is made, or that is there and is `old`; `member` with what has it: "the package".
    pub(crate) fn of_folder(
        accounts: &Accounts,
        entry: Option<&Entry>,
        member: Option<(&Member, &str)>,
        old: Option<&Stat>,
        vouched: bool,
        notes: &mut Vec<String>,
    ) -> Rights {
        let Some((member, noun)) = member else {
            let owner = (0, 0);
            return Rights { mode: 0o755, owner };
        };
        let packaged = Rights::packaged(accounts, entry, member, notes);
        if vouched {
            return packaged;
        }
        let rights = packaged.unvouched(entry, old);
        if rights != packaged {
            notes.push(withheld(noun, packaged, &[]));
        }
        rights
    }

    fn words(self) -> String {
        let (user, group) = self.owner;
        format!("mode {:04o} and owner {user}:{group}", self.mode)
    }
}

/// What a package has that nobody vouches for, and the file does not get.
fn withheld(noun: &str, packaged: Rights, attributes: &[String]) -> String {
    let mut has = packaged.words();
    for name in attributes {
        has += &format!(", {name}");
    }
    format!("{noun} has {has}; nobody vouches for it, so it gave no rights: --unsigned takes them")
}

/// How a file shall look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: i64,
    pub(crate) attributes: Attributes,
    /// The old file's.
    had: Attributes,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

impl Look {
    /// For `member` of `source`, which takes the place of `old`.
    pub(crate) fn of(
        root: &Sysroot,
        accounts: &Accounts,
        source: &Source,
        entry: &Entry,
        member: &Member,
        old: Option<&Stat>,
    ) -> Look {
        let family = source.package.family;
        let mut notes = Vec::new();
        let packaged = Rights::packaged(accounts, Some(entry), member, &mut notes);
        let is_file = |stat: &&Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let old = old.filter(is_file);
        let had = old
            .and_then(|_| root.handle(&entry.path, OFlags::NOFOLLOW).ok())
            .map(|handle| attributes::of_handle(&handle))
            .unwrap_or_default();
        let old = old.filter(|old| !is_husk(old));
        let kept = old
            .filter(|old| family == Family::Dpkg && entry.mode.is_none() && old.st_size > 0)
            .map(|old| Rights {
                mode: old.st_mode & 0o7777,
                owner: (old.st_uid, old.st_gid),
            })
            .filter(|has| has.mode & packaged.mode == packaged.mode);
        // What gives rights: capabilities, access control lists.
        let is_right = |name: &str| !source.vouched && !name.starts_with("user.");
        let rights = match kept {
            Some(has) => has,
            None if source.vouched => packaged,
            None => packaged.unvouched(Some(entry), old),
        };
        if rights.owner != packaged.owner {
            // Whom the package means matters no more.
            notes.clear();
        }
        if kept.is_some() && rights != packaged {
            notes.push(format!(
                "{} are kept; {} has {}, but scripts may have changed that",
                rights.words(),
                source.noun,
                packaged.words()
            ));
        }
        let mut attributes = member.attributes.clone();
        attributes.retain(|(name, _)| !is_right(name));
        if let Some(must) = entry.capabilities {
            let name = Capabilities::ATTRIBUTE;
            attributes.retain(|(known, _)| known != name);
            attributes.push((name.into(), must.attribute()));
        }
        for (name, value) in &had {
            let ours = attributes.iter().any(|(known, _)| known == name);
            // These families' packages say which capabilities a file has; dpkg's scripts set them.
            let packaged =
                name == Capabilities::ATTRIBUTE && family != Family::Dpkg && source.vouched;
            if !ours && !packaged {
                attributes.push((name.clone(), value.clone()));
            }
        }
        let without: Vec<String> = member
            .attributes
            .iter()
            .filter(|one| is_right(&one.0) && !attributes.contains(one))
            .map(|(name, _)| name.clone())
            .collect();
        let is_link = matches!(member.kind, MemberKind::Symlink(_));
        let lessened = kept.is_none() && rights != packaged;
        if !source.vouched && !is_link && (lessened || !without.is_empty()) {
            notes.push(withheld(source.noun, packaged, &without));
        }
        let labelled = attributes
            .iter()
            .any(|(name, _)| name == "security.selinux");
        if !labelled && root.exists(std::path::Path::new("etc/selinux/config")) {
            notes.push(
                "it has no SELinux label: restorecon it in the running system, or touch /.autorelabel before the boot"
                    .into(),
            );
        }
        Look {
            mode: rights.mode,
            owner: rights.owner,
            modified: member.modified,
            attributes,
            had,
            notes,
        }
    }

    /// Whether `old`, of which this was made, looks so already.
    pub(crate) fn is_worn_by(&self, old: &Stat) -> bool {
        let is_link = FileType::from_raw_mode(old.st_mode) == FileType::Symlink;
        let same = self.attributes.len() == self.had.len()
            && self.had.iter().all(|one| self.attributes.contains(one));
        (old.st_uid, old.st_gid) == self.owner
            && (is_link || old.st_mode & 0o7777 == self.mode && same)
    }

    /// Makes `file` look so. The owner goes first: a change of owner takes setuid and capabilities away.
    pub(crate) fn put_on(&self, file: &File) -> Result<(), Errno> {
        use rustix::process::{Gid, Uid};
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        rustix::fs::fchown(file, Some(user), Some(group))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        attributes::put_on(file, &self.attributes)?;
        rustix::fs::futimens(file, &self.times())
    }

    pub(crate) fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.modified,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

/// Whether a file is empty and without rights: it holds the place of something else, and says nothing of it.
pub(crate) fn is_husk(file: &Stat) -> bool {
    file.st_size == 0 && file.st_mode & 0o7777 == 0
}

fn named(name: &str, number: u32) -> Owner {
    match name {
        "" => Owner::Number(number),
        name => Owner::Name(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_capability_is_another_look() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let capability = ("security.capability".to_string(), vec![1; 20]);
        let label = ("security.selinux".to_string(), b"a:b:c".to_vec());
        let look = |attributes: &[_], had: &[_]| Look {
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            modified: 0,
            attributes: attributes.to_vec(),
            had: had.to_vec(),
            notes: Vec::new(),
        };
        let both = [label.clone(), capability.clone()];
        assert!(look(&both, &[capability, label.clone()]).is_worn_by(&stat));
        assert!(!look(&both, std::slice::from_ref(&label)).is_worn_by(&stat));
        assert!(!look(&[label], &both).is_worn_by(&stat));
    }
}
