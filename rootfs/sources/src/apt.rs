//! apt: from `sources.list` over a signed Release and the Packages that it names to a .deb.
//!
//! As apt has it: sources.list(5), apt-secure(8), and <https://wiki.debian.org/DebianRepository/Format>. What apt fetched
//! before lies in `/var/lib/apt/lists` and `/var/cache/apt/archives`, and saves asking when its signatures and digests are still
//! good.
//!
//! Not asked, and said so: `cdrom:`, `file:`, `copy:` and mirrors behind other methods; Packages that are there only as
//! bzip2, lzma or lz4; Release files without SHA-256 and SHA-512.

mod entries;
mod fields;
pub(crate) mod fuzz;
mod index;
mod keys;
mod lists;
mod release;

use std::collections::BTreeSet;
use std::path::PathBuf;

use kedge_packages::{Family, Package};
use kedge_sysroot::Sysroot;

use crate::proof::Proof;
use crate::query::Query;
use crate::transport::{Place, Trouble};
use crate::{Candidate, From};

use entries::Entry;
use release::Release;

/// Asks the sources of apt, or the mirror that stands in for them, for .debs.
pub(crate) fn search(query: &mut Query, from: Option<&From>) {
    let mirror = match from {
        None => None,
        Some(From::Url(url)) => Some(Place::Url(url.clone())),
        Some(From::Path(path)) => Some(Place::File(path.clone())),
    };
    let architectures = architectures(query.root, query.lacking(Family::Dpkg));
    let (entries, wrong) = entries::read(query);
    wrong.into_iter().for_each(|why| query.failed(why));
    if entries.is_empty() {
        query.failed("apt has no source for packages (etc/apt/sources.list is empty)".into());
    }
    if mirror.is_none() {
        for entry in &entries {
            if query.lacks(Family::Dpkg) {
                lists::search(query, entry, &architectures);
            }
        }
    }
    for entry in &entries {
        if query.lacks(Family::Dpkg) {
            let at = mirror.clone().unwrap_or_else(|| entry.place.clone());
            if let Err(why) = ask(query, entry, &at, &architectures) {
                let dist = at.join(&entry.dist());
                query.failed(format!("{}: {why}", dist.shown()));
            }
        }
    }
    if mirror.is_none() {
        lists::unvouched(query);
    }
}

/// What the indices that apt fetched before have of what is looked for, and why others of them are not believed. Asks nobody.
pub(crate) fn listed(query: &mut Query) -> (Vec<Candidate>, Vec<String>) {
    let wanted = query.wanted.iter().filter(|w| w.family == Family::Dpkg);
    let architectures = architectures(query.root, wanted);
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for entry in entries::read(query).0 {
        let (found, why) = lists::listed(query, &entry, &architectures);
        all.extend(found);
        wrong.extend(why);
    }
    (all, wrong)
}

/// The architectures whose indices may have these packages. Packages for all of them stand in each one's.
fn architectures<'a>(
    root: &Sysroot,
    packages: impl Iterator<Item = &'a Package>,
) -> BTreeSet<String> {
    let mut wanted: BTreeSet<String> = packages
        .map(|package| package.architecture.clone())
        .collect();
    if wanted.remove("all") | wanted.remove("") {
        wanted.extend([native(root), "all".into()]);
    }
    wanted
}

/// The architecture of the system: that of dpkg itself, and where that is no package, of the machine that this runs on.
fn native(root: &Sysroot) -> String {
    of_dpkg(root).unwrap_or_else(|| {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .into()
    })
}

fn of_dpkg(root: &Sysroot) -> Option<String> {
    let status = root.open_file("var/lib/dpkg/status".as_ref()).ok()?;
    let mut status = std::io::BufReader::with_capacity(64 << 10, status);
    let mut found = None;
    let _ = fields::stanzas(&mut status, &["Package", "Architecture"], &mut |stanza| {
        if stanza[0] == "dpkg" {
            found = Some(stanza[1].clone());
        }
        found.is_none()
    });
    found
}

/// Asks a mirror.
fn ask(
    query: &mut Query,
    entry: &Entry,
    at: &Place,
    architectures: &BTreeSet<String>,
) -> Result<(), String> {
    let keys = keys::of(query, entry)?;
    let dist = at.join(&entry.dist());
    query.note(&format!("asking {} {}", at.shown(), entry.suite));
    let name = format!("{} {}", at.shown(), entry.suite);
    let read = |file: &str| dist.join(file).read(release::MOST);
    let release = Release::believed(query, entry, &keys, &name, &read)?;
    for (index, architecture) in entry.indices(architectures) {
        if !query.lacks(Family::Dpkg) {
            break;
        }
        let Some((listed, file)) = release.packed(&index) else {
            // Not every suite has every component for every architecture.
            if architecture != "all" && release.lists_any() {
                query.failed(format!("{name}: it has no {index} that can be read here"));
            }
            continue;
        };
        let names = if release.by_hash && entry.by_hash {
            vec![file.by_hash(listed), listed.to_owned()]
        } else {
            vec![listed.to_owned()]
        };
        let most = release.unpacked(&index);
        let found = names.iter().find_map(|file_name| {
            match index::read(query, &dist.join(file_name), file, most) {
                Err(Trouble::Missing) => None,
                read => Some(read),
            }
        });
        let hits = match found {
            Some(Ok(hits)) => hits,
            Some(Err(trouble)) => return Err(format!("{listed}: {trouble}")),
            None => return Err(format!("{listed}: it is not there")),
        };
        for hit in hits {
            offer(query, &candidate(&release, listed, file, hit, at));
        }
    }
    Ok(())
}

/// Offers a package that an index has, from its mirror, or from apt's own cache when it is there.
fn offer(query: &mut Query, candidate: &Candidate) {
    query.offer_cached(candidate, &[cached_name(&candidate.package)]);
    query.offer(candidate);
}

/// A package that an index has, at the mirror `at`.
fn candidate(
    release: &Release,
    listed: &str,
    index: &release::Named,
    hit: index::Hit,
    at: &Place,
) -> Candidate {
    let mut trust = release.trust.clone();
    trust.push(format!("it names {listed} by {}", index.digest));
    trust.push(format!("that names {} by {}", hit.file, hit.digest));
    let place = at.join(&hit.file);
    Candidate {
        location: place.shown(),
        place,
        package: hit.package,
        size: Some(hit.size),
        trust,
        proof: Proof {
            digests: vec![hit.digest],
            ..Proof::default()
        },
    }
}

/// What a .deb is called in apt's cache, which has no colons.
fn cached_name(package: &Package) -> PathBuf {
    let Package {
        name,
        version,
        architecture,
        ..
    } = package;
    let version = version.replace(':', "%3a");
    format!("var/cache/apt/archives/{name}_{version}_{architecture}.deb").into()
}
