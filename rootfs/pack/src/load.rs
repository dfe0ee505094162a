//! `pack load`: from names to programs that run.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::Duration;

use kedge_pack_index::Index;
use kedge_settings::Words;

use crate::fetch::{Failure, Fetch};
use crate::install::Staging;
use crate::medium::{Medium, Wanted};
use crate::place::Place;
use crate::server::Server;
use crate::source::Source;
use crate::state::State;
use crate::{Error, memory, selection};
use kedge_progress::Progress;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Bytes that were fetched; none when everything was there.
    pub(crate) bytes: u64,
    /// In which time.
    pub(crate) time: Duration,
}

/// Where packs can come from, in the order in which they are tried, and what cannot be one.
pub(crate) struct Sources {
    pub(crate) sources: Vec<Box<dyn Source>>,
    pub(crate) not: Vec<String>,
}

/// What somebody named by `--from`; otherwise the web server that the system was booted from
/// (`kedge.pack_url=`), then the boot medium.
pub(crate) fn sources(place: &Place, index: &Index, words: &Words, from: Option<&str>) -> Sources {
    let mut found = Sources {
        sources: Vec::new(),
        not: Vec::new(),
    };
    if let Some(from) = from {
        let path = std::path::PathBuf::from(from);
        if is_web(from) {
            found.sources.push(Box::new(Server::new(from)));
        } else if from.contains("://") {
            found.not.push(not_web("--from", from));
        } else if path.is_dir() {
            let medium = Medium::new(place, Wanted::Folder(path), index);
            found.sources.push(Box::new(medium));
        } else {
            let medium = Medium::new(place, Wanted::Image(path), index);
            found.sources.push(Box::new(medium));
        }
        return found;
    }
    if let Some(url) = words.last("kedge.pack_url") {
        let url = folder(&String::from_utf8_lossy(url));
        if !url.contains('/') {
            // What boot.ipxe has from DHCP, and is nobody's mistake: undionly.kpxe.
        } else if is_web(&url) {
            found.sources.push(Box::new(Server::new(&url)));
        } else {
            found.not.push(not_web("kedge.pack_url=", &url));
        }
    }
    let medium = Medium::new(place, Wanted::Boot, index);
    found.sources.push(Box::new(medium));
    found
}

/// The folder of packs: for a script of iPXE's the one beside it.
fn folder(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    match path.rsplit_once('/') {
        Some((folder, script)) if script.ends_with(".ipxe") => format!("{folder}/packs"),
        _ => url.into(),
    }
}

fn is_web(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    scheme.len() < url.len()
        && (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
}

fn not_web(what: &str, url: &str) -> String {
    format!(
        "{what} {}: packs come by http:// or https:// only (any web server that has the folder netboot/packs)",
        kedge_web::shown(url).escape_debug()
    )
}

/// Loads what is not there yet of these groups. `what` names it in messages.
pub(crate) fn load(
    place: &Place,
    index: &Index,
    groups: &BTreeSet<usize>,
    what: &str,
    sources: Sources,
    progress: &mut Progress,
) -> Result<Done, Error> {
    let state = State::of(place, &index.id);
    let lock = state.lock(|| progress.note("another pack is being loaded; waiting for it"))?;
    let mut loaded = state.loaded();
    let missing: BTreeSet<usize> = groups
        .iter()
        .filter(|group| !index.built_in.contains(group) && !loaded.contains(group))
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(Done {
            bytes: 0,
            time: Duration::ZERO,
        });
    }
    let mut staging = Staging::new(place)?;
    memory::check(place, memory::need(index, missing.iter().copied()))?;
    let total = selection::packed(index, &missing);
    progress.begin(total);
    let mut fetch = Fetch {
        index,
        progress,
        missing: missing.clone(),
        done: 0,
        measured: (0, Duration::ZERO),
        what,
    };

    // What has come is unpacked while the rest comes.
    let (hand, take) = channel::<(usize, Vec<u8>)>();
    let (unpacked, fetched) = std::thread::scope(|scope| {
        let staging = &mut staging;
        let unpacker = scope.spawn(move || {
            for (group, bytes) in take {
                let archive = &index.archives[index.groups[group].archive];
                staging.unpack(&bytes).map_err(|error| Error::Unpack {
                    archive: archive.clone(),
                    why: error.to_string(),
                })?;
            }
            Ok(())
        });
        let mut hand_over = |group, bytes| {
            // It ends early only with an error, which counts more than this one.
            hand.send((group, bytes)).map_err(|_| Error::Interrupted)
        };
        let fetched = from_one_of(sources, &mut fetch, &mut hand_over);
        drop(hand);
        let unpacked = unpacker.join().unwrap_or_else(|_| {
            Err(Error::Unpack {
                archive: what.into(),
                why: "the unpacker failed".into(),
            })
        });
        (unpacked, fetched)
    });
    fetch.progress.clear();
    let (bytes, time) = fetch.measured;
    unpacked?;
    fetched?;
    if kedge_progress::interrupt::pressed_already() {
        return Err(Error::Interrupted);
    }
    staging.install()?;
    loaded.extend(missing);
    state.save_loaded(&loaded)?;
    state.save_rate(bytes, time);
    drop(lock);
    Ok(Done { bytes: total, time })
}

/// From the first source that can.
fn from_one_of(
    sources: Sources,
    fetch: &mut Fetch<'_>,
    hand_over: &mut dyn FnMut(usize, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut tried = sources.not;
    for why in &tried {
        fetch.progress.note(why);
    }
    let count = sources.sources.len();
    for (number, mut source) in sources.sources.into_iter().enumerate() {
        match fetch.from(source.as_mut(), hand_over) {
            Ok(()) => return Ok(()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Source(why)) => {
                // What names the file or URL itself need not be named twice.
                let name = source.name();
                let line = if why.contains(&name) {
                    why
                } else {
                    format!("{name}: {why}")
                };
                if number + 1 < count {
                    fetch.progress.note(&line);
                }
                tried.push(line);
            }
        }
    }
    let tried: Vec<String> = tried.iter().map(|line| format!("  {line}")).collect();
    Err(Error::NoSource {
        tried: tried.join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_lie_beside_the_script() {
        for (url, expected) in [
            ("http://h/netboot/boot.ipxe", "http://h/netboot/packs"),
            ("http://h/boot.ipxe?mac=1/2.ipxe", "http://h/packs"),
            ("http://h/netboot/packs/", "http://h/netboot/packs/"),
            ("undionly.kpxe", "undionly.kpxe"),
        ] {
            assert_eq!(folder(url), expected);
        }
        assert!(is_web("HTTPS://h") && !is_web("tftp://h") && !is_web("http"));
    }
}
