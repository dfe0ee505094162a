//! pacman: from `/etc/pacman.conf` over the databases of its repositories to a package with a signature of its own.
//!
//! As pacman has it: pacman.conf(5), and alpm's databases. Those of Arch are not signed, so they say only where a package is; that
//! the package is right, its packager's signature says, whose key is valid because Arch's master keys certified it.

mod configuration;
mod keys;

use std::collections::HashSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kedge_digest::{Algorithm, Digest};
use kedge_packages::{Family, Package};

use crate::openpgp::{Detached, Keyring};
use crate::proof::Proof;
use crate::query::Query;
use crate::transport::{Place, Trouble};
use crate::{Candidate, From, unpacked};

use configuration::{Need, Repository};
pub(crate) use keys::of as keys;

/// The longest database that is read: Arch's largest has 10 MB, and unpacks to 60.
const MOST_DATABASE: u64 = 256 << 20;
const MOST_DESC: u64 = 64 << 10;
/// The longest line of one: nobody signs the databases, and what is kept of one must fit into memory.
const MOST_LINE: usize = 4096;
const MOST_SIGNATURE: u64 = 64 << 10;
/// The most packages of one database that are kept.
const MOST_ENTRIES: usize = 10_000;
/// How many mirrors of a repository are asked.
const MOST_MIRRORS: usize = 3;

/// Where pacman keeps what it fetched.
const DATABASES: &str = "var/lib/pacman/sync";
const CACHE: &str = "var/cache/pacman/pkg";
const ENDINGS: [&str; 3] = ["zst", "xz", "gz"];

/// Asks the repositories of pacman, or the mirror that stands in for them.
pub(crate) fn search(query: &mut Query, from: Option<&From>) {
    let keys = match keys::of(query) {
        Ok(keys) => keys,
        Err(why) => {
            query.failed(why);
            Arc::default()
        }
    };
    if from.is_none() {
        cached(query, &keys);
    }
    let repositories = configuration::repositories(query);
    if repositories.is_empty() {
        query.failed("pacman has no repository (etc/pacman.conf names none)".into());
    }
    for repository in &repositories {
        if from.is_none() && query.lacks(Family::Pacman) {
            fetched_before(query, repository, &keys);
        }
    }
    for repository in &repositories {
        if !query.lacks(Family::Pacman) {
            return;
        }
        let mirrors = match from {
            None => repository.servers.iter().cloned().map(Place::Url).collect(),
            Some(From::Url(url)) if url.contains("$repo") => {
                vec![Place::Url(repository.filled(url))]
            }
            Some(From::Url(url)) => stand_ins(&Place::Url(url.clone()), repository),
            Some(From::Path(path)) => stand_ins(&Place::File(path.clone()), repository),
        };
        for mirror in mirrors.iter().take(MOST_MIRRORS) {
            let shown = mirror.shown();
            query.note(&format!("asking {shown}"));
            match ask(query, repository, mirror, &keys) {
                Ok(()) => break,
                Err(why) => query.failed(format!("{shown}/{}.db: {why}", repository.name)),
            }
        }
    }
}

/// A mirror has its repositories as Arch's have, or is one itself.
fn stand_ins(mirror: &Place, repository: &Repository) -> Vec<Place> {
    let path = format!("{}/os/{}", repository.name, repository.architecture);
    vec![mirror.join(&path), mirror.clone()]
}

/// Asks one mirror.
fn ask(
    query: &mut Query,
    repository: &Repository,
    mirror: &Place,
    keys: &Arc<Keyring>,
) -> Result<(), String> {
    let place = mirror.join(&format!("{}.db", repository.name));
    let database = place
        .read(MOST_DATABASE)
        .map_err(|trouble| trouble.to_string())?;
    let signer = match (
        repository.database,
        place.sibling(".sig").read(MOST_SIGNATURE),
    ) {
        (Need::Never, _) | (Need::Optional, Err(_)) => None,
        (Need::Required, Err(trouble)) => return Err(format!("it is not signed: {trouble}")),
        (_, Ok(signature)) => {
            let signatures =
                crate::openpgp::dearmored(&signature).and_then(|s| Detached::all(&s))?;
            Some(keys.verify(&signatures, &database, query.now)?)
        }
    };
    let trust: Vec<String> = signer
        .map(|by| format!("{} is signed by {by}", place.shown()))
        .into_iter()
        .collect();
    for entry in entries(&database, &query.names())? {
        offer(query, repository, mirror, &trust, entry, keys);
    }
    Ok(())
}

