//! `pack`: programs that are not in the image, loaded when somebody wants them.
//!
//! What can be loaded is said by an index in the image ([`kedge_pack_index`]), whose digests decide what
//! is accepted. It comes from the medium that the system was booted from, or by HTTP: in order, each byte
//! once, checked, unpacked beside the root, and then put in place file by file. Nothing is fetched that is
//! there already, and nothing is half-installed.
//!
//! | module | what it does |
//! |---|---|
//! | [`fetch`] | sweeps over a source, resumes, checks digests |
//! | [`medium`], [`reader`], [`iso9660`] | a source that is a medium, which may hang, go, and come back |
//! | [`server`] | a source that is a web server |
//! | [`install`], [`cpio`] | from bytes to files |
//! | [`load`], [`list`], [`estimate`], [`service`] | the commands |

mod arguments;
mod cpio;
mod error;
mod estimate;
mod fetch;
mod install;
mod iso9660;
mod list;
mod load;
mod medium;
mod memory;
mod place;
mod reader;
mod selection;
mod server;
mod service;
mod source;
mod state;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use kedge_pack_index::Index;
use kedge_settings::Words;

pub use error::Error;
pub use place::Place;

use arguments::Command;
use estimate::Sample;
use kedge_progress::{Progress, interrupt, seconds};
use list::Shelf;
use state::State;

/// What `kedge help pack` says.
pub const HELP: &str = "\
usage: pack list [NAME] [--json] [--from SOURCE]
       pack load NAME... [--from SOURCE] [--dry-run]

Programs that are not in memory yet: from the medium that this system was
booted from, or by HTTP from where it was netbooted. NAME is a pack or one
program of a pack; what is there already is not fetched again.

  list           what there is, bytes to load, and how long that takes from
                 here; list NAME shows the programs of a pack
  load           loads, and puts the programs into /bin
  --from SOURCE  a URL (of the folder with NAME.cpio.xz), a device or ISO
                 image, or a folder; otherwise kedge.pack_url=URL of the
                 kernel's command line, then the boot medium
  --dry-run      only says what would be loaded
  --json         one object; sizes in bytes

  pack load xfs_repair
  pack load storage --from http://192.0.2.1/netboot/packs

A source that goes away is waited for and loading goes on where it stopped;
ctrl-C ends it, and leaves nothing. kedge.pack=NAME,NAME on the kernel's
command line loads at boot.

Exit status: 0; 1 not loaded; 2 wrong use, or no such pack or program; 3 what
came is damaged or of another build; 130 ctrl-C. A program that is not loaded
yet ends with 127.
";

/// What `pack list` may read, in which time, to find out how fast it would be ...
const SAMPLE: Sample = Sample {
    bytes: 128 << 10,
    longest: Duration::from_secs(10),
};
/// ... and a program that is not there: enough for 52 kB/s.
const SHORT_SAMPLE: Sample = Sample {
    bytes: 64 << 10,
    longest: Duration::from_secs(2),
};

/// Runs `pack`. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    let words = Words::here().unwrap_or_default();
    run(&Place::here(), &words, arguments)
}

/// Runs `pack` for the system at `place`, whose settings are `words`.
pub fn run(place: &Place, words: &Words, arguments: &[String]) -> ExitCode {
    let command = match arguments::parse(arguments) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("pack: {why} (kedge help pack says more)");
            return ExitCode::from(2);
        }
    };
    match command.run(place, words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pack: {error}");
            ExitCode::from(match error {
                Error::Unknown { .. } => 2,
                Error::Damaged { .. } => 3,
                Error::Interrupted => 130,
                _ => 1,
            })
        }
    }
}

/// For a name that is no tool's: when it is a program of a pack, says how to get it. `None` when it is not.
pub fn offer(name: &str) -> Option<ExitCode> {
    offer_at(&Place::here(), &Words::here().unwrap_or_default(), name)
}

