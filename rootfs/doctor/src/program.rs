//! `doctor ROOT FILE…`: what is wrong with programs, by all that they are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kedge_packages::Database;
use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::closure::{Absent, Closure, Member, Objects, Role};
use crate::examine::examine_all;
use crate::refused::{Refused, refused};
use crate::trouble::Trouble;
use crate::{Accounts, Examined, Gravity, shown, versions};

/// Where programs are, the first that has one counts.
pub(crate) const FOLDERS: &[&str] = &[
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
    "usr/local/sbin",
    "usr/local/bin",
];

/// What was found.
#[derive(Default)]
pub(crate) struct Diagnosis {
    pub(crate) troubles: Vec<Trouble>,
    /// Files that were looked at.
    pub(crate) files: usize,
    /// What kept it from looking at something.
    pub(crate) complaints: Vec<String>,
}

/// Programs with what they are made of.
struct Programs<'a> {
    root: &'a Sysroot,
    names: Vec<String>,
    closures: Vec<Closure>,
}

/// Where a file is in the closures: which program, which member.
type Uses = BTreeMap<PathBuf, Vec<(usize, usize)>>;

/// Looks at the programs and all that they load. One that is not there is a complaint.
pub(crate) fn diagnose(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    programs: &[PathBuf],
) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let objects = Objects::default();
    let mut all = Programs {
        root,
        names: Vec::new(),
        closures: Vec::new(),
    };
    for program in programs {
        if is_folder(root, program) {
            let path = root.outside(program);
            diagnosis.complaints.push(format!(
                "{} is a folder: name a program or library in it, or none for all",
                path.display()
            ));
            continue;
        }
        match Closure::with(root, program, &objects) {
            Ok(closure) => {
                let name = program.file_name().unwrap_or(program.as_os_str());
                all.names.push(name.to_string_lossy().into_owned());
                all.closures.push(closure);
            }
            Err(error) => match gone(root, databases, program) {
                Some(trouble) => diagnosis.troubles.push(trouble),
                None if error.is_missing() => diagnosis.complaints.push(error.to_string()),
                // It is no name that somebody mistyped.
                None => diagnosis
                    .troubles
                    .push(Trouble::unreadable(program, &error)),
            },
        }
    }
    let uses = all.uses();
    let paths: Vec<PathBuf> = uses.keys().cloned().collect();
    diagnosis.files = paths.len();
    let accounts = Accounts::of(root);
    let mut errors = Vec::new();
    let mut examined = examine_all(root, databases, &accounts, &paths, &mut errors);
    let complaints = errors.iter().map(ToString::to_string);
    diagnosis.complaints.extend(complaints);
    for (one, uses) in examined.iter_mut().zip(uses.values()) {
        diagnosis.troubles.extend(all.damaged(databases, one, uses));
    }
    diagnosis.troubles.extend(all.all_absent(databases));
    for (program, closure) in all.closures.iter().enumerate() {
        let name = &all.names[program];
        diagnosis
            .troubles
            .extend(versions::troubles(root, name, closure));
        if closure.unfinished {
            diagnosis.complaints.push(format!(
                "{name} needs more libraries from more folders than any program does: not all were looked for"
            ));
        }
        for note in &closure.notes {
            if !diagnosis.troubles.iter().any(|t| t.headline == *note) {
                let trouble = Trouble::new(Gravity::Damaged, note)
                    .next(format!("chroot {} ldconfig", shown::typed(root.path())));
                diagnosis.troubles.push(trouble);
            }
        }
    }
    crate::trouble::sort(&mut diagnosis.troubles);
    diagnosis.troubles.dedup_by(|a, b| a.headline == b.headline);
    diagnosis
}

