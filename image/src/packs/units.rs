//! What can be loaded by itself: programs, with everything that they need.

use std::collections::{BTreeMap, BTreeSet};

use crate::packs::closure::{self, Closure, Resolver};
use crate::packs::content::{Contents, File, Kind};
use crate::packs::description::{Libraries, Pack, Package, Programs};

/// Why programs cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program needs what there is not.
    #[error("pack \"{pack}\": program {program}: {source}")]
    Closure {
        /// The pack.
        pack: String,
        /// The program.
        program: String,
        /// What is missing, and who needs it.
        source: Box<closure::Error>,
    },
    /// The package has no such program.
    #[error(
        "pack \"{pack}\": package {package} has no program {program}{}",
        have(programs)
    )]
    NoProgram {
        /// The pack.
        pack: String,
        /// The package.
        package: String,
        /// The program.
        program: String,
        /// What it has.
        programs: Vec<String>,
    },
    /// Nothing of the package can be run.
    #[error(
        "pack \"{pack}\": package {package} has no programs; libraries come with the programs that need them"
    )]
    NoPrograms {
        /// The pack.
        pack: String,
        /// The package.
        package: String,
    },
    /// A program that another starts is in no pack.
    #[error("pack \"{pack}\": {program} needs the program {needed}, which no pack has")]
    NoNeeded {
        /// The pack.
        pack: String,
        /// Who.
        program: String,
        /// What.
        needed: String,
    },
    /// Nothing is at a path that a description names.
    #[error("pack \"{pack}\": nothing matches {pattern:?} in its packages")]
    NoMatch {
        /// The pack.
        pack: String,
        /// The pattern.
        pattern: String,
    },
    /// Two packages have a program of one name.
    #[error(
        "packs \"{}\" and \"{}\" want different programs of the name {program}",
        packs[0],
        packs[1]
    )]
    Twice {
        /// The program.
        program: String,
        /// The packs.
        packs: [String; 2],
    },
}

fn have(programs: &[String]) -> String {
    match programs {
        [] => " (it has none at all)".into(),
        some => format!("; it has {}", some.join(", ")),
    }
}

/// Programs that are loaded together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Of which pack, by number.
    pub pack: usize,
    /// The programs.
    pub programs: BTreeSet<String>,
    /// All files, as paths of the image.
    pub files: BTreeSet<String>,
}

/// One program while units are being put together.
struct Found {
    pack: usize,
    name: String,
    /// Names of what must come with it.
    needs: Vec<String>,
    /// The regular file of the program: programs of one file are one unit.
    file: String,
    /// Number of the list of `together` that names it.
    together: Option<(String, usize)>,
    files: BTreeSet<String>,
}

/// The units of all packs, in the order of packs and packages.
///
/// # Errors
/// See [`Error`].
pub fn find(
    packs: &[Pack],
    libraries: &Libraries,
    contents: &Contents,
    in_image: &dyn Fn(&str) -> bool,
) -> Result<Vec<Unit>, Error> {
    let finder = Finder {
        resolver: Resolver::new(contents, in_image),
        contents,
        libraries,
    };
    let mut found: Vec<Found> = Vec::new();
    for (number, pack) in packs.iter().enumerate() {
        for package in &pack.packages {
            finder.package(number, pack, package, &mut found)?;
        }
    }
    for (at, program) in found.iter().enumerate() {
        let mut before = found[..at].iter();
        let clash = |other: &&Found| other.name == program.name && other.file != program.file;
        if let Some(other) = before.find(clash) {
            let name = |of: &Found| packs[of.pack].name.clone();
            return Err(Error::Twice {
                program: program.name.clone(),
                packs: [name(other), name(program)],
            });
        }
    }
    merge(packs, found)
}

/// Makes the links and files that the descriptions name.
///
/// # Errors
/// When a file is to be made of nothing.
pub fn prepare(packs: &[Pack], contents: &mut Contents) -> Result<(), Error> {
    for pack in packs {
        for package in &pack.packages {
            make_files(pack, package, contents)?;
        }
    }
    Ok(())
}

fn make_files(pack: &Pack, package: &Package, contents: &mut Contents) -> Result<(), Error> {
    for (name, of) in &package.links {
        let file = File {
            package: package.name.clone(),
            kind: Kind::Link(format!("bin/{of}")),
        };
        contents.insert(format!("bin/{name}"), file);
    }
    for (path, text) in package.written.values().flatten() {
        let file = File {
            package: package.name.clone(),
            kind: Kind::Regular(0o644, text.clone().into_bytes()),
        };
        contents.insert(path.clone(), file);
    }
    for (path, pattern) in package.joined.values().flatten() {
        let parts = contents.matching(pattern);
        let first = parts.first().and_then(|path| contents.get(path));
        // It is that package's whose parts it is made of.
        let from = first
            .ok_or_else(|| no_match(pack, pattern))?
            .package
            .clone();
        let bytes = parts.iter().filter_map(|path| contents.bytes(path));
        let file = File {
            package: from,
            kind: Kind::Regular(0o644, bytes.flatten().copied().collect()),
        };
        contents.insert(path.clone(), file);
    }
    Ok(())
}

fn no_match(pack: &Pack, pattern: &str) -> Error {
    Error::NoMatch {
        pack: pack.name.clone(),
        pattern: pattern.into(),
    }
}

struct Finder<'a> {
    resolver: Resolver<'a>,
    contents: &'a Contents,
    libraries: &'a Libraries,
}