/// As [`offer`], for the system at `place`.
pub fn offer_at(place: &Place, words: &Words, name: &str) -> Option<ExitCode> {
    let index = index(place).ok()?;
    selection::program(&index, name)?;
    let rate = estimate::rate(place, &index, words, None, SHORT_SAMPLE);
    let text = shelf(place, &index, rate).offer(name)?;
    eprintln!("{text}");
    Some(ExitCode::from(127))
}

fn shelf<'a>(place: &Place, index: &'a Index, rate: Result<f64, String>) -> Shelf<'a> {
    let mut there = State::of(place, &index.id).loaded();
    there.extend(&index.built_in);
    Shelf { index, there, rate }
}

fn index(place: &Place) -> Result<Index, Error> {
    let path = place.at(kedge_pack_index::PATH);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NoIndex { path }),
        Err(e) => {
            let why = e.to_string();
            return Err(Error::Index { path, why });
        }
    };
    Index::parse(&text).map_err(|malformed| Error::Index {
        path,
        why: malformed.to_string(),
    })
}

impl Command {
    fn run(self, place: &Place, words: &Words) -> Result<(), Error> {
        let index = match (&self, index(place)) {
            (Command::Service, Err(error)) => {
                // Nothing that trying again would change.
                kedge_message::warning!("kedge.pack: {error}");
                return Ok(());
            }
            (_, index) => index?,
        };
        match self {
            Command::List { name, json, from } => {
                let named = name.as_deref().map(|name| find(&index, name)).transpose()?;
                let rate = estimate::rate(place, &index, words, from.as_deref(), SAMPLE);
                let shelf = shelf(place, &index, rate);
                let text = match (named, json) {
                    (_, true) => shelf.json(),
                    (None, _) => shelf.packs(),
                    (Some(Named::Pack(pack)), _) => shelf.programs(pack),
                    (Some(Named::Program(name)), _) => {
                        let groups = selection::groups(&index, &name).unwrap_or_default();
                        shelf.program(&name, &groups)
                    }
                };
                print(&text);
                if let Err(why) = &shelf.rate {
                    eprintln!("pack: how long it takes from here is not known: {why}");
                }
                Ok(())
            }
            Command::Load {
                names,
                from,
                dry_run,
            } => load_named(place, words, &index, &names, from.as_deref(), dry_run),
            Command::Service => {
                interrupt::watch();
                service::run(place, &index, words);
                Ok(())
            }
        }
    }
}

enum Named {
    Pack(usize),
    Program(String),
}

fn find(index: &Index, name: &str) -> Result<Named, Error> {
    if let Some(pack) = index.packs.iter().position(|pack| pack.name == name) {
        return Ok(Named::Pack(pack));
    }
    match selection::program(index, name) {
        Some(_) => Ok(Named::Program(name.into())),
        None => Err(selection::unknown(index, name)),
    }
}

fn load_named(
    place: &Place,
    words: &Words,
    index: &Index,
    names: &[String],
    from: Option<&str>,
    dry_run: bool,
) -> Result<(), Error> {
    let groups = selection::all(index, names)?;
    let what = names.join(", ");
    if dry_run {
        let rate = estimate::rate(place, index, words, from, SAMPLE);
        let shelf = shelf(place, index, rate);
        let missing = groups.difference(&shelf.there).count();
        let bytes = selection::packed(index, groups.difference(&shelf.there));
        let time = shelf
            .rate
            .map_or("?".into(), |rate| seconds(bytes as f64 / rate));
        println!(
            "{what}: {} in {missing} groups, {time}",
            kedge_progress::bytes(bytes)
        );
        return Ok(());
    }
    interrupt::watch();
    let sources = load::sources(place, index, words, from);
    let done = load::load(
        place,
        index,
        &groups,
        &what,
        sources,
        &mut Progress::new("pack"),
    )?;
    match done.bytes {
        0 => eprintln!("{what}: loaded already"),
        bytes => eprintln!(
            "loaded {what}: {} in {}",
            kedge_progress::bytes(bytes),
            seconds(done.time.as_secs_f64())
        ),
    }
    Ok(())
}

/// Writes to stdout. That nobody reads it to the end (`| head`) is no failure.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