fn is_folder(root: &Sysroot, path: &Path) -> bool {
    let stat = root.metadata(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// A program that is not there, and that a package says must be.
fn gone(root: &Sysroot, databases: &[Box<dyn Database + '_>], program: &Path) -> Option<Trouble> {
    let examined = crate::examine(root, databases, program).ok()?;
    let owned = examined.is_owned();
    let trouble = Trouble::of(&examined, root.path(), "cannot be started")?;
    owned.then_some(trouble)
}

/// What to type for a link that leads nowhere: what it leads to is what has to be put back.
pub(crate) fn repair_target(root: &Sysroot, link: &Path) -> Vec<String> {
    let path = end_of_links(root, link);
    let path = shown::typed(Path::new(&shown::path(&path)));
    vec![format!("repair {} {path}", shown::typed(root.path()))]
}

/// The folder in the root of a system with a merged `/usr` whose link is gone, where that is why `name` is not there.
fn lost_link(root: &Sysroot, name: &str) -> Option<&'static str> {
    let path = Path::new(name.strip_prefix('/')?);
    let end = end_of_links(root, path);
    ["bin", "sbin", "lib", "lib64"].into_iter().find(|folder| {
        let link = root.symlink_metadata(Path::new(folder));
        end.starts_with(folder)
            && link.is_err_and(|error| error.is_missing())
            && root.exists(&Path::new("usr").join(&end))
    })
}

/// The path below ROOT that somebody means who typed the path as it is seen from outside, or the name of a program.
pub(crate) fn meant(root: &Sysroot, typed: &Path) -> PathBuf {
    let missing = |path: &Path| root.symlink_metadata(path).is_err_and(|e| e.is_missing());
    if !missing(typed) {
        return typed.into();
    }
    if let Ok(below) = typed.strip_prefix(root.path())
        && root.path() != Path::new("/")
    {
        return below.into();
    }
    let is_name = typed.components().count() == 1 && typed.is_relative();
    let folders = FOLDERS.iter().filter(|_| is_name);
    let mut places = folders.map(|folder| Path::new(folder).join(typed));
    places.find(|place| !missing(place)).unwrap_or(typed.into())
}

/// Where a chain of links ends, whether there is anything or not.
pub(crate) fn end_of_links(root: &Sysroot, link: &Path) -> PathBuf {
    let mut path = link.to_path_buf();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = root.read_link(&path) else {
            break;
        };
        let next = match target.strip_prefix("/") {
            Ok(absolute) => absolute.to_path_buf(),
            Err(_) => path.parent().unwrap_or(Path::new("")).join(&target),
        };
        path = without_links(root, &next);
    }
    path
}

impl Programs<'_> {
    /// Every file once: as it was come to, and what is really there.
    fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (program, closure) in self.closures.iter().enumerate() {
            for (index, member) in closure.members.iter().enumerate() {
                let itself = without_links(self.root, &member.path);
                let real = member.real.clone().filter(|real| *real != itself);
                for path in [Some(itself), real].into_iter().flatten() {
                    uses.entry(path).or_default().push((program, index));
                }
            }
        }
        uses
    }

    fn member(&self, (program, index): (usize, usize)) -> &Member {
        &self.closures[program].members[index]
    }

    fn damaged(
        &self,
        databases: &[Box<dyn Database + '_>],
        examined: &mut Examined,
        uses: &[(usize, usize)],
    ) -> Option<Trouble> {
        let before = examined.gravity();
        let end = self.leads_nowhere(examined);
        let refused = self.refused(examined, uses);
        let roles: Vec<&Role> = uses.iter().map(|at| &self.member(*at).role).collect();
        let must = |role: &&&Role| {
            matches!(
                role,
                Role::Program | Role::Interpreter | Role::Library | Role::PassedOver
            )
        };
        let needed = roles.iter().find(must).is_some();
        let mut names: Vec<&str> = uses.iter().map(|at| self.names[at.0].as_str()).collect();
        names.dedup();
        let (who, die) = several(&names, "dies", "die");
        let (_, need) = several(&names, "needs", "need");
        let (_, load) = several(&names, "loads", "load");
        let (_, read) = several(&names, "reads", "read");
        let gravity = examined.gravity();
        let module = roles.iter().find_map(|role| match role {
            Role::Module(from) => Some(from),
            _ => None,
        });
        let headline = match (gravity, needed, module) {
            _ if examined.is_lost() => format!("cannot be read from the disk; {who} {need} it"),
            _ if end.is_some() => format!("leads nowhere: {who} {die} at start"),
            (Gravity::Rights, ..) if before == Gravity::Whole => {
                format!("has not the mode that it must have; {who} {need} it")
            }
            (Gravity::Rights, ..) => {
                format!("has another owner or mode than its package says; {who} {need} it")
            }
            (Gravity::Odd, ..) => format!("is odd; {who} {need} it"),
            (Gravity::Fatal, true, _) => format!("is damaged: {who} {die} at start"),
            (_, true, _) => format!("is not as it must be; {who} {need} it"),
            (_, _, Some(from)) => {
                let from = shown::path(from);
                format!("is damaged; {who} {load} it, because {from} says so")
            }
            (..) if roles.contains(&&Role::Configuration) => format!("is damaged; {who} {read} it"),
            (..) => format!("is damaged; {who} {load} it for some things"),
        };
        let mut trouble = Trouble::of(examined, self.root.path(), &headline)?;
        let outside = || shown::typed(&self.root.outside(&examined.path));
        for refused in refused.into_iter().rev() {
            if let Some(says) = refused.says {
                trouble.facts.insert(0, says);
            }
            if let Some(mode) = refused.mode {
                if before == Gravity::Whole {
                    trouble.next.clear();
                }
                trouble = trouble.next(format!("chmod {mode:04o} {}", outside()));
            }
        }
        if let Some(end) = end {
            let owners = databases.iter().flat_map(|database| {
                let owners = database.owners(&[&end]).unwrap_or_default();
                owners.into_iter().flatten()
            });
            if owners.count() > 0 {
                trouble.next = repair_target(self.root, &examined.path);
            } else if !examined.is_owned() {
                let end = shown::path(&end);
                trouble.next = vec![format!(
                    "no package has {end}: it has to come from a backup"
                )];
            }
        }
        // Nearer to the program, and what cannot be done without, first; what its package vouches against before what only
        // looks odd.
        let depth = uses.iter().map(|at| self.depth(*at)).min().unwrap_or(0);
        let unproven = usize::from(examined.owned.iter().all(|o| o.differences.is_empty()));
        trouble.rank = usize::from(!needed) * 1000 + unproven * 100 + depth;
        if gravity == Gravity::Fatal && !needed {
            trouble.gravity = Gravity::Damaged;
        }
        if depth > 1 {
            trouble = trouble.fact("needed", self.chain(uses[0]));
        }
        Some(trouble)
    }

    /// Where a link ends that leads to nothing; that is then what is wrong with it. Not of a link that was turned elsewhere:
    /// that one itself has to be put back.
    fn leads_nowhere(&self, examined: &mut Examined) -> Option<PathBuf> {
        let missing = self.root.metadata(&examined.path).err()?.is_missing();
        let end = end_of_links(self.root, &examined.path);
        let mut differences = examined.owned.iter().flat_map(|owned| &owned.differences);
        if !missing || end == examined.path || differences.next().is_some() {
            return None;
        }
        examined.oddities.clear();
        let text = format!("it leads to {}, which is not there", shown::path(&end));
        examined.say(Gravity::Fatal, text);
        Some(end)
    }

    /// What the kernel or the dynamic linker says of a file that is no ELF file at all, or that may not be used: for each
    /// kind of use once.
    fn refused(&self, examined: &mut Examined, uses: &[(usize, usize)]) -> Vec<Refused> {
        let mut seen: Vec<&Role> = Vec::new();
        let mut all: Vec<Refused> = Vec::new();
        for at in uses {
            let member = self.member(*at);
            if member.real.as_ref() != Some(&examined.path) || seen.contains(&&member.role) {
                continue;
            }
            seen.push(&member.role);
            let by = member.wanted_by.map(|by| self.member((at.0, by)));
            all.extend(refused(self.root, examined, member, by));
        }
        for refused in &all {
            let known = examined.oddities.iter().any(|o| o.text == refused.text);
            if !known {
                examined.say(refused.gravity, refused.text.clone());
            }
        }
        all
    }

    fn depth(&self, mut at: (usize, usize)) -> usize {
        let mut depth = 0;
        while let Some(by) = self.member(at).wanted_by
            && depth < 100
        {
            at.1 = by;
            depth += 1;
        }
        depth
    }

    /// "sshd needs libgssapi_krb5.so.2 needs libkrb5.so.3".
    fn chain(&self, at: (usize, usize)) -> String {
        let mut names = Vec::new();
        let mut next = Some(at.1);
        while let Some(index) = next.filter(|_| names.len() < 100) {
            let member = self.member((at.0, index));
            let name = member.path.file_name().unwrap_or_default();
            names.push(name.to_string_lossy().into_owned());
            next = member.wanted_by;
        }
        names.reverse();
        format!("by {}", names.join(" -> "))
    }

    /// What is not there, each once, with all that want it.
    fn all_absent(&self, databases: &[Box<dyn Database + '_>]) -> Vec<Trouble> {
        let mut wanted: BTreeMap<&str, Vec<(usize, &Absent)>> = BTreeMap::new();
        for (program, closure) in self.closures.iter().enumerate() {
            for absent in &closure.absent {
                let by = wanted.entry(absent.name.as_str()).or_default();
                by.push((program, absent));
            }
        }
        let all = wanted.values();
        all.map(|by| self.absent(by, databases)).collect()
    }

    fn absent(&self, by: &[(usize, &Absent)], databases: &[Box<dyn Database + '_>]) -> Trouble {
        // Whom it kills counts, not who does without.
        let (program, absent) = *by
            .iter()
            .find(|(_, absent)| !absent.minor)
            .unwrap_or(&by[0]);
        let by_names: Vec<&str> = by.iter().map(|by| self.names[by.0].as_str()).collect();
        let (name, die) = several(&by_names, "dies", "die");
        let by = &self.closures[program].members[absent.wanted_by];
        let root = shown::typed(self.root.path());
        let by_path = shown::path(&by.path);
        if let Some(from) = &absent.module_of {
            let from = shown::path(from);
            let headline = format!(
                "{} is not there: {from} says that {name} shall load it",
                absent.name
            );
            let gravity = match absent.minor {
                true => Gravity::Odd,
                false => Gravity::Damaged,
            };
            let mut trouble = Trouble::new(gravity, headline);
            trouble.rank = 500;
            return self.owner_of(trouble, absent, by, databases);
        }
        if let Some(folder) = lost_link(self.root, &absent.name) {
            let headline = format!("/{folder} is not there, and must be a link to usr/{folder}");
            let outside = shown::typed(&self.root.outside(Path::new(folder)));
            return Trouble::new(Gravity::Fatal, headline)
                .fact(
                    "needed",
                    format!("{name} {die} at start without {}", absent.name),
                )
                .next(format!("ln -s usr/{folder} {outside}"));
        }
        let headline = format!("{} is not there: {name} {die} at start", absent.name);
        let mut trouble =
            Trouble::new(Gravity::Fatal, headline).fact("needed", format!("by {by_path}"));
        let is_library = absent.name.contains(".so");
        if is_library {
            trouble = trouble.fact(
                "ld.so",
                format!(
                    "error while loading shared libraries: {}: cannot open shared object file: No such file or directory",
                    absent.name
                ),
            );
        }
        let passed_over = self.closures[program].members.iter().filter(|member| {
            member.role == Role::PassedOver
                && member
                    .path
                    .file_name()
                    .is_some_and(|name| *name == *absent.name)
        });
        for member in passed_over {
            let path = shown::path(&member.path);
            trouble = trouble.fact("passed", format!("{path} is there, and its ELF header says that it is for another kind of machine"));
        }
        if let Some(uncached) = &absent.uncached {
            let path = shown::path(uncached);
            return trouble
                .fact(
                    "found",
                    format!("{path} is there, but /etc/ld.so.cache does not have it"),
                )
                .next(format!("chroot {root} ldconfig"));
        }
        self.owner_of(trouble, absent, by, databases)
    }

    /// Asks the databases for a file of that name beside the one that needs it, and where libraries are.
    fn owner_of(
        &self,
        mut trouble: Trouble,
        absent: &Absent,
        by: &Member,
        databases: &[Box<dyn Database + '_>],
    ) -> Trouble {
        let root = shown::typed(self.root.path());
        let name = absent.name.trim_start_matches('/');
        let places = self.places(name, by);
        let asked: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
        for database in databases {
            let owners = database.owners(&asked).unwrap_or_default();
            for (place, owners) in asked.iter().zip(owners) {
                let Some(package) = owners.first().and_then(|&i| database.packages().get(i)) else {
                    continue;
                };
                let end = end_of_links(self.root, place);
                if end != **place {
                    let (from, to) = (shown::path(place), shown::path(&end));
                    trouble =
                        trouble.fact("link", format!("{from} leads to {to}, which is not there"));
                }
                let path = shown::path(&end);
                let of = format!("{path} belongs to {} {}", package.name, package.version);
                trouble.package = Some((package.name.clone(), package.version.clone()));
                trouble.path = Some(end);
                return trouble
                    .fact("package", of)
                    .next(format!("repair {root} {}", shown::typed(Path::new(&path))));
            }
        }
        trouble.fact(
            "package",
            "no installed package has a file of that name in a folder of libraries",
        )
    }

    fn places(&self, name: &str, by: &Member) -> Vec<PathBuf> {
        if name.contains('/') {
            return vec![name.into()];
        }
        let beside = by.real.as_deref().unwrap_or(&by.path).parent();
        let members = self.closures.iter().flat_map(|closure| &closure.members);
        let mut folders: Vec<PathBuf> = members
            .filter(|member| matches!(member.role, Role::Library | Role::Module(_)))
            .filter_map(|member| Some(member.real.as_deref()?.parent()?.to_path_buf()))
            .chain(beside.map(Path::to_path_buf))
            .chain(beside.map(|folder| folder.join("security")))
            .chain(["lib64", "usr/lib64", "lib", "usr/lib"].map(PathBuf::from))
            .collect();
        folders.sort();
        folders.dedup();
        folders
            .into_iter()
            .map(|folder| folder.join(name))
            .collect()
    }
}

/// "sshd dies", "sshd and login die", "sshd and 3 more programs die".
fn several<'a>(names: &[&str], one: &'a str, more: &'a str) -> (String, &'a str) {
    match names {
        [] => (String::new(), one),
        [name] => (name.to_string(), one),
        [first, second] => (format!("{first} and {second}"), more),
        [first, rest @ ..] => (format!("{first} and {} more programs", rest.len()), more),
    }
}

/// The path with links of its folders followed, but not its last name.
pub(crate) fn without_links(root: &Sysroot, path: &Path) -> PathBuf {
    let folder = path.parent().map(|folder| root.real_path(folder));
    match (folder, path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path.into(),
    }
}
