//! What programs need that is not there, and whose it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kedge_packages::Database;

use crate::closure::{Absent, Member, Role};
use crate::links::{end_of_links, lost_link};
use crate::program::{Programs, several};
use crate::trouble::Trouble;
use crate::{Gravity, shown};

impl Programs<'_> {
    /// What is not there, each once, with all that want it.
    pub(crate) fn all_absent(&self, databases: &[Box<dyn Database + '_>]) -> Vec<Trouble> {
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
