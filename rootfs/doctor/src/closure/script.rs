//! What the first line of a script names: execve(2).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

/// `BINPRM_BUF_SIZE`: how much of a script's first line the kernel reads.
pub(crate) const FIRST_LINE: usize = 256;
/// `PATH`, in which `env` looks.
const FOLDERS: &[&str] = &[
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];

/// Who runs a script.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Interpreters {
    /// The interpreter, and what `env` starts; whether they are there is not said.
    pub(crate) paths: Vec<PathBuf>,
    /// A name that `env` finds nowhere.
    pub(crate) nowhere: Option<String>,
}

/// Of `#!/usr/bin/env NAME`, `#!/bin/sh -e`; `None` when it is no script.
pub(crate) fn interpreters(root: &Sysroot, head: &[u8]) -> Option<Interpreters> {
    let line = head[..head.len().min(FIRST_LINE)].strip_prefix(b"#!")?;
    let line = line.split(|&b| b == b'\n').next().unwrap_or_default();
    let blank = |&b: &u8| b == b' ' || b == b'\t';
    let mut words = line.split(blank).filter(|word| !word.is_empty());
    let interpreter = super::path(words.next()?);
    let mut interpreters = Interpreters::default();
    let is_env = interpreter.file_name() == Some(OsStr::new("env"));
    interpreters.paths.push(interpreter);
    if is_env {
        let is_name = |word: &&[u8]| !word.starts_with(b"-") && !word.contains(&b'=');
        let wanted = words.find(is_name).map(super::path).unwrap_or_default();
        let mut places = FOLDERS.iter().map(|folder| Path::new(folder).join(&wanted));
        match places.find(|place| root.exists(place)) {
            Some(place) => interpreters.paths.push(place),
            None => interpreters.nowhere = Some(wanted.to_string_lossy().into_owned()),
        }
    }
    Some(interpreters)
}
