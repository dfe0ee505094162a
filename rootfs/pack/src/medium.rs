//! Packs on a medium: the one that this system was booted from, found by its identifier and by nothing
//! else, or a device, an ISO or a folder that somebody named.
//!
//! Nothing is read before somebody asks for a pack, and then of each device the one sector that holds the
//! identifier. A medium may go away while it is read, and come back as another device.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kedge_pack_index::Index;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::iso9660::{self, DESCRIPTOR, SECTOR};
use crate::place::Place;
use crate::reader::{Came, Manner, Reader};
use crate::source::{Source, Trouble};
use kedge_progress::interrupt;

/// What the identifiers of all such media begin with, whichever packs they have.
const OURS: &str = "KEDGE PACKS ";
/// The folder on the medium.
const FOLDER: &str = "PACKS";
/// The largest read: one command of it takes 5 s at 52 kB/s, and the kernel gives up after 30.
const LARGEST_READ: u64 = 256 << 10;
/// Blocks are no larger; for what says nothing about its own.
const BLOCK: u64 = 4096;
/// Devices may need so long to say what they hold: a drive spins up.
const LOOK: Duration = Duration::from_secs(20);
/// A device may be silent for so long: the kernel's timeout for one command, and a second try.
const PATIENCE: Duration = Duration::from_secs(65);
/// So many reads in a row fail at one place before it counts as unreadable.
const TRIES: u32 = 4;

/// What to look for.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// The medium with the identifier, among all devices.
    Boot,
    /// This device or image.
    Image(PathBuf),
    /// The archives as files in this folder.
    Folder(PathBuf),
}

/// The medium.
#[derive(Debug)]
pub(crate) struct Medium {
    place: Place,
    wanted: Wanted,
    application: String,
    open: Option<Open>,
    /// What it was called when it was last there.
    name: String,
    /// Where the reads stand, and how many in a row failed there.
    at: (String, u64),
    failed: u32,
    /// It was there once: when it is not, it is waited for.
    known: bool,
}

/// It is there.
#[derive(Debug)]
struct Open {
    reader: Reader,
    path: PathBuf,
    files: Vec<iso9660::Extent>,
}

impl Medium {
    /// Nothing is looked at before the first read.
    pub(crate) fn new(place: &Place, wanted: Wanted, index: &Index) -> Medium {
        let name = match &wanted {
            Wanted::Boot => "the boot medium".into(),
            Wanted::Image(path) | Wanted::Folder(path) => path.display().to_string(),
        };
        Medium {
            place: place.clone(),
            wanted,
            application: index.application_id(),
            open: None,
            name,
            at: (String::new(), 0),
            failed: 0,
            known: false,
        }
    }

    /// Opens it, where it is not open, and finds the archive: where it begins and how long it is.
    fn find(&mut self, archive: &str) -> Result<(u64, u64), Trouble> {
        let file = match &self.wanted {
            Wanted::Folder(folder) => return self.open_file(&folder.clone(), archive),
            Wanted::Boot | Wanted::Image(_) => format!("{}.XZ", archive.to_ascii_uppercase()),
        };
        let open = match self.open.take() {
            Some(open) => open,
            None => self.look()?,
        };
        let open = self.open.insert(open);
        self.known = true;
        self.name = open.path.display().to_string();
        match open.files.iter().find(|extent| extent.name == file) {
            Some(extent) => Ok((extent.offset, extent.size)),
            None => Err(Trouble::Lasting(format!(
                "there is no /{FOLDER}/{file} on it"
            ))),
        }
    }

    fn open_file(&mut self, folder: &Path, archive: &str) -> Result<(u64, u64), Trouble> {
        let upper = archive.to_ascii_uppercase();
        // As the builder writes them; as they are on a mounted medium, which shows names in small letters.
        let names = [
            format!("{archive}.cpio.xz"),
            format!("packs/{archive}.cpio.xz"),
            format!("packs/{archive}.xz"),
            format!("PACKS/{upper}.XZ"),
        ];
        let found = names.iter().map(|name| folder.join(name)).find_map(|path| {
            let metadata = path.metadata().ok().filter(|m| m.is_file())?;
            Some((path, metadata.len()))
        });
        let Some((path, size)) = found else {
            return Err(Trouble::Lasting(format!("there is no {} in it", names[0])));
        };
        if self.open.as_ref().is_none_or(|open| open.path != path) {
            let manner = Manner {
                block: BLOCK,
                chunk: LARGEST_READ as usize,
            };
            let reader = Reader::start(&path, manner).map_err(cannot_start)?;
            self.open = Some(Open {
                reader,
                path,
                files: Vec::new(),
            });
        }
        Ok((0, size))
    }

