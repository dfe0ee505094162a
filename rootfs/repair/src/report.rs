//! What is told, as it happens or as one object at the end.

use std::io::Write;

use kedge_doctor::shown;
use kedge_doctor::verify::{as_json, lines};
use kedge_json as json;
use kedge_packages::Package;
use kedge_progress::shown_lines;

use crate::plan::Task;
use crate::trial::Trial;
use crate::{Error, replace::Done};

/// An MD5 digest is the shortest that is shortened, and so much of it is shown.
const LONG: usize = 32;
const ENOUGH: usize = 16;

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
    /// Whether that is a signature in the end.
    pub(crate) vouched: bool,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    pub(crate) task: &'a Task,
    pub(crate) package: &'a Package,
    pub(crate) origin: Option<Origin>,
    pub(crate) fate: Fate,
    /// Where what was there differs from what is there now, and how, in lines.
    pub(crate) damage: Vec<String>,
    /// In what the doctor still sees it differ, and what it says of it as an ELF file.
    pub(crate) remains: Vec<String>,
    pub(crate) trial: Option<Trial>,
}

impl<'a> Story<'a> {
    /// With nothing yet of what is seen afterwards.
    pub(crate) fn new(
        task: &'a Task,
        package: &'a Package,
        origin: Option<Origin>,
        fate: Fate,
    ) -> Story<'a> {
        Story {
            task,
            package,
            origin,
            fate,
            damage: Vec::new(),
            remains: Vec::new(),
            trial: None,
        }
    }

    /// Whether all is as it must be.
    pub(crate) fn is_good(&self) -> bool {
        let loads = !matches!(self.trial, Some(Trial::Fails(_)));
        !matches!(self.fate, Fate::Failed(_)) && self.remains.is_empty() && loads
    }

    /// For people: what became of it, and then why that may be believed.
    pub(crate) fn text(&self) -> String {
        let (name, version) = (&self.package.name, &self.package.version);
        let headline = format!("{}: {}", self.result(), shown::path(&self.task.path));
        let mut text = shown::wrapped(&headline, 2) + "\n";
        let mut line = |key: &str, value: &str| {
            for (number, value) in value.lines().enumerate() {
                let key = if number == 0 { key } else { "" };
                let line = format!("  {key:8} {}", brief(&shown::text(value)));
                text += &shown::wrapped(&line, 11);
                text.push('\n');
            }
        };
        if let Fate::Failed(error) = &self.fate {
            line("why", &error.to_string());
        }
        for remains in &self.remains {
            line("STILL", remains);
        }
        if matches!(self.fate, Fate::Repaired(_)) && self.remains.is_empty() {
            line("doctor", "nothing is wrong with it now");
        }
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
        line("package", &format!("{name} {version}"));
        let kept = match &self.fate {
            Fate::Repaired(done) => done.kept,
            _ => None,
        };
        for difference in lines(&self.task.differences, name).lines() {
            let (key, said) = difference.trim().split_once(' ').unwrap_or_default();
            let said = said.trim();
            let changed = matches!(&self.fate, Fate::Repaired(done) if done.changed);
            match (changed, said.strip_prefix("is ")) {
                (true, Some(said)) => line(key, &format!("was {said}")),
                (true, None) if said == "there is nothing" => line(key, "there was nothing"),
                _ => line(key, said),
            }
        }
        line("damage", &self.damage.join("\n"));
        if let Fate::Repaired(done) = &self.fate {
            if let Some(number) = kept.filter(|_| done.was != "missing") {
                line(
                    "kept",
                    &format!("the old one, as number {number} (--undo {number})"),
                );
            }
            done.notes.iter().for_each(|note| line("note", note));
        }
        if let Some(origin) = &self.origin {
            line("from", &origin.location);
            match origin.trust.as_slice() {
                [] => line(
                    "trust",
                    "nobody vouches for it: of files, only those are taken that the local database has a checksum of",
                ),
                steps => line("trust", &steps.join("\n")),
            }
        }
        text
    }

    fn result(&self) -> &'static str {
        match (&self.fate, self.is_good()) {
            (Fate::Would, _) => "would be replaced",
            (Fate::Failed(_), _) => "NOT repaired",
            (Fate::Repaired(_), false) => "replaced, and NOT well",
            (Fate::Repaired(done), true) if !done.changed => "was right already",
            (Fate::Repaired(_), true) => "repaired",
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let texts = |all: &[String]| json::array(all.iter().map(|one| json::text(one)));
        let result = match (&self.fate, self.is_good()) {
            (Fate::Would, _) => "would",
            (Fate::Failed(_), _) => "failed",
            (Fate::Repaired(_), false) => "bad",
            (Fate::Repaired(done), true) if !done.changed => "unchanged",
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
            members.push(("vouched", origin.vouched.to_string()));
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
        if !self.damage.is_empty() {
            members.push(("damage", texts(&self.damage)));
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

/// Without most of each digest ("sha256:…"): the whole ones are in `--json`, and in the record that is kept.
fn brief(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(rest.len());
        if digits >= LONG && out.ends_with(':') {
            out.push_str(&rest[..ENOUGH]);
            out.push_str("..");
        } else {
            out.push_str(&rest[..digits]);
        }
        let other = rest[digits..]
            .find(|c: char| c.is_ascii_hexdigit())
            .unwrap_or(rest.len() - digits);
        out.push_str(&rest[digits..digits + other]);
        rest = &rest[digits + other..];
    }
    out
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

/// Writes to stdout. That nobody reads it to the end (`| head`) is no failure.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_shortened_and_words_are_not() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(
            brief(&format!("is sha256:{digest}, mode 0644; é")),
            "is sha256:0123456789abcdef.., mode 0644; é"
        );
        assert_eq!(brief("deadbeef"), "deadbeef");
        // A key's fingerprint, say.
        assert_eq!(brief(&digest), digest);
    }
}
