//! manifest.json and SHA256SUMS: what the artefacts are made of, and what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{program, sha256};

/// Name of the manifest in the folder of artefacts.
pub const MANIFEST: &str = "manifest.json";
/// Name of the list of digests in the folder of artefacts, as sha256sum(1) reads it.
pub const SUMS: &str = "SHA256SUMS";

/// Licences under which code may go into the image. A crate with another one stops the build
/// until somebody has read the licence and added it.
const ACCEPTED_LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    // Of data: Mozilla's list of certificate authorities. To be handed on with its text, like the others.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Why the manifest cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// cargo metadata failed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// cargo metadata said something else than its documentation promises, or the manifest at
    /// hand is none.
    #[error("cannot read {what}: {source}")]
    Json {
        /// Which text.
        what: &'static str,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A crate under a licence that nobody has looked at.
    #[error(
        "crate {name} {version} is under {licence:?}, which is not among the licences accepted \
         for the image; replace the crate, or add the licence in image/src/manifest.rs"
    )]
    Licence {
        /// The crate.
        name: String,
        /// Its version.
        version: String,
        /// What its Cargo.toml says.
        licence: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Something that went into the artefacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// Its version: Debian's for what comes from Debian.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// The Debian package, or the repository of a crate.
    pub source: String,
    /// SHA-256 of what went in; none for a crate, which is linked into kedge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Bytes of what went in; none for a crate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A file of the folder of artefacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path in the folder.
    pub path: String,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// What `kedge.toml` and the build's options put into the image, without what is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// Words of the kernel's command line; URLs without login and query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Who may log in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<ConfiguredKey>,
    /// Fingerprint of the host's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// Packs and programs that are in the image itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Packs of the operator's own, and their Debian packages.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packs: BTreeMap<String, Vec<String>>,
    /// Certificate authorities of the operator's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root_ca: Vec<ConfiguredFile>,
}

/// A key that may log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfiguredKey {
    /// As ssh-keygen prints it: `SHA256:...`.
    pub fingerprint: String,
    /// What follows the key in its line.
    pub comment: String,
}

/// A file that the operator put into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfiguredFile {
    /// Where it is in the image.
    pub path: String,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// manifest.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always "kedge".
    pub name: String,
    /// Version of kedge.
    pub version: String,
    /// The kernel command line on every medium.
    pub command_line: String,
    /// What the operator configured; absent where that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<Configured>,
    /// Bytes at the end of the initramfs for `cargo xtask stamp`; 0 where it has none.
    #[serde(default)]
    pub stamp_area: u64,
    /// What went in.
    pub parts: Vec<Part>,
    /// What came out, without manifest and sums.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The JSON text, with a line feed at its end.
    ///
    /// # Errors
    /// None in practice: the types have no content that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|source| Error::Json {
                what: MANIFEST,
                source,
            })
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When `text` is none.
    pub fn from_json(text: &str) -> Result<Manifest, Error> {
        serde_json::from_str(text).map_err(|source| Error::Json {
            what: MANIFEST,
            source,
        })
    }

    /// Whether every file in `folder` still is what this manifest says.
    pub fn matches(&self, folder: &Path) -> bool {
        !self.files.is_empty()
            && self.files.iter().all(|file| {
                sha256::of_file(&folder.join(&file.path))
                    .is_ok_and(|(digest, size)| (digest, size) == (file.sha256.clone(), file.size))
            })
    }
}

/// Describes the files at `paths` in `folder`.
///
/// # Errors
/// When one cannot be read.
pub fn describe(folder: &Path, paths: &[String]) -> Result<Vec<FileEntry>, Error> {
    paths
        .iter()
        .map(|path| {
            let (sha256, size) =
                sha256::of_file(&folder.join(path)).map_err(|source| Error::Read {
                    path: folder.join(path),
                    source,
                })?;
            Ok(FileEntry {
                path: (*path).to_string(),
                sha256,
                size,
            })
        })
        .collect()
}

/// SHA256SUMS for `files`.
pub fn sums(files: &[FileEntry]) -> String {
    files
        .iter()
        .map(|file| format!("{}  {}\n", file.sha256, file.path))
        .collect()
}

/// The crates that are linked into kedge, with their licences: what `cargo metadata` says of the
/// workspace at `root`, followed from kedge along ordinary dependencies.
///
/// # Errors
/// When cargo fails, or a crate's licence is not accepted.
pub fn crates(root: &Path) -> Result<Vec<Part>, Error> {
    let output = program::run(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root)
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"]),
    )?;
    linked_crates(&output)
}

/// What is read of `cargo metadata`'s output (the Cargo book, "cargo metadata").
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<ResolveNode>,
}

#[derive(Deserialize)]
struct ResolveNode {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None: an ordinary dependency; else "build" or "dev".
    kind: Option<String>,
}