    fn look(&self) -> Result<Open, Trouble> {
        let mut seen = Vec::new();
        let named = match &self.wanted {
            Wanted::Image(path) => vec![vec![path.clone()]],
            _ => Vec::new(),
        };
        // One that was named may come back as another device.
        let others = match &self.wanted {
            Wanted::Image(_) if !self.known => Vec::new(),
            _ => candidates(&self.place),
        };
        for round in named.into_iter().chain(others) {
            if let Some(open) = self.look_at(round, &mut seen)? {
                return Ok(open);
            }
        }
        if self.known {
            return Err(Trouble::Passing("it is gone; looking for it".into()));
        }
        if let Wanted::Image(_) = self.wanted {
            let why = seen.pop().map_or("does not answer".into(), |(_, why)| why);
            return Err(Trouble::Lasting(why));
        }
        let seen: Vec<String> = seen.iter().map(|(p, why)| format!("{p}: {why}")).collect();
        Err(Trouble::Lasting(format!(
            "no device holds the packs of this system ({})",
            if seen.is_empty() {
                "there is none that could be a medium".into()
            } else {
                seen.join("; ")
            }
        )))
    }

    /// Asks all of them at once; the first that has the identifier is it.
    fn look_at(
        &self,
        paths: Vec<PathBuf>,
        seen: &mut Vec<(String, String)>,
    ) -> Result<Option<Open>, Trouble> {
        let mut asked = Vec::new();
        for path in paths {
            let mut reader =
                Reader::start(&path, manner(&self.place, &path)).map_err(cannot_start)?;
            if reader.ask(DESCRIPTOR, SECTOR).is_ok() {
                asked.push((path, reader, Vec::new()));
            }
        }
        let deadline = Instant::now() + LOOK;
        while !asked.is_empty() && Instant::now() < deadline && !interrupt::pressed_already() {
            let ready: Vec<bool> = {
                let mut fds: Vec<PollFd<'_>> = asked
                    .iter()
                    .map(|(_, reader, _)| PollFd::new(reader, PollFlags::IN))
                    .collect();
                let timeout = Timespec {
                    tv_sec: 0,
                    tv_nsec: 200_000_000,
                };
                let _ = poll(&mut fds, Some(&timeout));
                fds.iter().map(|fd| !fd.revents().is_empty()).collect()
            };
            let mut next = Vec::new();
            for ((path, mut reader, mut sector), ready) in asked.into_iter().zip(ready) {
                let name = path.display().to_string();
                // All that is there: what the reader holds already makes no descriptor ready.
                let came = loop {
                    match if ready {
                        reader.next(Duration::ZERO)
                    } else {
                        break Ok(Came::Nothing);
                    } {
                        Ok(Came::Data(data)) => sector.extend_from_slice(&data),
                        other => break other,
                    }
                };
                match came {
                    Ok(Came::Nothing | Came::Data(_)) => next.push((path, reader, sector)),
                    Ok(Came::End) => match self.judge(&sector) {
                        Ok(root) => match files(&mut reader, &root) {
                            Ok(files) => {
                                return Ok(Some(Open {
                                    reader,
                                    path,
                                    files,
                                }));
                            }
                            Err(e) => seen.push((name, format!("cannot be read: {e}"))),
                        },
                        Err(why) => seen.push((name, why.into())),
                    },
                    Err(e) => seen.push((name, without_number(&e))),
                }
            }
            asked = next;
        }
        for (path, ..) in asked {
            seen.push((path.display().to_string(), "does not answer".into()));
        }
        Ok(None)
    }

    fn judge(&self, sector: &[u8]) -> Result<iso9660::Extent, &'static str> {
        match iso9660::descriptor(sector) {
            None => Err("something else"),
            Some((application, root)) if application == self.application => Ok(root),
            Some((application, _)) if application.starts_with(OURS) => {
                Err("the packs of another build")
            }
            Some(_) => Err("another CD"),
        }
    }

    /// It is to be looked for again.
    fn lost(&mut self, error: &io::Error) -> Trouble {
        self.open = None;
        self.failed += 1;
        let why = without_number(error);
        if self.failed >= TRIES {
            let place = self.place(&self.at.0);
            return Trouble::Lasting(format!(
                "byte {} of {place} cannot be read: {why} (is the medium damaged?)",
                self.at.1
            ));
        }
        Trouble::Passing(why)
    }
}

