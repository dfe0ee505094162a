//! Users and groups of ROOT, by ROOT's own `/etc/passwd` and `/etc/group` (passwd(5), group(5)).

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use kedge_packages::Owner;
use kedge_sysroot::Sysroot;

use crate::tmpfiles::Tmpfiles;

/// More is no machine's own list.
const LONGEST: u64 = 16 << 20;

/// Names to numbers and back.
#[derive(Debug, Default)]
pub struct Accounts {
    users: Names,
    groups: Names,
    tmpfiles: OnceLock<Tmpfiles>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
    names: HashMap<u32, String>,
}

impl Accounts {
    /// Reads them; a system without these files has numbers only.
    pub fn of(root: &Sysroot) -> Accounts {
        let read = |path| Names::parse(&root.read(Path::new(path), LONGEST).unwrap_or_default());
        Accounts {
            users: read("etc/passwd"),
            groups: read("etc/group"),
            tmpfiles: OnceLock::new(),
        }
    }

    /// The user's number; `None` for a name that ROOT does not have in its own files.
    pub fn user(&self, owner: &Owner) -> Option<u32> {
        self.users.number(owner)
    }

    /// The group's number, likewise.
    pub fn group(&self, owner: &Owner) -> Option<u32> {
        self.groups.number(owner)
    }

    /// What is given to others at every boot. It is read when somebody asks: on most systems nothing differs.
    pub(crate) fn tmpfiles(&self, root: &Sysroot) -> &Tmpfiles {
        self.tmpfiles.get_or_init(|| Tmpfiles::of(root))
    }

    /// "root:adm": names where there are some.
    pub(crate) fn both(&self, user: u32, group: u32) -> String {
        format!("{}:{}", self.users.name(user), self.groups.name(group))
    }
}

impl Names {
    /// `NAME:PASSWORD:NUMBER:…`, a line each; other lines are passed over. The first of a number or name counts, as in libc.
    fn parse(text: &[u8]) -> Names {
        let mut names = Names::default();
        for line in String::from_utf8_lossy(text).lines() {
            let mut fields = line.split(':');
            let (name, number) = (fields.next(), fields.nth(1));
            let Some((name, Ok(number))) = name.zip(number.map(str::parse)) else {
                continue;
            };
            names.numbers.entry(name.into()).or_insert(number);
            names.names.entry(number).or_insert_with(|| name.into());
        }
        names
    }

    fn number(&self, owner: &Owner) -> Option<u32> {
        match owner {
            Owner::Number(number) => Some(*number),
            // A tree without these files still has its root.
            Owner::Name(name) if name == "root" => Some(0),
            Owner::Name(name) => self.numbers.get(name).copied(),
        }
    }

    fn name(&self, number: u32) -> String {
        let name = self.names.get(&number);
        name.map_or_else(|| number.to_string(), String::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts_and_nonsense_is_passed_over() {
        let names =
            Names::parse(b"root:x:0:0\nme:x:7:7\nme:x:8:8\n\nbad:x\nworse:x:-1:\n+::::\n\xff:x:9");
        assert_eq!(names.number(&Owner::Name("me".into())), Some(7));
        assert_eq!(names.number(&Owner::Name("bad".into())), None);
        assert_eq!(names.number(&Owner::Number(5)), Some(5));
        assert_eq!((&*names.name(0), &*names.name(55)), ("root", "55"));
    }
}