fn linked_crates(metadata: &[u8]) -> Result<Vec<Part>, Error> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|source| Error::Json {
        what: "cargo metadata's output",
        source,
    })?;
    let packages: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let nodes: BTreeMap<&str, &ResolveNode> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();

    let mut linked = BTreeSet::new();
    let mut open: Vec<&str> = metadata
        .packages
        .iter()
        .filter(|package| package.name == "kedge" && package.source.is_none())
        .map(|package| package.id.as_str())
        .collect();
    while let Some(id) = open.pop() {
        // A procedural macro runs in the compiler; nothing of it is in the binary.
        let is_macro = packages[id]
            .targets
            .iter()
            .any(|target| target.kind == ["proc-macro"]);
        if is_macro || !linked.insert(id) {
            continue;
        }
        let ordinary =
            |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        open.extend(
            nodes[id]
                .deps
                .iter()
                .filter(ordinary)
                .map(|dep| dep.pkg.as_str()),
        );
    }

    let mut parts = Vec::new();
    for package in linked
        .iter()
        .map(|id| packages[id])
        .filter(|package| package.source.is_some())
    {
        let licence = package.license.clone().unwrap_or_default();
        if !is_accepted(&licence) {
            return Err(Error::Licence {
                name: package.name.clone(),
                version: package.version.clone(),
                licence,
            });
        }
        parts.push(Part {
            name: format!("crate {}", package.name),
            version: package.version.clone(),
            licence,
            source: package.repository.clone().unwrap_or_default(),
            sha256: None,
            size: None,
        });
    }
    parts.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(parts)
}

/// Whether an SPDX expression can be fulfilled by accepted licences. Understands OR, AND, the old
/// slash for OR, and one level of parentheses, which is what crates use.
fn is_accepted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    if let Some((before, rest)) = expression.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else {
            return false;
        };
        // The parenthesised part is replaced by a licence that stands for its value.
        let value = if is_accepted(inside) {
            "MIT"
        } else {
            "refused"
        };
        return is_accepted(&format!("{before}{value}{after}"));
    }
    expression.split(" OR ").any(|choice| {
        choice
            .split(" AND ")
            .all(|licence| ACCEPTED_LICENCES.contains(&licence.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_accepted_as_their_expression_says() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "GPL-3.0 OR MIT",
            "Unlicense/MIT",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0",
        ] {
            assert!(is_accepted(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(GPL-2.0 OR GPL-3.0) AND MIT",
            "MIT AND (",
        ] {
            assert!(!is_accepted(bad), "{bad}");
        }
    }

    fn metadata(licence: &str) -> String {
        let package = |id: &str, licence: &str, source: &str, kind: &str| {
            format!(
                r#"{{"id":"{id}","name":"{id}","version":"1.0.0","license":"{licence}",
                "repository":"https://example.org/{id}","source":{source},
                "targets":[{{"kind":["{kind}"]}}]}}"#
            )
        };
        let node = |id: &str, deps: &[(&str, &str)]| {
            let deps: Vec<String> = deps
                .iter()
                .map(|(dep, kind)| format!(r#"{{"pkg":"{dep}","dep_kinds":[{{"kind":{kind}}}]}}"#))
                .collect();
            format!(r#"{{"id":"{id}","deps":[{}]}}"#, deps.join(","))
        };
        format!(
            r#"{{"packages":[{}],"resolve":{{"nodes":[{}]}}}}"#,
            [
                package("kedge", "MIT", "null", "bin"),
                package("linked", licence, "\"registry\"", "lib"),
                package("macro", "MIT", "\"registry\"", "proc-macro"),
                package("for-build", "GPL-3.0", "\"registry\"", "lib"),
                package("elsewhere", "GPL-3.0", "\"registry\"", "lib"),
            ]
            .join(","),
            [
                node(
                    "kedge",
                    &[
                        ("linked", "null"),
                        ("macro", "null"),
                        ("for-build", "\"build\"")
                    ]
                ),
                node("linked", &[]),
                node("macro", &[("elsewhere", "null")]),
                node("for-build", &[]),
                node("elsewhere", &[]),
            ]
            .join(",")
        )
    }

    #[test]
    fn only_what_is_linked_is_listed() {
        let parts = linked_crates(metadata("MIT OR Apache-2.0").as_bytes()).unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["crate linked"]);
        assert_eq!(parts[0].source, "https://example.org/linked");
    }

    #[test]
    fn a_linked_crate_under_a_strange_licence_stops_the_build() {
        let error = linked_crates(metadata("SSPL-1.0").as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Licence { name, .. } if name == "linked"));
    }

    #[test]
    fn a_damaged_or_missing_file_does_not_match() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("kedge.efi"), "MZ").unwrap();
        let manifest = Manifest {
            name: "kedge".into(),
            version: "0".into(),
            command_line: String::new(),
            configured: None,
            stamp_area: 0,
            parts: Vec::new(),
            files: describe(scratch.path(), &["kedge.efi".into()]).unwrap(),
        };
        let manifest = Manifest::from_json(&manifest.to_json().unwrap()).unwrap();
        assert!(manifest.matches(scratch.path()));
        std::fs::write(scratch.path().join("kedge.efi"), "MY").unwrap();
        assert!(!manifest.matches(scratch.path()));
        std::fs::remove_file(scratch.path().join("kedge.efi")).unwrap();
        assert!(!manifest.matches(scratch.path()));
    }
}
