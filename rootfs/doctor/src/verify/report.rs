//! What `verify` says.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use kedge_json as json;
use kedge_packages::{Database, Family};
use kedge_progress::{Progress, interrupt};
use kedge_sysroot::Sysroot;

use super::{Damaged, Error, Tally, arguments, survey};
use crate::{Difference, mounted, shown};

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let arguments = match arguments::parse(arguments) {
        Ok(arguments) => arguments,
        Err(why) => return fail(&format!("{why}; kedge help verify says more")),
    };
    let root = match mounted::root("verify", arguments.root) {
        Ok(root) => root,
        Err(why) => return fail(&why),
    };
    let databases = match kedge_packages::open(&root) {
        Ok(databases) => databases,
        Err(error) => return fail(&format!("the package database cannot be read: {error}")),
    };
    if databases.is_empty() {
        return fail(&mounted::no_database(root.path()));
    }
    interrupt::watch();
    let mut report = Report {
        root: &root,
        databases: &databases,
        json: arguments.json,
        damaged: 0,
        unreadable: false,
        written: Ok(()),
    };
    report.begin();
    let mut progress = Progress::new("verify");
    let surveyed = survey(&root, &databases, &mut progress, &mut |progress, one| {
        progress.clear();
        report.one(&one)
    });
    match surveyed {
        Ok(tally) => report.end(&tally),
        Err(error @ Error::Interrupted) => {
            report.break_off();
            say!("verify: {error}");
            ExitCode::from(130)
        }
    }
}

fn fail(why: &str) -> ExitCode {
    say!("verify: {}", shown::text(why));
    ExitCode::from(2)
}

struct Report<'a> {
    root: &'a Sysroot,
    databases: &'a [Box<dyn Database + 'a>],
    json: bool,
    damaged: u64,
    /// The disk failed somewhere.
    unreadable: bool,
    written: io::Result<()>,
}

impl Report<'_> {
    fn begin(&mut self) {
        if self.json {
            let root = json::text(&self.root.path().to_string_lossy());
            self.write(&format!("{{\"root\":{root},\"damaged\":["));
        }
    }

    fn one(&mut self, damaged: &Damaged) -> ControlFlow<()> {
        let package = &self.databases[damaged.database].packages()[damaged.package];
        let text = if self.json {
            let comma = if self.damaged > 0 { ",\n" } else { "\n" };
            let members = [
                ("path", json::text(&absolute(&damaged.entry.path))),
                ("package", json::text(&package.name)),
                ("version", json::text(&package.version)),
                ("family", json::text(family(package.family))),
                ("other_packages", damaged.others.to_string()),
                ("configuration", damaged.entry.configuration.to_string()),
                ("differences", as_json(damaged.differences.iter())),
            ];
            format!("{comma}{}", json::object(&members))
        } else {
            let (name, version) = (shown::text(&package.name), shown::text(&package.version));
            let path = shown::path(&damaged.entry.path);
            let lines = lines(&damaged.differences, "the package");
            let others = match damaged.others {
                0 => String::new(),
                1 => ", and another package".into(),
                others => format!(", and {others} more packages"),
            };
            format!("{path} ({name} {version}{others})\n{lines}")
        };
        self.damaged += 1;
        self.unreadable |= damaged.differences.iter().any(Difference::is_the_disk_s);
        self.write(&text);
        match self.written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// What was found so far is a whole object too, which says that it is not all.
    fn break_off(&mut self) {
        if self.json {
            self.write("\n],\"interrupted\":true}\n");
        }
    }

    fn end(mut self, tally: &Tally) -> ExitCode {
        let mut complaints = tally.complaints.clone();
        complaints.extend(self.databases.iter().flat_map(|d| d.complaints()));
        if self.json {
            let members = [
                ("files", tally.files.to_string()),
                ("bytes", tally.bytes.to_string()),
                ("without_checksum", tally.unknown.to_string()),
                (
                    "complaints",
                    json::array(complaints.iter().map(|c| json::text(c))),
                ),
            ];
            let rest = json::object(&members);
            self.write(&format!("\n],{}\n", &rest[1..]));
        }
        match &self.written {
            Ok(()) => self.summary(tally, &complaints),
            // Nobody reads it any more (`| head`), so nobody wants a summary of the part that was looked at.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return fail(&format!("cannot write to stdout: {error}")),
        }
        ExitCode::from(status(self.damaged, &complaints))
    }

    /// For people, on stderr: the list may be in a file.
    fn summary(&self, tally: &Tally, complaints: &[String]) {
        for complaint in complaints {
            say!("verify: {}", shown::text(complaint));
        }
        let looked = format!(
            "{} files, {}",
            tally.files,
            kedge_progress::bytes(tally.bytes)
        );
        match self.damaged {
            0 if complaints.is_empty() => say!("verify: {looked}: all as their packages say"),
            0 => say!(
                "verify: {looked}: as their packages say; what the database has lost was not looked at"
            ),
            damaged => say!("verify: {looked}: {damaged} not as their packages say"),
        }
        if tally.unknown > 0 {
            say!(
                "verify: {} more have no checksum in the database; only that they are there is known",
                tally.unknown
            );
        }
        if self.unreadable {
            say!("next: image the disk before anything is written to it; repair the copy");
        } else if self.damaged > 0 {
            let root = shown::typed(self.root.path());
            say!("next: repair {root} --all-damaged --dry-run");
        }
    }

    fn write(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = io::stdout().write_all(text.as_bytes());
        }
    }
}

