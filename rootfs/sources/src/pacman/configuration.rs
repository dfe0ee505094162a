//! pacman.conf(5): repositories, their mirrors, and what has to be signed.

use std::path::PathBuf;

use kedge_packages::Family;

use crate::query::Query;

/// The longest file, and all of them with what `Include` brings.
const MOST: u64 = 1 << 20;
const MOST_LINES: usize = 100_000;
/// How many files `Include` may bring.
const MOST_INCLUDED: usize = 200;
const MOST_REPOSITORIES: usize = 100;
/// The mirrors of one repository that are kept, the longest URL of one, and the longest name that is filled into it.
const MOST_SERVERS: usize = 1000;
const MOST_URL: usize = 4096;
const MOST_NAME: usize = 256;

/// Whether a signature is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Never,
    /// Where there is one, it has to be good.
    Optional,
    Required,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) name: String,
    pub(super) architecture: String,
    /// Its mirrors' URLs, the variables filled in.
    pub(super) servers: Vec<String>,
    /// Whether its packages are signed.
    pub(super) package: Need,
    /// Whether its database is.
    pub(super) database: Need,
}

impl Repository {
    /// A mirror's URL with this repository for its variables.
    pub(super) fn filled(&self, url: &str) -> String {
        url.replace("$repo", &self.name)
            .replace("$arch", &self.architecture)
            .trim_end_matches('/')
            .to_owned()
    }
}

/// The repositories of etc/pacman.conf, in its order.
pub(super) fn repositories(query: &mut Query) -> Vec<Repository> {
    let mut lines = Vec::new();
    let mut left = MOST_INCLUDED;
    gather(query, "etc/pacman.conf".into(), &mut lines, &mut left, 0);
    let machine = machine(query);
    let repositories = parse(&lines, &machine);
    for repository in &repositories {
        let others = repository.servers.iter().find(|url| !is_web(url));
        if let Some(url) = others {
            let url = crate::words::shown(url);
            query.failed(format!("{url} is not asked: only http and https are"));
        }
    }
    repositories
        .into_iter()
        .map(|mut repository| {
            repository.servers.retain(|url| is_web(url));
            repository
        })
        .collect()
}

fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// The lines of a file, with those of the files that it includes in their place.
fn gather(
    query: &Query,
    file: PathBuf,
    lines: &mut Vec<(String, String)>,
    left: &mut usize,
    depth: usize,
) {
    let Some(less) = left.checked_sub(1).filter(|_| depth < 10) else {
        return;
    };
    *left = less;
    for line in query.text(&file, MOST).unwrap_or_default().lines() {
        let (key, value) = setting(line);
        if key == "Include" {
            for file in included(query, value) {
                gather(query, file, lines, left, depth + 1);
            }
        } else if !key.is_empty() && lines.len() < MOST_LINES {
            lines.push((key.to_owned(), value.to_owned()));
        }
    }
}

/// Key and value of a line; the name of a section is a key.
pub(super) fn setting(line: &str) -> (&str, &str) {
    let line = line.split('#').next().unwrap_or_default().trim();
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    (key.trim(), value.trim())
}

/// One file, or those of a folder with an ending: "/etc/pacman.d/*.conf".
fn included(query: &Query, pattern: &str) -> Vec<PathBuf> {
    let pattern = pattern.trim_start_matches('/');
    let star = pattern.rsplit_once("/*.");
    match star {
        Some((folder, ending)) => query.in_folder(folder, &[ending]),
        None => vec![pattern.into()],
    }
}

/// What `Architecture = auto` is: uname's word on the system itself, which its packages tell.
fn machine(query: &Query) -> String {
    let mut names = query
        .lacking(Family::Pacman)
        .map(|package| &package.architecture);
    let other = names.find(|name| !name.is_empty() && *name != "any");
    other.map_or_else(|| std::env::consts::ARCH.into(), Clone::clone)
}

pub(super) fn parse(lines: &[(String, String)], machine: &str) -> Vec<Repository> {
    let (mut package, mut database) = (Need::Required, Need::Optional);
    let mut architecture = machine.to_owned();
    let mut found: Vec<Repository> = Vec::new();
    let mut in_options = true;
    for (key, value) in lines {
        if let Some(section) = key.strip_prefix('[').and_then(|k| k.strip_suffix(']')) {
            in_options = section == "options";
            if !in_options && found.len() < MOST_REPOSITORIES && section.len() <= MOST_NAME {
                found.push(Repository {
                    name: section.to_owned(),
                    architecture: architecture.clone(),
                    servers: Vec::new(),
                    package,
                    database,
                });
            }
            continue;
        }
        match (&**key, in_options, found.last_mut()) {
            ("Architecture", true, _) => {
                let first = value.split_ascii_whitespace().next();
                let first = first.filter(|&first| first != "auto" && first.len() <= MOST_NAME);
                if let Some(first) = first {
                    architecture = first.to_owned();
                }
            }
            ("SigLevel", true, _) => level(value, &mut package, &mut database),
            ("SigLevel", false, Some(repository)) => {
                level(value, &mut repository.package, &mut repository.database);
            }
            ("Server", false, Some(repository))
                if value.len() <= MOST_URL && repository.servers.len() < MOST_SERVERS =>
            {
                let url = repository.filled(value);
                repository.servers.push(url);
            }
            _ => {}
        }
    }
    // A repository may stand in it twice, and options behind repositories.
    found.retain(|repository| !repository.name.contains('/'));
    found
}

fn level(value: &str, package: &mut Need, database: &mut Need) {
    for word in value.split_ascii_whitespace() {
        let (both, word) = match (word.strip_prefix("Package"), word.strip_prefix("Database")) {
            (Some(word), _) => ([true, false], word),
            (_, Some(word)) => ([false, true], word),
            _ => ([true, true], word),
        };
        let need = match word {
            "Never" => Need::Never,
            "Optional" => Need::Optional,
            "Required" => Need::Required,
            // TrustAll and TrustedOnly: only trusted keys are believed here.
            _ => continue,
        };
        for (which, level) in both.into_iter().zip([&mut *package, &mut *database]) {
            if which {
                *level = need;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_urls_do_not_multiply_without_end() {
        let name = format!("[{}]", "r".repeat(1 << 20));
        let line = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let servers = line("Server", &format!("http://h/{}", "$repo".repeat(800)));
        let mut lines = vec![line(&name, ""), servers.clone(), line("[core]", "")];
        lines.extend(vec![servers; 10_000]);
        let found = parse(&lines, "x86_64");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].servers.len(), MOST_SERVERS);
    }

    #[test]
    fn repositories_with_their_levels() {
        let text = "[options]\nArchitecture=auto\nSigLevel=Required DatabaseOptional\n[core]\n\
            Server=http://a/$repo/os/$arch/\nServer=http://b/$repo\n[own]\nSigLevel=Optional TrustAll\n\
            SigLevel=PackageNever\nServer=file:///x\n";
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        let found = parse(&lines, "x86_64");
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].servers,
            ["http://a/core/os/x86_64", "http://b/core"]
        );
        assert_eq!(
            (found[0].package, found[0].database),
            (Need::Required, Need::Optional)
        );
        assert_eq!(
            (found[1].package, found[1].database),
            (Need::Never, Need::Optional)
        );
    }
}
