//! What the kernel or the dynamic linker does not take, whatever a database says: a file that is no ELF file, or that may
//! not be executed or read.

use std::os::unix::fs::FileExt;
use std::path::Path;

use kedge_sysroot::Sysroot;
use rustix::fs::{FileType, Stat};

use crate::closure::{Member, PRELOAD, Role};
use crate::{Examined, Gravity, shown};

/// The header of a 64-bit ELF file: the dynamic linker calls what is shorter too short.
const HEADER: usize = 64;
/// What is in these is there to be started.
const PROGRAMS: &[&str] = &["bin", "sbin", "libexec"];
/// Programs that are of no use to anybody but root without their setuid bit, and those that root alone can do with.
const SETUID: &[(&str, Gravity)] = &[
    ("su", Gravity::Rights),
    ("sudo", Gravity::Rights),
    ("passwd", Gravity::Rights),
    ("mount", Gravity::Odd),
    ("umount", Gravity::Odd),
];

/// Why a file is not taken.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) gravity: Gravity,
    /// One sentence without a full stop.
    pub(crate) text: String,
    /// Who says what about it.
    pub(crate) says: Option<(&'static str, String)>,
    /// It has the wrong mode, and must have such a one.
    pub(crate) mode: Option<u32>,
}

/// What stands against `member`, whose file was `examined`; `by` wants it.
pub(crate) fn refused(
    root: &Sysroot,
    examined: &Examined,
    member: &Member,
    by: Option<&Member>,
) -> Vec<Refused> {
    let Ok(stat) = root.metadata(&examined.path) else {
        return Vec::new();
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Vec::new();
    }
    let file = File {
        head: head(root, &examined.path),
        stat,
        examined,
        member,
        by,
    };
    file.kind().into_iter().chain(file.rights()).collect()
}

/// The first bytes; none of a file that cannot be read, which is told elsewhere.
fn head(root: &Sysroot, path: &Path) -> Option<Vec<u8>> {
    let file = root.open_file(path).ok()?;
    let mut head = vec![0; HEADER];
    let count = file.read_at(&mut head, 0).ok()?;
    head.truncate(count);
    Some(head)
}

struct File<'a> {
    head: Option<Vec<u8>>,
    stat: Stat,
    examined: &'a Examined,
    member: &'a Member,
    by: Option<&'a Member>,
}

