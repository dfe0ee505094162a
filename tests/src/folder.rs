//! The folder a scenario leaves behind, and what is printed when it fails.

use std::any::type_name;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

use crate::console::Log;

/// How many console lines are printed when a scenario fails.
const TAIL: usize = 40;

/// A scenario's folder, and the console logs written to it so far.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    logs: Mutex<Vec<(PathBuf, Arc<Log>)>>,
}

impl Folder {
    /// Makes the empty folder for the scenario `name`; what an earlier run left in it goes.
    pub fn new(name: &str) -> Result<Self> {
        let path = root().join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("emptying {}", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("finding {}", path.display()))?;
        Ok(Self {
            path,
            logs: Mutex::default(),
        })
    }

    /// Where the folder is (absolute).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made when it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }

    /// A console whose last lines are printed should the scenario fail.
    pub(crate) fn watch(&self, path: &Path, log: Arc<Log>) {
        if let Ok(mut logs) = self.logs.lock() {
            logs.push((path.to_owned(), log));
        }
    }

    fn tell_failure(&self) {
        for (path, log) in self.logs.lock().iter().flat_map(|logs| logs.iter()) {
            let text = log.text();
            let lines: Vec<_> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL);
            eprintln!("--- {} (last {} lines)", path.display(), lines.len() - from);
            for line in &lines[from..] {
                eprintln!("{}", line.trim_end());
            }
        }
        eprintln!("--- everything else: {}", self.path.display());
    }
}

fn root() -> PathBuf {
    match std::env::var_os("KEDGE_ARTEFACTS") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/scenarios"),
    }
}

/// Runs a scenario in a folder named after the test function the closure stands in.
///
/// # Panics
/// When the scenario fails, after its last console lines and its folder are printed.
pub fn scenario<F: FnOnce(&Folder) -> Result<()>>(story: F) {
    // "bios::usb_cd_reaches_a_shell::{{closure}}": a name that cannot be out of step with the test's.
    let name = type_name::<F>()
        .trim_end_matches("::{{closure}}")
        .replace("::", ".");
    if let Err(error) = run_in(&name, story) {
        panic!("{name}: {error:#}");
    }
}

fn run_in<F: FnOnce(&Folder) -> Result<()>>(name: &str, story: F) -> Result<()> {
    let folder = Folder::new(name)?;
    // A failed assert! in the story should show the console too.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(&folder)));
    if !matches!(result, Ok(Ok(()))) {
        folder.tell_failure();
    }
    result.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
}
