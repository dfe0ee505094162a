//! What tmpfiles.d(5) of ROOT says of owners and modes: systemd-tmpfiles(8) gives them at every boot, whatever the package
//! manager had given.
//!
//! Only who may and which bits are read. What stands for several names (`*`, `%m`) stands for any one name here, and that
//! a file in `/etc` hides one in `/usr` is passed over: either way one rule too many is believed.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kedge_packages::Owner;
use kedge_sysroot::Sysroot;

use crate::Accounts;

const FOLDERS: [&str; 2] = ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"];
/// A file has some dozen lines, and a system some dozen files.
const LARGEST: u64 = 1 << 20;
const MOST_FILES: usize = 2000;
const MOST_RULES: usize = 10_000;
/// Each of these is held against every path that is asked for.
const MOST_PATTERNS: usize = 500;

/// What is given to a path.
#[derive(Debug)]
struct Rule {
    mode: Option<u32>,
    /// The bits depend on what is there: masked, or the mask of an access control list.
    any_mode: bool,
    user: Option<Owner>,
    group: Option<Owner>,
}

/// The rules.
#[derive(Debug, Default)]
pub(crate) struct Tmpfiles {
    paths: HashMap<Vec<u8>, Vec<Rule>>,
    /// With names that stand for several, or with all that is below.
    patterns: Vec<(Vec<u8>, bool, Rule)>,
}

impl Tmpfiles {
    pub(crate) fn of(root: &Sysroot) -> Tmpfiles {
        let mut all = Tmpfiles::default();
        let (mut files, mut rules) = (MOST_FILES, MOST_RULES);
        for folder in FOLDERS.map(Path::new) {
            for file in root.read_dir(folder).unwrap_or_default() {
                if file.name.extension().is_none_or(|ending| ending != "conf") {
                    continue;
                }
                if files == 0 || rules == 0 {
                    return all;
                }
                files -= 1;
                let text = root.read(&folder.join(file.name), LARGEST);
                for line in text.unwrap_or_default().split(|&byte| byte == b'\n') {
                    if let Some((path, below, rule)) = parse(line)
                        && rules > 0
                    {
                        rules -= 1;
                        all.add(path, below, rule);
                    }
                }
            }
        }
        all
    }

    fn add(&mut self, path: Vec<u8>, below: bool, rule: Rule) {
        let plain = !path.iter().any(|byte| b"*?[%\\".contains(byte));
        if plain && !below {
            self.paths.entry(path).or_default().push(rule);
        } else if self.patterns.len() < MOST_PATTERNS {
            self.patterns.push((path, below, rule));
        }
    }

    fn rules(&self, path: &Path) -> impl Iterator<Item = &Rule> {
        let path = path.as_os_str().as_bytes();
        let patterns = self.patterns.iter();
        let fitting = patterns.filter(move |(pattern, below, _)| fits(pattern, *below, path));
        let plain = self.paths.get(path).into_iter().flatten();
        plain.chain(fitting.map(|(.., rule)| rule))
    }

    /// Whether some rule gives `path` these bits.
    pub(crate) fn gives_mode(&self, path: &Path, mode: u32) -> bool {
        self.rules(path)
            .any(|rule| rule.any_mode || rule.mode == Some(mode))
    }

    /// Whether rules give `path` this user and this group, where they are not those of its package, `must`.
    pub(crate) fn gives_owner(
        &self,
        accounts: &Accounts,
        path: &Path,
        is: (u32, u32),
        must: (u32, u32),
    ) -> bool {
        let user = |rule: &Rule| rule.user.as_ref().and_then(|user| accounts.user(user));
        let group = |rule: &Rule| rule.group.as_ref().and_then(|group| accounts.group(group));
        (is.0 == must.0 || self.rules(path).any(|rule| user(rule) == Some(is.0)))
            && (is.1 == must.1 || self.rules(path).any(|rule| group(rule) == Some(is.1)))
    }
}