/// The exit status, as doctor's: what could not be looked at matters where no damage was found.
fn status(damaged: u64, complaints: &[String]) -> u8 {
    match (damaged, complaints) {
        (0, []) => 0,
        (0, _) => 2,
        _ => 1,
    }
}

fn absolute(path: &Path) -> String {
    format!("/{}", path.to_string_lossy())
}

/// "dpkg".
pub(crate) fn family(family: Family) -> &'static str {
    match family {
        Family::Dpkg => "dpkg",
        Family::Rpm => "rpm",
        Family::Pacman => "pacman",
        Family::Apk => "apk",
    }
}

/// `[{"kind":"mode","is":"0777","must":"0755"}]`; sizes are numbers.
pub fn as_json<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> String {
    json::array(differences.into_iter().map(|difference| {
        let (is, must) = match difference {
            Difference::Size { is, must } => (is.to_string(), must.to_string()),
            _ => {
                let (is, must) = difference.sides();
                (
                    json::optional(is.as_deref()),
                    json::optional(must.as_deref()),
                )
            }
        };
        let mut members = vec![
            ("kind", json::text(difference.word())),
            ("is", is),
            ("must", must),
        ];
        if let Difference::Unreadable { offset, sector, .. } = difference {
            members.push(("offset", offset.to_string()));
            if let Some(sector) = sector {
                members.push(("device", json::text(&sector.device)));
                members.push(("sector", sector.sector.to_string()));
            }
        }
        json::object(&members)
    }))
}

/// A line each, indented.
pub fn lines(differences: &[Difference], who: &str) -> String {
    let line = |difference: &Difference| {
        let said = match (difference, difference.sides()) {
            (Difference::Missing, _) => "there is nothing".into(),
            (Difference::Content { is: None, .. }, (_, Some(must))) => {
                format!("is another; {who} says {must}")
            }
            (_, (Some(is), Some(must))) => format!("is {is}; {who} says {must}"),
            (_, (is, _)) => is.unwrap_or_default(),
        };
        format!("  {:8} {}\n", difference.word(), shown::text(&said))
    };
    differences.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_database_is_neither_clean_nor_damage() {
        let lost = ["status ends in the middle of a line".to_string()];
        let all = [
            status(0, &[]),
            status(0, &lost),
            status(1, &lost),
            status(7, &[]),
        ];
        assert_eq!(all, [0, 2, 1, 1]);
    }
}
