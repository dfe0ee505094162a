//! What is told, as it happens or as one object at the end.

use std::io::Write;

use kedge_doctor::shown;
use kedge_doctor::verify::{as_json, lines};
use kedge_json as json;
use kedge_packages::Package;

use crate::plan::Task;
use crate::trial::Trial;
use crate::{Error, replace::Done};

/// What became of one file.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Only asked.
    Would,
    /// Replaced, or found to be right.
    Repaired(Done),
    /// Is as before.
    Failed(Error),
}

/// Where its package comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) location: String,
    pub(crate) trust: Vec<String>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    pub(crate) task: &'a Task,
    pub(crate) package: &'a Package,
    pub(crate) origin: Option<Origin>,
    pub(crate) fate: Fate,
    /// In what the doctor still sees it differ, and what it says of it as an ELF file.
    pub(crate) remains: Vec<String>,
    pub(crate) trial: Option<Trial>,
}

impl Story<'_> {
    /// Whether all is as it must be.
    pub(crate) fn is_good(&self) -> bool {
        let loads = !matches!(self.trial, Some(Trial::Fails(_)));
        !matches!(self.fate, Fate::Failed(_)) && self.remains.is_empty() && loads
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}  ({} {})\n",
            shown::path(&self.task.path),
            shown::text(&self.package.name),
            shown::text(&self.package.version)
        );
        let mut line = |key: &str, value: &str| {
            for (number, value) in value.lines().enumerate() {
                let key = if number == 0 { key } else { "" };
                text += &format!("  {key:9}{}\n", shown::text(value));
            }
        };
        if let Some(origin) = &self.origin {
            line("from", &origin.location);
            match origin.trust.as_slice() {
                [] => line(
                    "trust",
                    "nothing vouches for it but the local checksum of the file",
                ),
                steps => line("trust", &steps.join("\n")),
            }
        }
        match &self.fate {
            Fate::Would => line("would be", "replaced"),
            Fate::Repaired(done) => {
                match done.kept {
                    Some(number) => {
                        line("was", &done.was);
                        line("is", &done.is);
                        let kept = match done.was == "missing" {
                            true => "nothing, as nothing was there",
                            false => "the old one",
                        };
                        line(
                            "kept",
                            &format!("{kept}, as number {number} (--undo {number})"),
                        );
                    }
                    None => line("is", &done.is),
                }
                done.notes.iter().for_each(|note| line("note", note));
            }
            Fate::Failed(error) => line("NOT", &format!("repaired: {error}")),
        }
        self.remains
            .iter()
            .for_each(|remains| line("STILL", remains));
        match &self.trial {
            None => {}
            Some(Trial::Loads(odd)) if odd.is_empty() => {
                line(
                    "loads",
                    "with the system's own dynamic linker, all symbols found",
                );
            }
            Some(Trial::Loads(odd)) => line("loads", &expects(odd)),
            Some(Trial::Fails(why)) => line("DOES NOT", &format!("load: {why}")),
            Some(Trial::Untried(why)) => line("untried", why),
        }
        let head = text.find('\n').map_or(text.len(), |end| end + 1);
        let who = format!("{} {}", self.package.name, self.package.version);
        text.insert_str(head, &lines(&self.task.differences, &who));
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let texts = |all: &[String]| json::array(all.iter().map(|one| json::text(one)));
        let result = match (&self.fate, self.is_good()) {
            (Fate::Would, _) => "would",
            (Fate::Failed(_), _) => "failed",
            (Fate::Repaired(_), false) => "bad",
            (Fate::Repaired(done), true) if done.kept.is_none() => "unchanged",
            (Fate::Repaired(_), true) => "repaired",
        };
        let mut members = vec![
            (
                "path",
                json::text(&format!("/{}", self.task.path.display())),
            ),
            ("package", json::text(&self.package.name)),
            ("version", json::text(&self.package.version)),
            ("result", json::text(result)),
            ("differences", as_json(&self.task.differences)),
        ];
        if let Some(origin) = &self.origin {
            members.push(("from", json::text(&origin.location)));
            members.push(("trust", texts(&origin.trust)));
        }
        match &self.fate {
            Fate::Would => {}
            Fate::Repaired(done) => {
                members.push(("was", json::text(&done.was)));
                members.push(("is", json::text(&done.is)));
                members.push(("kept", json::number(done.kept)));
                members.push(("notes", texts(&done.notes)));
            }
            Fate::Failed(error) => members.push(("why", json::text(&error.to_string()))),
        }
        if !self.remains.is_empty() {
            members.push(("remains", texts(&self.remains)));
        }
        if let Some(trial) = &self.trial {
            let (loads, said) = match trial {
                Trial::Loads(odd) => ("true", texts(odd)),
                Trial::Fails(why) => ("false", json::text(why)),
                Trial::Untried(why) => ("null", json::text(why)),
            };
            members.push(("loads", loads.into()));
            members.push(("linker", said));
        }
        json::object(&members)
    }
}

/// A library that is loaded by a program, which has the symbols that it lacks: Perl's and Python's modules.
pub(crate) fn expects(symbols: &[String]) -> String {
    let first = symbols
        .first()
        .map_or("", |first| first.split('\t').next().unwrap_or_default());
    format!(
        "loads; {} symbols must come from the program that uses it ({first} ...)",
        symbols.len()
    )
}

/// Tells.
#[derive(Debug)]
pub(crate) struct Teller {
    as_json: bool,
    files: Vec<String>,
    others: Vec<String>,
}

impl Teller {
    pub(crate) fn new(as_json: bool) -> Teller {
        Teller {
            as_json,
            files: Vec::new(),
            others: Vec::new(),
        }
    }

    pub(crate) fn story(&mut self, story: &Story) {
        match self.as_json {
            true => self.files.push(story.json()),
            false => print(&story.text()),
        }
    }

    /// What has no story: that nothing is to be done, or cannot be.
    pub(crate) fn word(&mut self, what: &str, text: &str) {
        match self.as_json {
            true => {
                let members = [("about", json::text(what)), ("says", json::text(text))];
                self.others.push(json::object(&members));
            }
            false => print(&format!("{}: {}\n", shown::text(what), shown_lines(text))),
        }
    }

    /// The object.
    pub(crate) fn end(self, root: &std::path::Path, exit: u8) {
        if self.as_json {
            let members = [
                ("root", json::text(&root.display().to_string())),
                ("exit", exit.to_string()),
                ("files", json::array(self.files.into_iter())),
                ("others", json::array(self.others.into_iter())),
            ];
            print(&(json::object(&members) + "\n"));
        }
    }
}

/// Escaped, but for its own line ends.
pub(crate) fn shown_lines(text: &str) -> String {
    text.lines().map(shown::text).collect::<Vec<_>>().join("\n")
}

/// Writes to stdout. That nobody reads it to the end (`| head`) is no failure.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
