//! The index of packs: which programs can be loaded, and what each of them needs.
//!
//! It is written by the builder and read in the image (`/etc/kedge/packs`), where its digests decide
//! what is accepted: a pack needs no trust in the medium or server that it comes from.
//!
//! The files of all packs are divided into **groups**: two files are in the same group when they are
//! needed by the same programs. A group is one stream of xz that holds an archive of its files (cpio, newc),
//! so a program is loaded by loading its groups, and nothing is loaded twice, whichever pack it came
//! with. The groups of a pack lie one behind the other in `packs/NAME.cpio.xz`; those that several packs
//! need, in `packs/shared.cpio.xz`. Each of these files is a whole `.cpio.xz` by itself.
//!
//! The text, one statement a line:
//!
//! ```text
//! kedge-packs 1
//! id 0f343b0931126a20f133d67c2b018a3b
//! archive shared
//! group 0 743120 1926656 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
//! archive storage
//! group 1 301214 871424 2c624232cc5fc5ca4a4e1e7ac6b7a0c6cf3a7b1f0ff3f0ad47b1d1d0ba1c4d2f
//! pack storage file systems, LUKS, LVM, RAID, SMART
//! program storage xfs_repair 0 1
//! built-in 0
//! ```
//!
//! | statement | says |
//! |---|---|
//! | `id` | which packs these are: 32 hex digits, also on the medium (see [`Index::application_id`]) |
//! | `archive NAME` | `packs/NAME.cpio.xz`; archives are numbered from 0 |
//! | `group ARCHIVE PACKED UNPACKED SHA256` | the next bytes of that archive; groups are numbered from 0; SHA256 is that of the packed bytes |
//! | `pack NAME SUMMARY` | a pack that has programs |
//! | `program PACK NAME GROUP...` | a program of it, and everything that it needs |
//! | `built-in GROUP...` | what the image has from the start |

use std::collections::BTreeSet;
use std::fmt;

/// Where the index is in the image.
pub const PATH: &str = "/etc/kedge/packs";
/// The first line.
const MAGIC: &str = "kedge-packs 1";
/// What the application identifier of a medium with packs begins with.
const APPLICATION: &str = "KEDGE PACKS ";

/// Everything that can be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Which packs these are: 32 hex digits.
    pub id: String,
    /// The archives' names, without folder and ending: [`Group::archive`] counts in it.
    pub archives: Vec<String>,
    /// The groups: [`Program::groups`] counts in it.
    pub groups: Vec<Group>,
    /// The packs: [`Program::pack`] counts in it.
    pub packs: Vec<Pack>,
    /// The programs, sorted by pack and name.
    pub programs: Vec<Program>,
    /// The groups that the image has from the start.
    pub built_in: BTreeSet<usize>,
}

/// Files that are always loaded together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// In which archive.
    pub archive: usize,
    /// Where it begins there, in bytes.
    pub offset: u64,
    /// Bytes to load.
    pub packed: u64,
    /// Bytes of the archive of files in it, which is about what the files take in memory.
    pub unpacked: u64,
    /// SHA-256 of the packed bytes.
    pub sha256: [u8; 32],
}

/// Programs for one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its name: see [`is_pack_name`].
    pub name: String,
    /// What it is for.
    pub summary: String,
}

/// Something that can be loaded by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Of which pack.
    pub pack: usize,
    /// Its name, which is that of its file in /bin.
    pub name: String,
    /// What it needs, itself included.
    pub groups: BTreeSet<usize>,
}

/// A text that is no index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Malformed {}