/// Looks into the database that pacman fetched last: only for the very version, and if the mirror has it still.
fn fetched_before(query: &mut Query, repository: &Repository, keys: &Arc<Keyring>) {
    let place = query
        .inside(DATABASES)
        .join(&format!("{}.db", repository.name));
    let Some(server) = repository.servers.first() else {
        return;
    };
    let (Ok(database), mirror) = (place.read(MOST_DATABASE), Place::Url(server.clone())) else {
        return;
    };
    if repository.database == Need::Required {
        // Its signature lies beside it; the mirror's is as good.
        return;
    }
    for entry in entries(&database, &query.names()).unwrap_or_default() {
        let wanted = query.lacking(Family::Pacman).any(|wanted| {
            wanted.name == entry.package.name && crate::version::same(wanted, &entry.package)
        });
        if wanted && !matches!(mirror.join(&entry.file).probe(), Err(Trouble::Missing)) {
            offer(query, repository, &mirror, &[], entry, keys);
        }
    }
}

fn offer(
    query: &mut Query,
    repository: &Repository,
    mirror: &Place,
    trust: &[String],
    entry: Entry,
    keys: &Arc<Keyring>,
) {
    let place = mirror.join(&entry.file);
    let mut proof = Proof {
        digests: entry.digest.into_iter().collect(),
        ..Proof::default()
    };
    let mut trust = trust.to_vec();
    if let (false, Some(digest)) = (trust.is_empty(), entry.digest) {
        trust.push(format!("it names {} by {digest}", entry.file));
    }
    if repository.package != Need::Never {
        let wanted = query.lacking(Family::Pacman).any(|wanted| {
            wanted.name == entry.package.name && crate::version::same(wanted, &entry.package)
        });
        let signature = match &entry.signature {
            Some(signature) => Ok(signature.clone()),
            // A request of its own: only for what will be fetched.
            None if wanted => place.sibling(".sig").read(MOST_SIGNATURE),
            None => Err(Trouble::Missing),
        };
        let signatures = signature
            .map_err(|trouble| trouble.to_string())
            .and_then(|signature| crate::openpgp::dearmored(&signature))
            .and_then(|signature| Detached::all(&signature));
        match signatures {
            Ok(signatures) => {
                let (sentences, signed) = signed(Arc::clone(keys), signatures);
                trust.extend(sentences);
                proof.signed = signed.signed;
            }
            Err(why) if repository.package == Need::Required && wanted => {
                query.failed(format!("{}.sig: {why}", place.shown()));
                return;
            }
            Err(_) => {}
        }
    }
    let candidate = Candidate {
        location: place.shown(),
        package: entry.package,
        size: entry.size,
        trust,
        place,
        proof,
    };
    query.offer_cached(&candidate, &[format!("{CACHE}/{}", entry.file).into()]);
    query.offer(&candidate);
}

/// What a signature by one of `keys` is to a candidate.
pub(crate) fn signed(keys: Arc<Keyring>, signatures: Vec<Detached>) -> (Vec<String>, Proof) {
    let who: Vec<String> = signatures
        .iter()
        .flat_map(|signature| keys.issuers(signature))
        .map(|key| {
            format!(
                "{} ({}), in {}",
                key.fingerprint(),
                key.name(),
                key.origin()
            )
        })
        .collect();
    let sentence = match who.first() {
        Some(who) => format!("it has to be signed by {who}"),
        None => "it has to be signed by a key that is not in the keyring".into(),
    };
    let proof = Proof {
        signed: Some((keys, signatures)),
        ..Proof::default()
    };
    (vec![sentence], proof)
}

