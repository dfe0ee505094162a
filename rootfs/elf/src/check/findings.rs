//! Findings as they come: bounded, and worst first at the end; and rules that are kept by custom only.

use std::ops::Range;

use crate::{Field, Finding, Part, Severity};

/// A zeroed table breaks each of its ten thousand entries: a few say it all.
const MOST_OF_A_KIND: usize = 6;

/// So often a rule must hold before one breach is one.
const A_FEW: usize = 5;

/// So many breaches of a custom are remembered.
const MOST_BREACHES: usize = 16;

#[derive(Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    /// How many more there were that are not in `found`.
    more: Vec<(Part, Severity, u64)>,
}

impl Findings {
    pub(crate) fn fatal(
        &mut self,
        part: Part,
        bytes: Range<u64>,
        text: impl Into<String>,
        linker_says: &str,
    ) {
        self.add(
            Severity::Fatal,
            part,
            bytes,
            text.into(),
            Some(linker_says.to_owned()),
        );
    }

    /// Fatal, and it is known what must be in a field of these bytes.
    pub(crate) fn fatal_field(
        &mut self,
        part: Part,
        bytes: Range<u64>,
        text: String,
        linker_says: &str,
        must: Field,
    ) {
        self.fatal(part, bytes.clone(), text, linker_says);
        // It is not, where there are too many of them.
        let last = self.found.last_mut();
        if let Some(last) = last.filter(|last| last.part == part && last.bytes == bytes) {
            last.must = Some(must);
        }
    }

    /// Fatal, without a word of the dynamic linker: the kernel refuses, or the program crashes.
    pub(crate) fn crash(&mut self, part: Part, bytes: Range<u64>, text: impl Into<String>) {
        self.add(Severity::Fatal, part, bytes, text.into(), None);
    }

    pub(crate) fn damage(&mut self, part: Part, bytes: Range<u64>, text: impl Into<String>) {
        self.add(Severity::Damage, part, bytes, text.into(), None);
    }

    /// Damage that is met only by who needs the very thing.
    pub(crate) fn damage_saying(
        &mut self,
        part: Part,
        bytes: Range<u64>,
        text: String,
        linker_says: &str,
    ) {
        self.add(
            Severity::Damage,
            part,
            bytes,
            text,
            Some(linker_says.to_owned()),
        );
    }

    pub(crate) fn odd(&mut self, part: Part, bytes: Range<u64>, text: impl Into<String>) {
        self.add(Severity::Odd, part, bytes, text.into(), None);
    }

    fn add(
        &mut self,
        severity: Severity,
        part: Part,
        bytes: Range<u64>,
        text: String,
        linker_says: Option<String>,
    ) {
        let alike = self
            .found
            .iter()
            .filter(|f| f.part == part && f.severity == severity)
            .count();
        if alike >= MOST_OF_A_KIND {
            match self
                .more
                .iter_mut()
                .find(|(p, s, _)| (*p, *s) == (part, severity))
            {
                Some((_, _, count)) => *count += 1,
                None => self.more.push((part, severity, 1)),
            }
            return;
        }
        let finding = Finding {
            severity,
            part,
            bytes,
            text,
            linker_says,
            must: None,
        };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// Worst first; among equals in the order in which the dynamic linker comes to them.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        for (part, severity, count) in std::mem::take(&mut self.more) {
            let text = format!("{count} more like these");
            self.found.push(Finding {
                severity,
                part,
                bytes: 0..0,
                text,
                linker_says: None,
                must: None,
            });
        }
        self.found.sort_by_key(|f| std::cmp::Reverse(f.severity));
        self.found
    }
}

/// A rule that no standard demands, but that linkers keep: where nearly everything in this very file keeps it, the few
/// that break it are damaged. Where many do, another linker made the file, or another tool went over it.
#[derive(Default)]
pub(crate) struct Custom {
    kept: usize,
    broken: usize,
    breaches: Vec<(Part, Range<u64>, String)>,
}

impl Custom {
    /// Once more; `text` says what is wrong if it is.
    pub(crate) fn holds(
        &mut self,
        holds: bool,
        part: Part,
        bytes: Range<u64>,
        text: impl FnOnce() -> String,
    ) {
        if holds {
            self.kept += 1;
            return;
        }
        self.broken += 1;
        if self.breaches.len() < MOST_BREACHES {
            self.breaches.push((part, bytes, text()));
        }
    }

    /// How often it did not hold.
    pub(crate) fn broken(&self) -> usize {
        self.broken
    }

    /// One breach in `one_in` is still damage.
    pub(crate) fn judge(self, one_in: usize, findings: &mut Findings) {
        let most = (self.kept + self.broken) / one_in;
        self.judge_up_to(most, findings);
    }

    /// The same for a rule that nothing breaks but damage: one breach is enough wherever the rule holds a few times.
    pub(crate) fn judge_strictly(self, one_in: usize, findings: &mut Findings) {
        let all = self.kept + self.broken;
        let most = (all / one_in).max(usize::from(all >= A_FEW));
        self.judge_up_to(most, findings);
    }

    fn judge_up_to(self, most: usize, findings: &mut Findings) {
        if self.broken > most {
            return;
        }
        for (part, bytes, text) in self.breaches {
            findings.damage(part, bytes, text);
        }
    }
}