impl Source for Medium {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn place(&self, archive: &str) -> String {
        match self.wanted {
            Wanted::Folder(_) => format!("{archive}.cpio.xz in {}", self.name),
            _ => format!(
                "/{FOLDER}/{}.XZ on {}",
                archive.to_ascii_uppercase(),
                self.name
            ),
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn begin(&mut self, archive: &str, offset: u64, length: u64) -> Result<(), Trouble> {
        if (self.at.0.as_str(), self.at.1) != (archive, offset) {
            self.at = (archive.into(), offset);
            self.failed = 0;
        }
        let (begin, size) = self.find(archive)?;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(Trouble::Lasting(format!(
                "{} has {size} bytes, and more are wanted: it is cut off, or of another build",
                self.place(archive)
            )));
        }
        let Some(open) = &mut self.open else {
            return Err(Trouble::Passing("it is gone".into()));
        };
        match open.reader.ask(begin + offset, length) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.lost(&e)),
        }
    }

    fn next(&mut self, wait: Duration) -> Result<Came, Trouble> {
        let Some(open) = &mut self.open else {
            return Err(Trouble::Passing("it is gone".into()));
        };
        match open.reader.next(wait) {
            Ok(Came::Data(data)) => {
                self.failed = 0;
                self.at.1 += data.len() as u64;
                Ok(Came::Data(data))
            }
            // Who has all bytes asks for no end.
            Ok(Came::End) => Err(self.lost(&io::Error::other("it ended in the middle"))),
            Ok(Came::Nothing) => Ok(Came::Nothing),
            Err(e) => Err(self.lost(&e)),
        }
    }
}

fn cannot_start(error: io::Error) -> Trouble {
    Trouble::Lasting(format!("cannot start a process that reads it: {error}"))
}

/// "Input/output error", without std's " (os error 5)".
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.into(),
        None => text,
    }
}

/// What is in the medium's folder of packs.
fn files(reader: &mut Reader, root: &iso9660::Extent) -> io::Result<Vec<iso9660::Extent>> {
    let mut directory = |extent: &iso9660::Extent| {
        if !extent.is_directory() {
            return Err(io::Error::other("its directories make no sense"));
        }
        let deadline = Instant::now() + PATIENCE;
        let stop = interrupt::pressed_already;
        let bytes = reader.fetch(extent.offset, extent.size, deadline, stop)?;
        Ok(iso9660::entries(&bytes))
    };
    let folder = directory(root)?
        .into_iter()
        .find(|extent| extent.name == FOLDER)
        .ok_or_else(|| io::Error::other("there are no packs on it"))?;
    directory(&folder)
}

/// The devices that may be the medium: first what is a CD drive, removable or on USB; then the rest. A disk that
/// is about to die is left alone as long as that can be.
fn candidates(place: &Place) -> Vec<Vec<PathBuf>> {
    let (mut likely, mut rest) = (Vec::new(), Vec::new());
    let names = std::fs::read_dir(place.sys.join("class/block"));
    let mut names: Vec<String> = names
        .map(|entries| {
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.collect()
        })
        .unwrap_or_default();
    names.sort();
    for name in names {
        let virtual_one = ["ram", "zram", "dm-", "md"]
            .iter()
            .any(|p| name.starts_with(p));
        let cd = name.starts_with("sr");
        let empty = place
            .attribute(&name, "size")
            .is_none_or(|size| size == "0");
        if virtual_one || (empty && !cd) || place.block(&name).join("partition").exists() {
            continue;
        }
        let removable = place
            .attribute(&name, "removable")
            .is_some_and(|r| r == "1");
        let usb = place.block(&name).canonicalize().is_ok_and(|path| {
            path.iter()
                .any(|part| part.to_string_lossy().starts_with("usb"))
        });
        let node = place.dev.join(&name);
        if cd || removable || usb {
            likely.push(node);
        } else {
            rest.push(node);
        }
    }
    vec![likely, rest]
}

/// Reads of one command each, as large as the device takes them.
fn manner(place: &Place, path: &Path) -> Manner {
    let device = place.device_of(path);
    let number =
        |name: &str| -> Option<u64> { place.attribute(device.as_deref()?, name)?.parse().ok() };
    let block = number("queue/logical_block_size")
        .filter(|block| block.is_power_of_two() && (512..=BLOCK).contains(block))
        .unwrap_or(BLOCK);
    let largest = number("queue/max_sectors_kb").map_or(LARGEST_READ, |kb| kb * 1024);
    // A multiple of the largest block, so that every read begins at one.
    let chunk = largest.min(LARGEST_READ) / BLOCK * BLOCK;
    Manner {
        block,
        chunk: chunk.max(BLOCK) as usize,
    }
}