/// Whether packs may be called so: up to 8 lower-case letters and digits, because it becomes a name of
/// plain ISO 9660 (8.3).
pub fn is_pack_name(name: &str) -> bool {
    (1..=8).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether a program may be called so: a file name without blanks.
fn is_program_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

impl Index {
    /// Reads the text of an index.
    ///
    /// # Errors
    /// At the first line that is no statement, or that names an archive, pack or group that there is not.
    pub fn parse(text: &str) -> Result<Index, Malformed> {
        let mut index = Index::default();
        let mut ends: Vec<u64> = Vec::new();
        let mut lines = text.lines().enumerate();
        let first = lines.next().map(|(_, line)| line);
        if first != Some(MAGIC) {
            return Err(Malformed {
                line: 1,
                why: "this is no index of packs of this version",
            });
        }
        for (number, line) in lines {
            index.take(line, &mut ends).map_err(|why| Malformed {
                line: number + 1,
                why,
            })?;
        }
        if index.id.is_empty() {
            return Err(Malformed {
                line: 1,
                why: "it has no id",
            });
        }
        Ok(index)
    }

    fn take(&mut self, line: &str, ends: &mut Vec<u64>) -> Result<(), &'static str> {
        let (statement, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let mut word = || words.next().ok_or("a word is missing");
        match statement {
            "id" if rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()) => {
                self.id = rest.into();
            }
            "archive" if is_pack_name(rest) => {
                self.archives.push(rest.into());
                ends.push(0);
            }
            "group" => {
                let archive = number(word()?)?;
                let (packed, unpacked) = (number(word()?)? as u64, number(word()?)? as u64);
                let sha256 = digest(word()?).ok_or("this is no SHA-256")?;
                let end = ends.get_mut(archive).ok_or("there is no such archive")?;
                let offset = *end;
                *end = end.checked_add(packed).ok_or("this is too large")?;
                self.groups.push(Group {
                    archive,
                    offset,
                    packed,
                    unpacked,
                    sha256,
                });
            }
            "pack" => {
                let name = word()?.to_string();
                if !is_pack_name(&name) {
                    return Err("this is no name of a pack");
                }
                let summary: String = rest[name.len()..].trim_start().into();
                if summary.chars().any(char::is_control) {
                    return Err("this is no summary");
                }
                self.packs.push(Pack { name, summary });
            }
            "program" => {
                let pack = word()?;
                let pack = self.packs.iter().position(|known| known.name == pack);
                let pack = pack.ok_or("there is no such pack")?;
                let name = word()?.to_string();
                if !is_program_name(&name) {
                    return Err("this is no name of a program");
                }
                let groups = self.numbers(words)?;
                self.programs.push(Program { pack, name, groups });
            }
            "built-in" => self.built_in = self.numbers(words)?,
            _ => return Err("this is no statement"),
        }
        Ok(())
    }

    /// Numbers of groups that there are.
    fn numbers<'a>(
        &self,
        words: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeSet<usize>, &'static str> {
        let numbers: BTreeSet<usize> = words.map(number).collect::<Result<_, _>>()?;
        match numbers.last() {
            Some(last) if *last >= self.groups.len() => Err("there is no such group"),
            _ => Ok(numbers),
        }
    }

    /// The text, with a line feed at its end; [`Index::parse`] reads it.
    pub fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}\nid {}\n", self.id);
        for archive in &self.archives {
            text += &format!("archive {archive}\n");
        }
        for group in &self.groups {
            let digest: String = group.sha256.iter().map(|b| format!("{b:02x}")).collect();
            text += &format!(
                "group {} {} {} {digest}\n",
                group.archive, group.packed, group.unpacked
            );
        }
        for pack in &self.packs {
            text += &format!("pack {} {}\n", pack.name, pack.summary);
        }
        for program in &self.programs {
            text += &format!("program {} {}", self.packs[program.pack].name, program.name);
            text += &listed(&program.groups);
        }
        if !self.built_in.is_empty() {
            text += "built-in";
            text += &listed(&self.built_in);
        }
        text
    }

    /// What stands in the application identifier of an ISO 9660 volume (ECMA-119, 8.4.20) that has these
    /// packs, so that the medium is found by what is on it.
    pub fn application_id(&self) -> String {
        format!("{APPLICATION}{}", self.id.to_uppercase())
    }

    /// Everything that the pack of that number needs.
    pub fn groups_of_pack(&self, pack: usize) -> BTreeSet<usize> {
        let programs = self.programs.iter().filter(|program| program.pack == pack);
        programs
            .flat_map(|program| &program.groups)
            .copied()
            .collect()
    }
}

/// Numbers, each after a blank, and a line feed.
fn listed(groups: &BTreeSet<usize>) -> String {
    let numbers: String = groups.iter().map(|group| format!(" {group}")).collect();
    numbers + "\n"
}

fn number(word: &str) -> Result<usize, &'static str> {
    word.parse().map_err(|_| "this is no number")
}

fn digest(word: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if word.len() != 64 || !word.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(word.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests;
