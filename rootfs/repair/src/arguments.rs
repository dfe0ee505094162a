//! What was typed.

use std::path::PathBuf;

use kedge_sources::From;

/// What `kedge help repair` says.
pub const HELP: &str = "\
usage: repair ROOT FILE...|PACKAGE...|--all-damaged [--from PLACE] [--dry-run]
       repair ROOT --undo [N] [--dry-run]
       repair ROOT --verify FILE...

Puts the very same file of the very same package back in place. ROOT is where
the system is mounted; FILE is named as that system names it. The package comes
from the system's own sources, with its own keys in ROOT; what is in it must
also equal the checksum that ROOT's package database has. Nothing is written
but beside the file, until the new one is whole; the damaged one is kept in
ROOT/var/lib/kedge/quarantine.

  PACKAGE          all its files that are damaged (NAME or NAME:ARCHITECTURE)
  --all-damaged    all that 'verify ROOT' finds
  --from PLACE     instead of the system's own sources:
                   a package file, a folder of them, the URL of a package or
                   of a mirror; or, without a package, a copy that the local
                   checksum proves: FILE itself as a file, a URL that ends in
                   its name or what tcp://HOST:PORT sends, or the root of
                   another system of the same release, as a folder or a URL
                   (behind which no links are to be seen);
                   or 'itself': undoes what was done to the damaged file where
                   the local checksum proves it (flipped bits, two blocks in
                   each other's place), without any package or network
  --dry-run        only says what would be done, and from where
  --scratch FOLDER where what is fetched is kept, if memory is too small
  --accept-expired believe an index of packages whose Valid-Until is over, and
                   what keys signed or vouched for that have expired since
  --unsigned       believes a package that nobody vouches for: also what the
                   local database has no checksum of, and mode, owner and
                   capabilities, of which it else gives no more than there were
  --force          also on a disk that is failing; with --undo, also what was
                   changed since
  --undo [N]       puts back what repair number N replaced; without N, lists
  --verify         only tries to load FILE with ROOT's own dynamic linker
  --json           one object

  repair /mnt /usr/lib/x86_64-linux-gnu/libcrypto.so.3 --dry-run
  repair /mnt libssl3 --from http://192.0.2.1/debian
  repair /mnt /usr/lib/x86_64-linux-gnu/libcrypto.so.3 --from itself
  repair /mnt /usr/lib/x86_64-linux-gnu/libcrypto.so.3 --from /backup
  repair /mnt --all-damaged --from http://192.0.2.9:8000
                        there, as nobody: python3 -m http.server 8000 -d /
  repair /mnt /usr/bin/ssh --from tcp://192.0.2.9:9000
                        there: nc -l -p 9000 < /usr/bin/ssh
  repair /mnt --all-damaged
  repair /mnt /usr/bin/sudo --from my-own-sudo.deb --unsigned
  repair /mnt --undo 1

A configuration file is only replaced when it is named. ctrl-C ends it between
two files.

Exit status: 0 all is as it must be; 1 something could not be repaired, or does
not load; 2 wrong use, or could not look; 3 refused: mounted read-only, a
failing disk, another one at work; 130 ctrl-C.
";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Files and packages.
    Named(Vec<String>),
    /// All that differs.
    All,
    /// What can be undone.
    ListUndo,
    /// One of them.
    Undo(u64),
    /// Loads files.
    Verify(Vec<String>),
}

/// Where content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// The system's own sources.
    Sources,
    /// What is left of the file.
    Itself,
    /// Where packages may be, or copies.
    Place(From),
    /// One copy, sent once: host and port.
    Tcp(String, u16),
}

/// What was typed, made sense of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) root: PathBuf,
    pub(crate) work: Work,
    pub(crate) whence: Whence,
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) accept_expired: bool,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
    /// Believe what nobody vouches for.
    pub(crate) unsigned: bool,
    pub(crate) json: bool,
}