/// Packages in pacman's cache with their signatures beside them: no network is needed for them.
fn cached(query: &mut Query, keys: &Arc<Keyring>) {
    let lacking: Vec<Package> = query.lacking(Family::Pacman).cloned().collect();
    for package in lacking {
        let Package {
            name,
            version,
            architecture,
            ..
        } = &package;
        for ending in ENDINGS {
            let path = format!("{CACHE}/{name}-{version}-{architecture}.pkg.tar.{ending}");
            if !query.root.exists(path.as_ref()) {
                continue;
            }
            let place = query.inside(PathBuf::from(path));
            let signature = place.sibling(".sig").read(MOST_SIGNATURE).ok();
            let signatures = signature
                .and_then(|s| crate::openpgp::dearmored(&s).ok())
                .and_then(|s| Detached::all(&s).ok());
            let Some(signatures) = signatures else {
                continue;
            };
            let (mut trust, proof) = signed(Arc::clone(keys), signatures);
            trust.push("it lies in the cache".into());
            query.offer(&Candidate {
                location: place.shown(),
                package: package.clone(),
                size: None,
                trust,
                place,
                proof,
            });
        }
    }
}

/// A package that a database has.
#[derive(Debug)]
struct Entry {
    package: Package,
    file: String,
    size: Option<u64>,
    digest: Option<Digest>,
    signature: Option<Vec<u8>>,
}

/// The packages of these names in a database: a tar archive with a folder for each package, in which a file "desc" is.
fn entries(database: &[u8], names: &HashSet<String>) -> Result<Vec<Entry>, String> {
    let mut from = database;
    let begins = database.get(..256).unwrap_or(database);
    let mut unpacked = unpacked::of(&mut from, unpacked::MOST).map_err(|e| e.to_string())?;
    let mut entries = Vec::new();
    kedge_archive::archive(&mut unpacked, &mut |member, content| {
        let path = member.path.to_string_lossy();
        let package = path.strip_suffix("/desc");
        // "name-version-release"
        let name = package.and_then(|p| p.rsplitn(3, '-').nth(2));
        if name.is_some_and(|name| names.contains(name)) {
            let mut text = String::new();
            content.take(MOST_DESC).read_to_string(&mut text)?;
            entries.extend(entry(&text));
        }
        Ok(match entries.len() {
            0..MOST_ENTRIES => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    })
    .map_err(|error| format!("{error}{}", crate::proof::stranger(begins)))?;
    Ok(entries)
}

fn entry(desc: &str) -> Option<Entry> {
    if desc.lines().any(|line| line.len() > MOST_LINE) {
        return None;
    }
    let field = |name: &str| {
        let mut lines = desc.lines();
        lines
            .find(|line| line.strip_prefix('%').and_then(|l| l.strip_suffix('%')) == Some(name))?;
        lines.next().filter(|value| !value.is_empty())
    };
    let digest = field("SHA256SUM").map(|hex| Digest::from_hex(Algorithm::Sha256, hex));
    let signature = field("PGPSIG").map(|text| STANDARD.decode(text).ok());
    Some(Entry {
        package: Package {
            family: Family::Pacman,
            name: field("NAME")?.to_owned(),
            version: field("VERSION")?.to_owned(),
            architecture: field("ARCH")?.to_owned(),
        },
        file: field("FILENAME").filter(|f| !f.contains('/'))?.to_owned(),
        size: field("CSIZE").and_then(|size| size.parse().ok()),
        // What is there and makes no sense makes the whole of none.
        digest: digest.map_or(Some(None), |digest| digest.map(Some))?,
        signature: signature.map_or(Some(None), |signature| signature.map(Some))?,
    })
}

/// What these parsers make of any bytes: for the fuzz targets.
pub(crate) fn fuzz(data: &[u8], names: &HashSet<String>) {
    let _ = entries(data, names);
    let text = String::from_utf8_lossy(data);
    entry(&text);
    let lines: Vec<(String, String)> = text
        .lines()
        .map(configuration::setting)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    configuration::parse(&lines, "x86_64");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_package() {
        let desc = "%FILENAME%\na-1-1-any.pkg.tar.zst\n\n%NAME%\na\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n\n\
            %CSIZE%\n12\n\n%PGPSIG%\nAAEC\n\n";
        assert!(entry(&desc.replace("-1-any", &"x".repeat(MOST_LINE))).is_none());
        let found = entry(desc).unwrap();
        assert_eq!(
            (found.size, found.signature),
            (Some(12), Some(vec![0, 1, 2]))
        );
        for (what, instead) in [
            ("AAEC", "?"),
            ("a-1-1-any", "../a"),
            ("%NAME%", "%NAM%"),
            ("%CSIZE%\n12", "%SHA256SUM%\n12"),
        ] {
            assert!(entry(&desc.replace(what, instead)).is_none(), "{instead}");
        }
    }
}
