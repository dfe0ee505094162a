//! What is in Debian's packages, at the paths of the image.
//!
//! In the image everything that can be run is in `bin/` and every library in `lib/`: `sbin`, `usr/bin`,
//! `usr/sbin` and `usr/lib` are links. So paths of packages are those of the image after their folder is
//! replaced. Hard links become symbolic ones: programs that look at their name do not mind.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program;

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// dpkg-deb failed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// What it wrote is no tar.
    #[error("package {package}: {source}")]
    Tar {
        /// Which.
        package: String,
        /// What the parser said.
        source: std::io::Error,
    },
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The package that it is from.
    pub package: String,
    /// What it is.
    pub kind: Kind,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with its permission bits.
    Regular(u32, Vec<u8>),
    /// A link to a path of the image.
    Link(String),
}

/// The files of some packages by path, without a leading slash.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    files: BTreeMap<String, File>,
    /// The copyright file of each package.
    copyrights: BTreeMap<String, String>,
}

/// What no program needs.
const LEFT_OUT: &[&str] = &[
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/doc/",
    "usr/share/doc-base/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/zsh/",
];

/// The path in the image of a package's path.
pub fn place(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    for (from, to) in [
        ("usr/bin/", "bin/"),
        ("usr/sbin/", "bin/"),
        ("sbin/", "bin/"),
        ("usr/lib64/", "lib64/"),
        ("usr/lib/", "lib/"),
    ] {
        if let Some(rest) = path.strip_prefix(from) {
            return format!("{to}{rest}");
        }
    }
    path.to_string()
}

/// Where a link at `path` of a package leads, as a path of the image.
fn target(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = if link.starts_with('/') {
        Vec::new()
    } else {
        path.split('/')
            .rev()
            .skip(1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    place(&parts.join("/"))
}

impl Contents {
    /// Adds what is in the .deb at `file`, whose package is called `package`.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_package(&mut self, package: &str, file: &Path) -> Result<(), Error> {
        let failed = |source| Error::Tar {
            package: package.into(),
            source,
        };
        let mut command = Command::new("dpkg-deb");
        command.arg("--fsys-tarfile").arg(file);
        let mut child = program::end_with_parent(&mut command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| program::Error::Start {
                program: "dpkg-deb".into(),
                source,
            })?;
        let pipe = child
            .stdout
            .take()
            .ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let mut archive = tar::Archive::new(pipe);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            self.add_entry(package, &mut entry).map_err(failed)?;
        }
        let status = child.wait().map_err(failed)?;
        if !status.success() {
            return Err(failed(std::io::Error::other(format!(
                "dpkg-deb ended with {status}"
            ))));
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        package: &str,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> std::io::Result<()> {
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").to_string();
        let header = entry.header().entry_type();
        if path == format!("usr/share/doc/{package}/copyright") && header.is_file() {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            self.copyrights.insert(package.into(), text);
            return Ok(());
        }
        if LEFT_OUT.iter().any(|folder| path.starts_with(folder)) {
            return Ok(());
        }
        let link = || {
            let link = entry.link_name()?.unwrap_or_default();
            Ok::<_, std::io::Error>(link.to_string_lossy().into_owned())
        };
        let kind = if header.is_symlink() {
            Kind::Link(target(&path, &link()?))
        } else if header.is_hard_link() {
            Kind::Link(place(&link()?))
        } else if header.is_file() {
            // Owners and set-user-ID bits mean nothing where everybody is root.
            let mode = if entry.header().mode()? & 0o100 == 0 {
                0o644
            } else {
                0o755
            };
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            Kind::Regular(mode, content)
        } else {
            return Ok(());
        };
        let at = place(&path);
        // `usr/sbin/x -> /sbin/x`, for those who still know two folders.
        if kind != Kind::Link(at.clone()) {
            let package = package.to_string();
            self.files.entry(at).or_insert(File { package, kind });
        }
        Ok(())
    }

    /// Puts a file of the builder's own making there.
    pub fn insert(&mut self, path: String, file: File) {
        self.files.insert(path, file);
    }

    /// What is at `path`, without following it when it is a link.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// The path of the regular file that `path` leads to, and the links on the way to it, itself included
    /// when it is one.
    pub fn follow(&self, path: &str) -> Option<(String, Vec<String>)> {
        let mut links = Vec::new();
        let mut at = path.to_string();
        loop {
            match &self.files.get(&at)?.kind {
                Kind::Regular(..) => return Some((at, links)),
                // More than any package has: this is a circle.
                Kind::Link(_) if links.len() > 8 => return None,
                Kind::Link(to) => {
                    links.push(std::mem::replace(&mut at, to.clone()));
                }
            }
        }
    }

    /// The content of the regular file at `path`.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.files.get(path)?.kind {
            Kind::Regular(_, content) => Some(content),
            Kind::Link(_) => None,
        }
    }

    /// Every path that `pattern` matches: `*` stands for any part of a name, `{a,b}` for either.
    pub fn matching(&self, pattern: &str) -> Vec<&str> {
        let alternatives = alternatives(pattern);
        let patterns: Vec<glob::Pattern> = alternatives
            .iter()
            .filter_map(|text| glob::Pattern::new(text).ok())
            .collect();
        let options = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::new()
        };
        let matches = |path: &str| patterns.iter().any(|p| p.matches_with(path, options));
        self.files
            .keys()
            .map(String::as_str)
            .filter(|path| matches(path))
            .collect()
    }

    /// Every file of a package.
    pub fn of_package<'a>(&'a self, package: &'a str) -> impl Iterator<Item = &'a str> {
        let files = self
            .files
            .iter()
            .filter(move |(_, file)| file.package == package);
        files.map(|(path, _)| path.as_str())
    }

    /// The licences that a package's copyright file names, where it is machine-readable
    /// (Debian's copyright-format 1.0), otherwise where to read.
    pub fn licence(&self, package: &str) -> String {
        let text = self.copyrights.get(package).map_or("", String::as_str);
        let names: std::collections::BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("License:"))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        if names.is_empty() || !text.contains("copyright-format/1.0") {
            return format!("see /usr/share/doc/{package}/copyright in the package");
        }
        names.into_iter().collect::<Vec<_>>().join("; ")
    }
}

