//! One thing that is wrong, how that is known, and what to type next: for people and for programs.

use std::path::{Path, PathBuf};

use kedge_elf::Finding;
use kedge_json as json;
use kedge_sysroot::Error;
use rustix::io::Errno;

use crate::compare::is_the_disk_s;
use crate::verify::{as_json, lines};
use crate::{Examined, Gravity, shown};

/// How many findings of one ELF file are told.
const MOST_FINDINGS: usize = 3;
/// What is done about a disk or a file system that does not give what it has.
const IMAGE: &str =
    "image the disk before anything is written to it; then fsck the copy, and repair that";

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

    /// A file or folder that is there and cannot be looked at.
    pub(crate) fn unreadable(path: &Path, error: &Error) -> Trouble {
        let why = match error.errno() {
            Some(errno) => errno.to_string(),
            None => error.to_string(),
        };
        let headline = format!("{} cannot be read: {why}", shown::path(path));
        // That somebody else than root looks is no damage.
        let gravity = match error.errno() {
            Some(Errno::ACCESS | Errno::PERM) => Gravity::Odd,
            _ => Gravity::Damaged,
        };
        let mut trouble = Trouble::new(gravity, headline);
        trouble.path = Some(path.into());
        match is_the_disk_s(error) {
            true => trouble.next(IMAGE),
            false => trouble,
        }
    }

    /// Whether it is a disk or a file system that has lost something.
    pub(crate) fn is_lost(&self) -> bool {
        self.next == [IMAGE]
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
        trouble.facts = as_elf(examined);
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
        trouble.next = next(examined, root);
        Some(trouble)
    }

    /// For people: a headline, and lines under it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", shown::wrapped(&shown::text(&self.headline), 2));
        for (about, fact) in &self.facts {
            let line = format!("  {about:8} {}", shown::text(fact));
            text += &format!("{}\n", shown::wrapped(&line, 11));
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

/// What the dynamic linker says, which may be what brought somebody here, and why.
fn as_elf(examined: &Examined) -> Vec<(&'static str, String)> {
    // One damaged block makes hundreds of findings, and the first of each kind say it.
    let mut shown: Vec<&Finding> = Vec::new();
    for finding in &examined.elf {
        let says = &finding.linker_says;
        let told = says.is_some() && shown.iter().any(|shown| shown.linker_says == *says);
        if !told && shown.len() < MOST_FINDINGS {
            shown.push(finding);
        }
    }
    let says = shown.iter().filter_map(|finding| {
        let says = finding.linker_says.as_ref()?;
        Some(("ld.so", says.clone()))
    });
    let found = shown.iter().map(|finding| ("ELF", finding.text.clone()));
    let more = examined.elf.len() - shown.len();
    let more = (more > 0).then(|| ("ELF", format!("and {more} more like that")));
    says.chain(found).chain(more).collect()
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
fn next(examined: &Examined, root: &Path) -> Vec<String> {
    let absolute = shown::path(&examined.path);
    let mut next = Vec::new();
    if examined.is_lost() {
        next.push(IMAGE.into());
        return next;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_or_file_system_lost_is_imaged_first() {
        let of = |errno| {
            let path = "/mnt/x".into();
            Trouble::unreadable(Path::new("x"), &Error::System { path, errno })
        };
        for errno in [
            Errno::IO,
            Errno::UCLEAN,
            Errno::BADMSG,
            Errno::REMOTEIO,
            Errno::TIMEDOUT,
            Errno::NODATA,
        ] {
            let trouble = of(errno);
            assert!(trouble.is_lost() && trouble.gravity == Gravity::Damaged);
            assert!(trouble.text().contains("fsck the copy"), "{errno}");
        }
        assert!(!of(Errno::LOOP).is_lost());
        // Somebody else than root cannot know.
        assert_eq!(of(Errno::ACCESS).gravity, Gravity::Odd);
    }
}
