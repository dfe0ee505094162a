//! `pack list`: what there is, what it costs from here, and what is loaded. And what a program says that
//! is not loaded yet.

use std::collections::BTreeSet;

use kedge_json::{array, number, object, optional, text};
use kedge_pack_index::Index;

use crate::selection;
use kedge_progress::{bytes, seconds};

/// Columns of a pack's name, which is 8.3's, and of a program's.
const PACK: usize = 8;
const PROGRAM: usize = 18;

/// What a list is made of.
pub(crate) struct Shelf<'a> {
    pub(crate) index: &'a Index,
    /// Groups that are there: loaded, or from the start.
    pub(crate) there: BTreeSet<usize>,
    /// Bytes a second; or why nobody knows.
    pub(crate) rate: Result<f64, String>,
}

/// How many programs of something are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Whole,
    Part,
    None,
}

impl Presence {
    fn word(self) -> &'static str {
        match self {
            Presence::Whole => "yes",
            Presence::Part => "part",
            Presence::None => "no",
        }
    }
}

impl Shelf<'_> {
    fn to_load(&self, groups: &BTreeSet<usize>) -> u64 {
        selection::packed(self.index, groups.difference(&self.there))
    }

    fn is_there(&self, groups: &BTreeSet<usize>) -> bool {
        groups.is_subset(&self.there)
    }

    fn presence_of_pack(&self, pack: usize) -> Presence {
        let mut programs = self.index.programs.iter().filter(|p| p.pack == pack);
        if self.is_there(&self.index.groups_of_pack(pack)) {
            Presence::Whole
        } else if programs.any(|program| self.is_there(&program.groups)) {
            Presence::Part
        } else {
            Presence::None
        }
    }

    fn presence_of_program(&self, groups: &BTreeSet<usize>) -> Presence {
        match self.is_there(groups) {
            true => Presence::Whole,
            false => Presence::None,
        }
    }

    fn time(&self, load: u64) -> Option<f64> {
        let rate = self.rate.as_ref().ok()?;
        Some(load as f64 / rate)
    }

    fn time_in_words(&self, load: u64) -> String {
        match self.time(load) {
            _ if load == 0 => "-".into(),
            Some(time) => seconds(time),
            None => "?".into(),
        }
    }

    fn row(
        &self,
        name: &str,
        width: usize,
        groups: &BTreeSet<usize>,
        presence: Presence,
        last: &str,
    ) -> String {
        let load = self.to_load(groups);
        let size = if load == 0 { "-".into() } else { bytes(load) };
        let (time, there) = (self.time_in_words(load), presence.word());
        let row = format!("{name:<width$} {size:>7} {time:>7}  {there:<5} {last}");
        // A terminal has 80 columns.
        row.trim_end().chars().take(79).collect::<String>() + "\n"
    }

    /// All packs.
    pub(crate) fn packs(&self) -> String {
        let mut out = format!(
            "{:<8} {:>7} {:>7}  {:<5} {}\n",
            "PACK", "TO LOAD", "TIME", "THERE", "WHAT FOR"
        );
        for (number, pack) in self.index.packs.iter().enumerate() {
            let groups = self.index.groups_of_pack(number);
            out += &self.row(
                &pack.name,
                PACK,
                &groups,
                self.presence_of_pack(number),
                &pack.summary,
            );
        }
        out += &match &self.rate {
            Ok(rate) => format!("At {}/s. ", bytes(*rate as u64)),
            Err(_) => String::new(),
        };
        out + "pack list NAME: its programs; pack load NAME: a pack or program.\n"
    }

    /// The programs of a pack.
    pub(crate) fn programs(&self, pack: usize) -> String {
        let mut out = format!("{:<18} {:>7} {:>7}  THERE\n", "PROGRAM", "TO LOAD", "TIME");
        for program in self.index.programs.iter().filter(|p| p.pack == pack) {
            let presence = self.presence_of_program(&program.groups);
            out += &self.row(&program.name, PROGRAM, &program.groups, presence, "");
        }
        out
    }

    /// One program.
    pub(crate) fn program(&self, name: &str, groups: &BTreeSet<usize>) -> String {
        format!(
            "{:<18} {:>7} {:>7}  THERE\n{}",
            "PROGRAM",
            "TO LOAD",
            "TIME",
            self.row(name, PROGRAM, groups, self.presence_of_program(groups), "")
        )
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> String {
        let facts = |name: &str, groups: &BTreeSet<usize>| {
            let load = self.to_load(groups);
            let time = self.time(load).map(|time| format!("{time:.1}"));
            vec![
                ("name", text(name)),
                ("bytes_to_load", load.to_string()),
                ("seconds", number(time)),
                ("loaded", self.is_there(groups).to_string()),
            ]
        };
        let packs = self.index.packs.iter().enumerate().map(|(pack, of)| {
            let programs = self.index.programs.iter().filter(|p| p.pack == pack);
            let programs = programs.map(|p| object(&facts(&p.name, &p.groups)));
            let mut members = facts(&of.name, &self.index.groups_of_pack(pack));
            members.push(("summary", text(&of.summary)));
            members.push(("programs", array(programs)));
            object(&members)
        });
        let rate = self.rate.as_ref().map(|rate| format!("{rate:.0}"));
        object(&[
            ("id", text(&self.index.id)),
            ("bytes_per_second", number(rate.as_ref().ok())),
            ("no_rate", optional(rate.err().map(String::as_str))),
            ("packs", array(packs)),
        ]) + "\n"
    }

    /// What stands in for a program that is not there.
    pub(crate) fn offer(&self, name: &str) -> Option<String> {
        let program = selection::program(self.index, name)?;
        let pack = &self.index.packs[program.pack].name;
        let load = self.to_load(&program.groups);
        let time = match self.time(load) {
            Some(time) => format!(", about {} from here", seconds(time)),
            None => String::new(),
        };
        Some(format!(
            "{name}: in pack \"{pack}\", {}{time}: pack load {name}",
            bytes(load)
        ))
    }
}
