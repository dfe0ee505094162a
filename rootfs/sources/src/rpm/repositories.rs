//! `.repo` files: where packages come from, and what has to be signed (dnf.conf(5), zypper(8)).

use kedge_digest::{Algorithm, Digest, Hasher};

use super::repomd::checksum;
use super::variables::Variables;
use crate::query::Query;
use crate::transport::Place;
use crate::xml::{Event, Xml};

const MOST: u64 = 1 << 20;
const MOST_REPOSITORIES: usize = 200;
/// The longest name of a section: each line of it has that name.
const MOST_NAME: usize = 256;
/// How long a list of mirrors may be, and how many of them are asked.
const MOST_LIST: u64 = 4 << 20;
const MOST_MIRRORS: usize = 3;

/// A repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repository {
    /// Its ID.
    pub(super) name: String,
    urls: Vec<String>,
    list: Option<String>,
    metalink: Option<String>,
    /// Files in ROOT.
    pub(super) keys: Vec<String>,
    /// `gpgcheck`.
    pub(super) package_signed: bool,
    /// `repo_gpgcheck`.
    pub(super) index_signed: bool,
    /// What the metalink says of repomd.xml.
    digests: Vec<Digest>,
}

impl Repository {
    /// For a mirror that somebody named.
    pub(super) fn stand_in(place: &Place) -> Repository {
        Repository {
            name: place.shown(),
            package_signed: true,
            ..Repository::default()
        }
    }

    /// Whether repomd.xml is what the metalink says, and its digest; None without a metalink that says so.
    pub(super) fn expected(&self, repomd: &[u8]) -> Option<(bool, Digest)> {
        let first = self.digests.first()?;
        let mut hasher = Hasher::new(first.algorithm());
        hasher.update(repomd);
        let is = hasher.finish();
        // A metalink names those of the last days as well.
        Some((self.digests.contains(&is), is))
    }
}

/// The repositories that are enabled.
pub(super) fn read(query: &mut Query) -> Vec<Repository> {
    let variables = Variables::of(query);
    let mut found: Vec<Repository> = Vec::new();
    let mut defaults = (false, false);
    for file in ["etc/dnf/dnf.conf", "etc/yum.conf"] {
        let text = query.text(file.as_ref(), MOST).unwrap_or_default();
        for (section, key, value) in lines(&text) {
            match (&*section, &*key) {
                ("main", "gpgcheck") => defaults.0 = yes(&value),
                ("main", "repo_gpgcheck") => defaults.1 = yes(&value),
                _ => {}
            }
        }
    }
    for (folder, defaults) in [
        ("etc/yum.repos.d", defaults),
        // zypper checks packages, or the index where that is signed: packages here.
        ("etc/zypp/repos.d", (true, false)),
    ] {
        for file in query.in_folder(folder, &["repo"]) {
            let text = query.text(&file, MOST).unwrap_or_default();
            found.extend(repositories(&text, defaults, &variables));
        }
    }
    found.truncate(MOST_REPOSITORIES);
    found
}

/// The mirrors of a repository, the first first. What a metalink says of repomd.xml is noted.
pub(super) fn mirrors(
    query: &mut Query,
    repository: &mut Repository,
) -> Result<Vec<Place>, String> {
    let mut urls = repository.urls.clone();
    if urls.is_empty() {
        let list = repository.metalink.as_ref().or(repository.list.as_ref());
        let list = list.ok_or("it has neither baseurl nor mirrorlist nor metalink")?;
        let list = list.clone();
        query.note(&format!("asking {} for mirrors", kedge_web::shown(&list)));
        let text = Place::Url(list.clone()).read(MOST_LIST);
        let text = text.map_err(|trouble| format!("{}: {trouble}", kedge_web::shown(&list)))?;
        urls = if text.trim_ascii().starts_with(b"<") {
            let (urls, digests) = metalink(&text);
            // Only an encrypted one says more than the mirror itself.
            if list.starts_with("https://") {
                repository.digests = digests;
            }
            urls
        } else {
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines().map(str::trim);
            lines
                .filter(|l| !l.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
    }
    let web = |url: &&String| Place::Url((*url).clone()).is_web();
    if urls.iter().any(|url| !web(&url)) && !urls.iter().any(|url| web(&url)) {
        let url = crate::words::shown(&urls[0]);
        return Err(format!("{url} is not asked: only http and https are"));
    }
    let urls = urls.iter().filter(web).take(MOST_MIRRORS);
    Ok(urls
        .map(|url| Place::Url(url.trim_end_matches('/').to_owned()))
        .collect())
}

/// The mirrors of a metalink (RFC 5854, and version 3 as MirrorManager writes it), and the digests of repomd.xml that it names.
pub(super) fn metalink(bytes: &[u8]) -> (Vec<String>, Vec<Digest>) {
    let mut xml = Xml::new(bytes);
    let (mut urls, mut digests) = (Vec::new(), Vec::new());
    let (mut element, mut kind) = (String::new(), String::new());
    while let Ok(Some(event)) = xml.next() {
        match &event {
            Event::Start(name, _) => {
                element.clone_from(name);
                kind = event.attribute("type").unwrap_or_default().to_owned();
            }
            Event::Text(text) if element == "url" => {
                let base = text.strip_suffix("/repodata/repomd.xml");
                urls.extend(base.map(str::to_owned));
            }
            Event::Text(text) if element == "hash" => {
                let digest = checksum(&kind, text);
                digests.extend(digest.filter(|d| d.algorithm() == Algorithm::Sha256));
            }
            Event::Text(_) => {}
            Event::End(_) => element.clear(),
        }
    }
    (urls, digests)
}

/// Section, key and value of each line; values that go on are one, with blanks between them.
fn lines(text: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let name = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Some(name) = name {
            section = name.chars().take(MOST_NAME).collect();
            found.push((section.clone(), String::new(), String::new()));
        } else if line.starts_with([' ', '\t']) {
            if let Some((.., value)) = found.last_mut() {
                value.push(' ');
                value.push_str(trimmed);
            }
        } else if let Some((key, value)) = trimmed.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            found.push((section.clone(), key, value));
        }
    }
    found
}

pub(super) fn repositories(
    text: &str,
    defaults: (bool, bool),
    variables: &Variables,
) -> Vec<Repository> {
    let mut found: Vec<(Repository, bool)> = Vec::new();
    for (section, key, value) in lines(text) {
        if section == "main" {
            continue;
        }
        if key.is_empty() {
            let repository = Repository {
                name: section,
                package_signed: defaults.0,
                index_signed: defaults.1,
                ..Repository::default()
            };
            found.push((repository, true));
            continue;
        }
        let Some((repository, enabled)) = found.last_mut() else {
            continue;
        };
        let value = variables.filled(&value);
        let list = || -> Vec<String> {
            let words = value.split(|c: char| c == ',' || c.is_ascii_whitespace());
            words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
        };
        match &*key {
            "enabled" => *enabled = yes(&value),
            "baseurl" => repository.urls = list(),
            "mirrorlist" => repository.list = Some(value),
            "metalink" => repository.metalink = Some(value),
            "gpgcheck" | "pkg_gpgcheck" => repository.package_signed = yes(&value),
            "repo_gpgcheck" => repository.index_signed = yes(&value),
            // Keys of the network are nobody's.
            "gpgkey" => {
                let files = list();
                let files = files.iter().filter_map(|url| url.strip_prefix("file://"));
                repository.keys = files.map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    let enabled = found.into_iter().filter(|&(_, enabled)| enabled);
    enabled.map(|(repository, _)| repository).collect()
}

fn yes(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "1" | "yes" | "true" | "on" | "always"
    )
}