impl File<'_> {
    fn kind(&self) -> Option<Refused> {
        let head = self.head.as_deref()?;
        if kedge_elf::is_elf(head) {
            return None;
        }
        let is_short = self.stat.st_size < HEADER as i64;
        let why = if is_short {
            "file too short"
        } else {
            "invalid ELF header"
        };
        // As the dynamic linker has it: the whole path.
        let path = shown::path(&self.member.path);
        let loading = || {
            let says = format!("error while loading shared libraries: {path}: {why}");
            Some(("ld.so", says))
        };
        let is_script = head.starts_with(b"#!");
        let says = match &self.member.role {
            Role::Library => loading(),
            Role::Program if self.examined.is_proven() || is_script => return None,
            Role::Program if is_library(&self.examined.path) => loading(),
            Role::Program if !self.is_to_start() => return None,
            Role::Program if is_text(head) => {
                let text = "it has neither an ELF header nor #!: the kernel does not start it, only a shell";
                return Some(Refused {
                    gravity: Gravity::Odd,
                    text: text.into(),
                    says: None,
                    mode: None,
                });
            }
            // Of a program the kernel reads this itself, and of a script's interpreter it takes scripts too.
            Role::Interpreter if self.by.is_some_and(|by| by.object.is_some()) => Some((
                "kernel",
                match is_short {
                    true => "exec: Input/output error (EIO)".into(),
                    false => "exec: Accessing a corrupted shared library (ELIBBAD)".into(),
                },
            )),
            Role::Interpreter if is_script => return None,
            Role::Program | Role::Interpreter => {
                Some(("kernel", "exec: Exec format error (ENOEXEC)".into()))
            }
            Role::Module(from) if *from == Path::new(PRELOAD) => {
                let says = format!(
                    "ERROR: ld.so: object '{path}' from /{PRELOAD} cannot be preloaded ({why}): ignored."
                );
                Some(("ld.so", says))
            }
            Role::Module(_) | Role::Sometimes => Some(("dlopen", format!("{path}: {why}"))),
            Role::PassedOver | Role::Configuration => return None,
        };
        Some(Refused {
            gravity: Gravity::Fatal,
            text: match self.stat.st_size {
                0 => "it is empty".into(),
                _ => "it is no ELF file: that is not how one begins".into(),
            },
            says,
            mode: None,
        })
    }

    /// Where a database knows modes, it has been compared.
    fn rights(&self) -> Option<Refused> {
        let known = |owned: &crate::Owned| owned.entry.mode.is_some();
        if self.examined.owned.iter().any(known) {
            return None;
        }
        let mode = self.stat.st_mode & 0o7777;
        let refused = |gravity, says: Option<&str>, whom: &str, must| {
            Some(Refused {
                gravity,
                text: format!("its mode is {mode:04o}: {whom}"),
                says: says.map(|says| ("kernel", says.into())),
                mode: Some(must),
            })
        };
        let denied = Some("exec: Permission denied (EACCES)");
        match self.member.role {
            Role::Program if mode & 0o111 == 0 && self.is_to_start() && self.can_start() => {
                refused(Gravity::Fatal, denied, "nobody may execute it", 0o755)
            }
            Role::Interpreter if mode & 0o111 == 0 => {
                refused(Gravity::Fatal, denied, "nobody may execute it", 0o755)
            }
            Role::Program => {
                let name = self.examined.path.file_name()?;
                let (_, gravity) = SETUID.iter().find(|(program, _)| name == *program)?;
                let has = mode & 0o4000 != 0 || self.stat.st_uid != 0;
                if has || !self.examined.is_owned() {
                    return None;
                }
                let whom = "it has no setuid bit, and does its work for root only";
                refused(*gravity, None, whom, mode | 0o4000)
            }
            Role::Library | Role::Module(_) if mode & 0o444 == 0 => {
                refused(Gravity::Damaged, None, "nobody but root may read it", 0o644)
            }
            Role::Library | Role::Module(_) if mode & 0o004 == 0 => {
                // What nobody's package has may be for one user.
                let gravity = match self.examined.is_owned() {
                    true => Gravity::Rights,
                    false => Gravity::Odd,
                };
                refused(gravity, None, "not everybody may read it", mode | 0o444)
            }
            _ => None,
        }
    }

    /// Whether it is there to be started, as opposed to a text that somebody asks about.
    fn is_to_start(&self) -> bool {
        let folder = self.examined.path.parent().and_then(Path::file_name);
        let in_programs = folder.is_some_and(|folder| PROGRAMS.iter().any(|name| folder == *name));
        in_programs || self.stat.st_mode & 0o111 != 0
    }

    /// A program, as opposed to a library, or a text beside programs.
    fn can_start(&self) -> bool {
        match &self.member.object {
            Some(object) => object.interpreter.is_some() && !is_library(&self.examined.path),
            None => self.head.as_ref().is_some_and(|h| h.starts_with(b"#!")),
        }
    }
}

/// libc.so.6 and pam_cap.so can be started as programs, but that is not what they are for.
pub(crate) fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".so") || name.starts_with("lib") && name.contains(".so.")
}

/// What a shell would take for its own script.
fn is_text(head: &[u8]) -> bool {
    let printed = |&b: &u8| b >= b' ' && b != 0x7f || b"\t\r\n".contains(&b);
    !head.is_empty() && std::str::from_utf8(head).is_ok() && head.iter().all(printed)
}
