//! One thing that is wrong, how that is known, and what to type next: for people and for programs.

use std::path::{Path, PathBuf};

use kedge_json as json;

use crate::verify::{as_json, lines};
use crate::{Difference, Examined, Gravity, shown};

/// How wide a line is that is broken: a serial console has 80 columns.
const WIDE: usize = 79;

/// One thing that is wrong.
#[derive(Debug)]
pub struct Trouble {
    /// How bad.
    pub gravity: Gravity,
    /// Among those that are as bad: the smaller, the more probable it is the cause.
    pub rank: usize,
    /// The file, below ROOT, if it is one.
    pub path: Option<PathBuf>,
    /// One sentence without a full stop.
    pub headline: String,
    /// How it is known: a word, and a sentence.
    pub facts: Vec<(&'static str, String)>,
    /// Name and version of the package that has the file.
    pub package: Option<(String, String)>,
    /// Of the kinds of [`Difference::word`], as JSON.
    differences: String,
    /// What to type, or to do.
    pub next: Vec<String>,
}

impl Trouble {
    /// Something that is no file's.
    pub(crate) fn new(gravity: Gravity, headline: impl Into<String>) -> Trouble {
        Trouble {
            gravity,
            rank: 0,
            path: None,
            headline: headline.into(),
            facts: Vec::new(),
            package: None,
            differences: "[]".into(),
            next: Vec::new(),
        }
    }

    pub(crate) fn fact(mut self, about: &'static str, text: impl Into<String>) -> Trouble {
        self.facts.push((about, text.into()));
        self
    }

    pub(crate) fn next(mut self, line: impl Into<String>) -> Trouble {
        self.next.push(line.into());
        self
    }

    /// What is known of one file, if something is wrong with it; `headline` follows its name.
    pub(crate) fn of(examined: &Examined, root: &Path, headline: &str) -> Option<Trouble> {
        let gravity = examined.gravity();
        if gravity == Gravity::Whole {
            return None;
        }
        let path = shown::path(&examined.path);
        let mut trouble = Trouble::new(gravity, format!("{path} {headline}"));
        trouble.path = Some(examined.path.clone());
        let owner = examined.owned.first();
        trouble.package = owner.map(|o| (o.package.name.clone(), o.package.version.clone()));
        let mut all = Vec::new();
        for owned in &examined.owned {
            let who = format!("{} {}", owned.package.name, owned.package.version);
            for difference in &owned.differences {
                let line = lines(std::slice::from_ref(difference), &who);
                let (_, text) = line.trim().split_once(' ').unwrap_or(("", line.trim()));
                trouble.facts.push((difference.word(), text.trim().into()));
            }
            all.extend(&owned.differences);
        }
        trouble.differences = as_json(all.iter().copied());
        for oddity in &examined.oddities {
            trouble.facts.push(("file", oddity.text.clone()));
        }
        // One damaged block makes hundreds of findings, and the first say it.
        let shown = if examined.proven { 0 } else { 5 };
        for finding in examined.elf.iter().take(shown) {
            trouble.facts.push(("ELF", finding.text.clone()));
            if let Some(says) = &finding.linker_says {
                trouble.facts.push(("ld.so", says.clone()));
            }
        }
        if examined.elf.len() > shown && shown > 0 {
            let more = format!("and {} more such findings", examined.elf.len() - shown);
            trouble.facts.push(("ELF", more));
        }
        trouble.next = next(examined, root, &all);
        Some(trouble)
    }

    /// For people: a headline, and lines under it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", wrap(&shown::text(&self.headline), 2));
        for (about, fact) in &self.facts {
            let line = format!("  {about:9}{}", shown::text(fact));
            text += &format!("{}\n", wrap(&line, 11));
        }
        for next in &self.next {
            text += &format!("  next: {}\n", shown::text(next));
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let path = self
            .path
            .as_ref()
            .map(|p| format!("/{}", p.to_string_lossy()));
        let (name, version) = match &self.package {
            Some((name, version)) => (Some(name.as_str()), Some(version.as_str())),
            None => (None, None),
        };
        let facts = self.facts.iter().map(|(about, text)| {
            json::object(&[("about", json::text(about)), ("text", json::text(text))])
        });
        json::object(&[
            ("path", json::optional(path.as_deref())),
            ("gravity", json::text(word(self.gravity))),
            ("headline", json::text(&self.headline)),
            ("package", json::optional(name)),
            ("version", json::optional(version)),
            ("differences", self.differences.clone()),
            ("facts", json::array(facts)),
            (
                "next",
                json::array(self.next.iter().map(|line| json::text(line))),
            ),
        ])
    }
}

fn word(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::Whole => "whole",
        Gravity::Odd => "odd",
        Gravity::Rights => "rights",
        Gravity::Damaged => "damaged",
        Gravity::Fatal => "fatal",
    }
}

/// The worst first.
pub(crate) fn sort(troubles: &mut [Trouble]) {
    troubles.sort_by(|a, b| {
        let order = b.gravity.cmp(&a.gravity).then(a.rank.cmp(&b.rank));
        order.then_with(|| a.headline.cmp(&b.headline))
    });
}

/// What to do about a file.
fn next(examined: &Examined, root: &Path, differences: &[&Difference]) -> Vec<String> {
    let disk = |d: &&Difference| matches!(d, Difference::Unreadable { .. });
    let absolute = shown::path(&examined.path);
    let mut next = Vec::new();
    if differences.iter().any(disk) {
        next.push(
            "image the disk before anything is written to it: it cannot read this file".into(),
        );
    }
    if !examined.is_damaged() {
        return next;
    }
    let root_typed = shown::typed(root);
    // dpkg has no digest of what the path must be, and the package itself has.
    if examined.is_owned() {
        next.push(format!(
            "repair {root_typed} {}",
            shown::typed(Path::new(&absolute))
        ));
    } else {
        next.push(
            "no package has it: it has to come from a backup, or from whoever put it there".into(),
        );
    }
    next
}

/// Breaks a long line at blanks.
fn wrap(line: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut width = 0;
    let leading = line.len() - line.trim_start().len();
    out.push_str(&line[..leading]);
    width += leading;
    for (index, word) in line[leading..].split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && width + 1 + length > WIDE && width > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            width = indent;
        } else if index > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_and_long_words_are_not() {
        let words = "word ".repeat(40);
        let wrapped = wrap(&format!("  fact     {}", words.trim()), 11);
        assert!(wrapped.lines().all(|line| line.len() <= WIDE), "{wrapped}");
        assert!(
            wrapped
                .lines()
                .skip(1)
                .all(|line| line.starts_with("           word"))
        );
        assert_eq!(wrapped.split_whitespace().count(), 41);
        let path = "x".repeat(300);
        assert_eq!(wrap(&path, 2), path);
    }
}