impl Finder<'_> {
    fn package(
        &self,
        number: usize,
        pack: &Pack,
        package: &Package,
        found: &mut Vec<Found>,
    ) -> Result<(), Error> {
        let there: Vec<String> = self
            .contents
            .of_package(&package.name)
            .filter_map(|path| path.strip_prefix("bin/"))
            .map(str::to_string)
            .collect();
        let (wanted, everything) = match &package.programs {
            Programs::Some(names) => (names.clone(), false),
            Programs::All(_) => (there.clone(), true),
        };
        if everything && wanted.is_empty() {
            return Err(Error::NoPrograms {
                pack: pack.name.clone(),
                package: package.name.clone(),
            });
        }
        let linked = package.links.keys().cloned();
        for name in wanted.into_iter().chain(linked) {
            let path = format!("bin/{name}");
            if self.contents.get(&path).is_none() {
                return Err(Error::NoProgram {
                    pack: pack.name.clone(),
                    package: package.name.clone(),
                    program: name,
                    programs: there,
                });
            }
            let mut program = self.program(number, pack, package, &name, &path)?;
            if everything {
                // Nobody said which of them it reads.
                let data = self.contents.of_package(&package.name);
                let data = data.filter(|path| !path.starts_with("bin/"));
                program.files.extend(data.map(str::to_string));
            }
            found.push(program);
        }
        Ok(())
    }

    fn program(
        &self,
        number: usize,
        pack: &Pack,
        package: &Package,
        name: &str,
        path: &str,
    ) -> Result<Found, Error> {
        let fail = |source| Error::Closure {
            pack: pack.name.clone(),
            program: name.into(),
            source: Box::new(source),
        };
        let mut closure = self.resolver.closure(path).map_err(fail)?;
        let data = pack
            .files
            .iter()
            .chain(package.files.get(name).into_iter().flatten());
        let made = [&package.joined, &package.written];
        let made = made.iter().filter_map(|files| files.get(name));
        let made = made.flat_map(|files| files.keys());
        for pattern in data.chain(made) {
            let paths = self.contents.matching(pattern);
            if paths.is_empty() {
                return Err(no_match(pack, pattern));
            }
            for path in paths {
                let further = self.resolver.closure_of_data(path).map_err(fail)?;
                closure.files.extend(further.files);
            }
        }
        for path in self.rules(&closure) {
            let further = self.resolver.closure_of_data(path).map_err(fail)?;
            closure.files.extend(further.files);
        }
        let (file, _) = self.contents.follow(path).ok_or_else(|| {
            fail(closure::Error::NoFile {
                by: name.into(),
                path: path.into(),
            })
        })?;
        let together = package
            .together
            .iter()
            .position(|list| list.iter().any(|other| other == name))
            .map(|position| (package.name.clone(), position));
        Ok(Found {
            pack: number,
            name: name.into(),
            needs: package.needs.get(name).cloned().unwrap_or_default(),
            file,
            together,
            files: closure.files,
        })
    }

    /// What libraries and symbols of the closure need beside what ELF says.
    fn rules(&self, closure: &Closure) -> BTreeSet<&str> {
        let libraries = self.libraries.libraries.iter();
        let libraries = libraries.filter(|rule| closure.libraries.contains(&rule.soname));
        let symbols = self.libraries.symbols.iter();
        let symbols =
            symbols.filter(|rule| rule.names.iter().any(|name| closure.imports.contains(name)));
        let files = libraries.flat_map(|rule| &rule.files);
        files
            .chain(symbols.flat_map(|rule| &rule.files))
            .flat_map(|pattern| self.contents.matching(pattern))
            .collect()
    }
}

/// Programs of one file, and those that are to be loaded together, become one unit; then each gets the
/// files of the programs that it starts.
fn merge(packs: &[Pack], found: Vec<Found>) -> Result<Vec<Unit>, Error> {
    let mut units: Vec<Unit> = Vec::new();
    let mut needs: Vec<BTreeSet<String>> = Vec::new();
    let mut unit_of_file: BTreeMap<(usize, String), usize> = BTreeMap::new();
    let mut unit_of_list: BTreeMap<(usize, (String, usize)), usize> = BTreeMap::new();
    for program in found {
        let by_file = unit_of_file
            .get(&(program.pack, program.file.clone()))
            .copied();
        let by_list = program.together.clone();
        let by_list = by_list.and_then(|list| unit_of_list.get(&(program.pack, list)).copied());
        let number = by_file.or(by_list).unwrap_or_else(|| {
            units.push(Unit {
                pack: program.pack,
                ..Unit::default()
            });
            needs.push(BTreeSet::new());
            units.len() - 1
        });
        unit_of_file.insert((program.pack, program.file), number);
        if let Some(list) = program.together {
            unit_of_list.insert((program.pack, list), number);
        }
        units[number].programs.insert(program.name);
        units[number].files.extend(program.files);
        needs[number].extend(program.needs);
    }
    let number_of = |name: &str| units.iter().position(|unit| unit.programs.contains(name));
    let mut complete = units.clone();
    for (number, unit) in complete.iter_mut().enumerate() {
        // What a needed program needs is needed, too.
        let mut open: Vec<usize> = vec![number];
        let mut seen = BTreeSet::from([number]);
        while let Some(at) = open.pop() {
            for needed in &needs[at] {
                let next = number_of(needed).ok_or_else(|| Error::NoNeeded {
                    pack: packs[unit.pack].name.clone(),
                    program: unit.programs.first().cloned().unwrap_or_default(),
                    needed: needed.clone(),
                })?;
                if seen.insert(next) {
                    open.push(next);
                    unit.files.extend(units[next].files.iter().cloned());
                }
            }
        }
    }
    Ok(complete)
}

/// The packages that have a file in a unit.
pub fn packages<'a>(units: &[Unit], contents: &'a Contents) -> BTreeSet<&'a str> {
    units
        .iter()
        .flat_map(|unit| &unit.files)
        .filter_map(|path| contents.get(path))
        .map(|file| file.package.as_str())
        .collect()
}
