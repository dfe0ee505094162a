//! `doctor` and `verify`: what is broken in an installed system.
//!
//! [`compare`] holds one file beside what the package database says, [`examine`] adds what can be told without a database,
//! [`closure`] says which files a program is made of, [`verify`] goes through all.

/// A line on stderr. That nobody reads it (`2>&1 | head`) is no failure, as it is to `eprintln!`.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($line)*);
    }};
}

mod absent;
mod accounts;
mod arguments;
mod capabilities;
mod change;
pub mod closure;
mod compare;
mod device;
mod examine;
#[cfg(test)]
mod examine_tests;
mod extent;
#[doc(hidden)]
pub mod fuzz;
mod links;
pub mod memory;
mod mounted;
mod owned;
mod program;
#[cfg(test)]
mod program_tests;
mod reading;
mod refused;
pub mod shown;
mod system;
mod tmpfiles;
mod trouble;
mod undone;
mod uses;
#[cfg(test)]
mod uses_tests;
pub mod verify;
mod versions;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kedge_json as json;
use kedge_sysroot::Sysroot;

pub use accounts::Accounts;
pub use arguments::HELP;
pub use compare::{Difference, Sector, compare, excused};
pub use examine::{Examined, Gravity, Oddity, examine, examine_all};
pub use owned::Owned;
pub use trouble::Trouble;
pub use undone::{Undone, undone};

use arguments::Question;
use program::Diagnosis;
use uses::{Graph, Tree};

/// Prints what is known of one file as `doctor` would: nothing when it is whole.
pub fn print(examined: &Examined, root: &Path) -> String {
    let headline = match examined.gravity() {
        Gravity::Whole => return String::new(),
        Gravity::Odd => "is odd",
        Gravity::Rights => "has other rights than its package says",
        Gravity::Damaged | Gravity::Fatal => "is damaged",
    };
    let trouble = Trouble::of(examined, root, headline);
    trouble.map(|trouble| trouble.text()).unwrap_or_default()
}

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let arguments = match arguments::parse(arguments) {
        Ok(arguments) => arguments,
        Err(why) => return fail(&format!("{why}; kedge help doctor says more")),
    };
    if arguments.question == Question::Help {
        return match write(HELP) {
            Ok(()) => ExitCode::SUCCESS,
            Err(code) => code,
        };
    }
    let root = match mounted::root("doctor", arguments.root) {
        Ok(root) => root,
        Err(why) => return fail(&why),
    };
    match arguments.question {
        Question::Help => ExitCode::SUCCESS,
        Question::Broken(files) => broken(&root, &files, arguments.json),
        Question::Why(file) => ask(&root, |graph| {
            let tree = graph.why(&root, &file)?;
            Ok(match arguments.json {
                true => {
                    let trees = tree.iter().map(Tree::json);
                    json::object(&[("tree", json::array(trees))]) + "\n"
                }
                false => tree.iter().map(Tree::text).collect(),
            })
        }),
        Question::Uses(library) => ask(&root, |graph| {
            let programs = graph.uses(&root, &library)?;
            if programs.is_empty() {
                say!("doctor: {}", graph.nobody(&root, &library));
            }
            Ok(match arguments.json {
                true => {
                    let paths = programs
                        .iter()
                        .map(|p| json::text(&format!("/{}", p.to_string_lossy())));
                    json::object(&[("programs", json::array(paths))]) + "\n"
                }
                false => programs
                    .iter()
                    .map(|path| shown::path(path) + "\n")
                    .collect(),
            })
        }),
    }
}

/// Answers a question about all ELF files.
fn ask(root: &Sysroot, answer: impl Fn(&Graph) -> Result<String, uses::Error>) -> ExitCode {
    let databases = match kedge_packages::open(root) {
        Ok(databases) if databases.is_empty() => return fail(&mounted::no_database(root.path())),
        Ok(databases) => databases,
        Err(error) => return fail(&format!("the package database cannot be read: {error}")),
    };
    kedge_progress::interrupt::watch();
    let packages: usize = databases.iter().map(|d| d.packages().len()).sum();
    say!("doctor: asking the programs and libraries of {packages} packages what they need");
    let graph = Graph::of(root, &databases);
    let text = graph.and_then(|graph| {
        for complaint in &graph.complaints {
            say!("doctor: {}", shown::text(complaint));
        }
        answer(&graph)
    });
    match text {
        Ok(text) => match write(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(code) => code,
        },
        Err(error @ uses::Error::Interrupted) => {
            say!("doctor: {error}");
            ExitCode::from(130)
        }
        Err(error) => fail(&error.to_string()),
    }
}

fn write(text: &str) -> Result<(), ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(fail(&format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn fail(why: &str) -> ExitCode {
    say!("doctor: {}", shown::text(why));
    ExitCode::from(2)
}

/// What is wrong with programs.
fn broken(root: &Sysroot, files: &[PathBuf], json: bool) -> ExitCode {
    if !mounted::looks_installed(root) {
        return fail(&format!(
            "there is no installed system in {}: neither usr nor etc; is it mounted there?",
            root.path().display()
        ));
    }
    let mut complaints = Vec::new();
    // Without a database much can still be told.
    let databases = kedge_packages::open(root).unwrap_or_else(|error| {
        complaints.push(format!("the package database cannot be read: {error}"));
        Vec::new()
    });
    let mut diagnosis = match files {
        [] => system::look_over(root, &databases),
        files => {
            let meant: Vec<PathBuf> = files.iter().map(|f| links::meant(root, f)).collect();
            program::diagnose(root, &databases, &meant)
        }
    };
    complaints.append(&mut diagnosis.complaints);
    diagnosis.complaints = complaints;
    if databases.is_empty() && diagnosis.complaints.is_empty() {
        diagnosis.complaints.push(mounted::no_database(root.path()));
    }
    let hint = files.is_empty().then(|| {
        let root = shown::typed(root.path());
        format!("this was the short look; verify {root} looks at every packaged file")
    });
    report(root, &diagnosis, json, hint)
}

fn report(root: &Sysroot, diagnosis: &Diagnosis, as_json: bool, hint: Option<String>) -> ExitCode {
    let text = if as_json {
        let troubles = diagnosis.troubles.iter().map(Trouble::json);
        let complaints = diagnosis.complaints.iter().map(|c| json::text(c));
        let members = [
            ("root", json::text(&root.path().to_string_lossy())),
            ("files", diagnosis.files.to_string()),
            ("troubles", json::array(troubles)),
            ("complaints", json::array(complaints)),
        ];
        json::object(&members) + "\n"
    } else {
        diagnosis.troubles.iter().map(Trouble::text).collect()
    };
    if let Err(code) = write(&text) {
        return code;
    }
    for complaint in &diagnosis.complaints {
        say!("doctor: {}", shown::text(complaint));
    }
    if let Some(hint) = hint.filter(|_| !as_json) {
        say!("doctor: {hint}");
    }
    let damaged = diagnosis.troubles.iter().any(|t| t.gravity > Gravity::Odd);
    match (damaged, diagnosis.complaints.is_empty()) {
        (true, _) => ExitCode::from(1),
        (false, false) => ExitCode::from(2),
        (false, true) => {
            match diagnosis.files {
                1 => say!("doctor: one file looked at, nothing wrong with it"),
                files => say!("doctor: {files} files looked at, nothing wrong with them"),
            }
            ExitCode::SUCCESS
        }
    }
}