/// `a{b,c}d` is `abd` and `acd`; braces do not nest.
fn alternatives(pattern: &str) -> Vec<String> {
    let parts = pattern
        .split_once('{')
        .and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
    let Some((head, (middle, tail))) = parts else {
        return vec![pattern.to_string()];
    };
    let heads = middle.split(',').map(|part| format!("{head}{part}{tail}"));
    heads.flat_map(|text| alternatives(&text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_packages_become_those_of_the_image() {
        assert_eq!(place("./usr/sbin/xfs_db"), "bin/xfs_db");
        assert_eq!(place("sbin/xfs_repair"), "bin/xfs_repair");
        assert_eq!(
            place("usr/lib/grub/i386-pc/boot.img"),
            "lib/grub/i386-pc/boot.img"
        );
        assert_eq!(place("etc/mke2fs.conf"), "etc/mke2fs.conf");
    }

    #[test]
    fn links_lead_to_paths_of_the_image() {
        assert_eq!(target("usr/sbin/vgs", "lvm"), "bin/lvm");
        assert_eq!(
            target("usr/lib/x/libz.so", "../../../lib/x/libz.so.1"),
            "lib/x/libz.so.1"
        );
        assert_eq!(target("lib64/ld.so", "/lib/x/ld.so"), "lib/x/ld.so");
        assert_eq!(target("a", "../../../../etc/passwd"), "etc/passwd");
    }

    #[test]
    fn a_circle_of_links_leads_nowhere() {
        let mut contents = Contents::default();
        for (path, to) in [("a", "b"), ("b", "a")] {
            let kind = Kind::Link(to.into());
            contents.insert(
                path.into(),
                File {
                    package: "p".into(),
                    kind,
                },
            );
        }
        assert_eq!(contents.follow("a"), None);
        assert_eq!(contents.follow("nowhere"), None);
    }

    #[test]
    fn patterns_stay_within_a_folder() {
        let mut contents = Contents::default();
        for path in ["etc/a.conf", "etc/b.conf", "etc/sub/c.conf"] {
            let kind = Kind::Regular(0o644, Vec::new());
            contents.insert(
                path.into(),
                File {
                    package: "p".into(),
                    kind,
                },
            );
        }
        assert_eq!(
            contents.matching("etc/*.conf"),
            ["etc/a.conf", "etc/b.conf"]
        );
        assert_eq!(
            contents.matching("etc/{a,sub/c}.conf"),
            ["etc/a.conf", "etc/sub/c.conf"]
        );
        assert!(contents.matching("etc/{a").is_empty());
    }
}
