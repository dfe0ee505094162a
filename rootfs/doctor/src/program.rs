//! `doctor ROOT FILE…`: what is wrong with programs, by all that they are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kedge_packages::Database;
use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::closure::{Closure, Member, Objects, Role};
use crate::examine::examine_all;
use crate::links::{end_of_links, repair_target, without_links};
use crate::refused::{Refused, refused};
use crate::trouble::Trouble;
use crate::{Accounts, Difference, Examined, Gravity, shown, versions};

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
pub(crate) struct Programs<'a> {
    pub(crate) root: &'a Sysroot,
    pub(crate) names: Vec<String>,
    pub(crate) closures: Vec<Closure>,
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
                format!("has other rights than its package says; {who} {need} it")
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
        let mut differences = examined.owned.iter().flat_map(|owned| &owned.differences);
        let is_another_kind = differences.any(|d| matches!(d, Difference::Type { .. }));
        for refused in refused.into_iter().rev() {
            if let Some(says) = refused.says {
                trouble.facts.insert(0, says);
            }
            // Of what is none of the package's files, no mode is right.
            if let Some(mode) = refused.mode.filter(|_| !is_another_kind) {
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
}

/// "sshd dies", "sshd and login die", "sshd and 3 more programs die".
pub(crate) fn several<'a>(names: &[&str], one: &'a str, more: &'a str) -> (String, &'a str) {
    match names {
        [] => (String::new(), one),
        [name] => (name.to_string(), one),
        [first, second] => (format!("{first} and {second}"), more),
        [first, rest @ ..] => (format!("{first} and {} more programs", rest.len()), more),
    }
}