/// `type path mode user group age argument`: the path below ROOT, whether the rule is for all below it too, and the rule.
fn parse(line: &[u8]) -> Option<(Vec<u8>, bool, Rule)> {
    let line = line.trim_ascii();
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty());
    let kind = words.next()?.first()?;
    if !b"dDvqQezZmaA".contains(kind) {
        return None;
    }
    let mut word = || {
        let word = std::str::from_utf8(words.next()?).ok()?;
        let word = word.trim_matches(['"', '\'']);
        (word != "-").then_some(word)
    };
    let path = word()?.trim_matches('/').as_bytes().to_vec();
    if path.is_empty() {
        return None;
    }
    let mode = word();
    // `:` leaves what is there alone.
    let bare = mode.map(|mode| mode.trim_start_matches(':'));
    let owner = |word: Option<&str>| {
        let word = word?.trim_start_matches(':');
        Some(match word.parse() {
            Ok(number) => Owner::Number(number),
            Err(_) => Owner::Name(word.into()),
        })
    };
    let rule = Rule {
        any_mode: b"aA".contains(kind) || bare.is_some_and(|mode| mode.starts_with('~')),
        mode: bare.and_then(|mode| u32::from_str_radix(mode, 8).ok()),
        user: owner(word()),
        group: owner(word()),
    };
    Some((path, b"ZA".contains(kind), rule))
}

/// Name by name.
fn fits(pattern: &[u8], below: bool, path: &[u8]) -> bool {
    let mut names = path.split(|&byte| byte == b'/');
    let all = pattern.split(|&byte| byte == b'/').all(|pattern| {
        let several = pattern.iter().any(|byte| b"*?[%\\".contains(byte));
        names.next().is_some_and(|name| several || name == pattern)
    });
    all && (below || names.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_rule_gives_is_given() {
        let folder = std::env::temp_dir().join(format!("kedge-tmpfiles-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/passwd", "root:x:0:0\nhttp:x:33:33\n");
        write("etc/group", "systemd-journal:x:190:\n");
        write(
            "usr/lib/tmpfiles.d/systemd.conf",
            "# comment\nq /tmp 1777 root root 10d\nz /var/log/journal 2755 root systemd-journal - -\n\
             z /var/log/journal/%m 2755 root systemd-journal\nx /var/lib\nd\nd \u{ff}\n\
             L /etc/os-release - - - - x\nd \"/srv/http\" :0700 http :http\n",
        );
        write(
            "etc/tmpfiles.d/own.conf",
            "Z /srv/all ~0750 33 -\na+ /srv/acl - - - - g:x:r\n",
        );
        write("etc/tmpfiles.d/README", "d /etc 0777\n");
        let root = Sysroot::open(&folder).unwrap();
        let accounts = Accounts::of(&root);
        let rules = Tmpfiles::of(&root);
        for (path, mode, given) in [
            ("tmp", 0o1777, true),
            ("tmp", 0o777, false),
            ("tmp/x", 0o1777, false),
            ("var/log/journal", 0o2755, true),
            ("var/log/journal/0123", 0o2755, true),
            ("var/log/journal/0123/x", 0o2755, false),
            ("srv/http", 0o700, true),
            ("srv/all/a/b", 0o604, true),
            ("srv/acl", 0o770, true),
            ("srv/acl/x", 0o770, false),
            ("etc", 0o777, false),
            ("var/lib", 0o777, false),
        ] {
            assert_eq!(
                rules.gives_mode(Path::new(path), mode),
                given,
                "{path} {mode:o}"
            );
        }
        for (path, is, given) in [
            ("var/log/journal", (0, 190), true),
            ("var/log/journal", (0, 191), false),
            ("var/log/journal", (5, 190), false),
            ("srv/http", (33, 0), true),
            ("srv/all/x", (33, 0), true),
            ("srv/all/x", (33, 33), false),
        ] {
            let found = rules.gives_owner(&accounts, Path::new(path), is, (0, 0));
            assert_eq!(found, given, "{path} {is:?}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