pub(crate) fn parse(arguments: &[String]) -> Result<Order, String> {
    let mut names = Vec::new();
    let (mut whence, mut scratch) = (Whence::Sources, None);
    let (mut all, mut undo, mut list, mut verify) = (false, false, false, false);
    let (mut accept_expired, mut dry_run, mut json) = (false, false, false);
    let (mut force, mut unsigned) = (false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let flag = match argument.as_str() {
            "--from" => {
                let place = rest.next().filter(|place| !place.is_empty());
                whence = whence_of(place.ok_or("--from needs a URL, a file or a folder")?)?;
                continue;
            }
            "--scratch" => {
                scratch = Some(rest.next().ok_or("--scratch needs a folder")?.into());
                continue;
            }
            "--all-damaged" => &mut all,
            "--undo" => &mut undo,
            "--list" => &mut list,
            "--verify" => &mut verify,
            "--accept-expired" => &mut accept_expired,
            "--dry-run" | "-n" => &mut dry_run,
            "--force" => &mut force,
            "--unsigned" => &mut unsigned,
            "--json" => &mut json,
            option if option.starts_with('-') => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            "" => return Err("an empty name is no file and no package".into()),
            _ => {
                names.push(argument.clone());
                continue;
            }
        };
        *flag = true;
    }
    if names.is_empty() {
        return Err("which system? repair ROOT FILE, ROOT being where it is mounted".into());
    }
    let root = PathBuf::from(names.remove(0));
    let work = match (all, undo, verify, names.as_slice()) {
        (true, false, false, []) => Work::All,
        (true, ..) => return Err("--all-damaged takes no names and no other work".into()),
        (_, true, false, []) => Work::ListUndo,
        (_, true, false, [number]) if !list => Work::Undo(number.parse().map_err(|_| {
            format!(
                "--undo takes a number that repair ROOT --undo lists, not '{}'",
                number.escape_debug()
            )
        })?),
        (_, true, ..) => return Err("--undo takes one number, or none".into()),
        (.., []) => return Err("repair what? a FILE, a PACKAGE, or --all-damaged".into()),
        (_, _, true, _) => Work::Verify(names),
        _ => Work::Named(names),
    };
    if list && !undo {
        return Err("--list goes with --undo".into());
    }
    if whence != Whence::Sources && !matches!(work, Work::Named(_) | Work::All) {
        return Err("--from goes with files and packages that are to be repaired".into());
    }
    Ok(Order {
        root,
        work,
        whence,
        scratch,
        accept_expired,
        dry_run,
        force,
        unsigned,
        json,
    })
}

fn whence_of(place: &str) -> Result<Whence, String> {
    if place == "itself" {
        return Ok(Whence::Itself);
    }
    let scheme = place
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_scheme = |name: &str| {
        let rest = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(rest)
    };
    match scheme.as_deref() {
        Some("http" | "https") => Ok(Whence::Place(From::Url(place.into()))),
        Some("tcp") => {
            let (host, port) = kedge_web::raw_address(place)?;
            Ok(Whence::Tcp(host, port))
        }
        Some(other) if is_scheme(other) => Err(format!(
            "--from takes a URL of http://, https:// or tcp://, a file or a folder; {other}:// is not understood"
        )),
        _ => Ok(Whence::Place(From::Path(place.into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Order, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        parse(&words)
    }

    #[test]
    fn the_first_name_is_the_system() {
        let order = typed("/mnt --from http://a/b /usr/bin/x pkg --dry-run").unwrap();
        assert_eq!(order.root, PathBuf::from("/mnt"));
        assert_eq!(
            order.work,
            Work::Named(vec!["/usr/bin/x".into(), "pkg".into()])
        );
        let url = From::Url("http://a/b".into());
        assert_eq!(order.whence, Whence::Place(url));
        assert!(order.dry_run && !order.force && !order.unsigned);
        let whence = |place: &str| typed(&format!("/mnt x --from {place}")).map(|o| o.whence);
        assert_eq!(whence("itself"), Ok(Whence::Itself));
        assert_eq!(whence("tcp://h:9"), Ok(Whence::Tcp("h".into(), 9)));
        let order = typed("/mnt x --unsigned").unwrap();
        assert!(order.unsigned && !order.force);
        let empty = ["/mnt", "x", "--from", ""].map(str::to_string);
        assert!(parse(&empty).is_err());
        for path in ["a.deb", "./itself", "./http:/x", "a b://c", "://"] {
            let path = path.to_string();
            assert_eq!(whence_of(&path), Ok(Whence::Place(From::Path(path.into()))));
        }
        assert_eq!(typed("/mnt --undo 3").unwrap().work, Work::Undo(3));
        assert_eq!(typed("/mnt --undo --list").unwrap().work, Work::ListUndo);
        assert_eq!(typed("/mnt --all-damaged").unwrap().work, Work::All);
        assert_eq!(
            typed("/mnt --verify a/b").unwrap().work,
            Work::Verify(vec!["a/b".into()])
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "/mnt",
            "/mnt --all-damaged x",
            "/mnt --all-damaged --undo",
            "/mnt --undo x",
            "/mnt --undo 1 2",
            "/mnt --list x",
            "/mnt --undo 1 --from itself",
            "/mnt --verify x --from http://h/debian",
            "/mnt --from",
            "/mnt x --frob",
            "/mnt x --from ftp://h/a.deb",
            "/mnt x --from SSH://h/a.deb",
            "/mnt x --from file:///a.deb",
            "/mnt x --from tcp://h",
            "/mnt --verify",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        assert!(HELP.lines().all(|line| line.len() < 80 && line.is_ascii()));
    }
}
