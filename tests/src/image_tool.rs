//! The multicall program of the image, to be run on this host: it is static, and what it does to a folder it does here as there.
//!
//! ```ignore
//! let kedge = ImageTool::extract(folder.path())?;
//! let doctor = kedge.run(&["doctor", "--json", "victim"], Duration::from_secs(60))?;
//! ensure!(doctor.status == Some(1));
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::child::{Child, output};
use crate::command::{Finished, finish};
use crate::out;
use crate::segment::Station;

/// The program's place in the initramfs.
const PLACE: &str = "bin/kedge";

/// `kedge` as it is in `out/netboot/initramfs.cpio.xz`.
#[derive(Debug, Clone)]
pub struct ImageTool {
    path: PathBuf,
}

impl ImageTool {
    /// Takes it out of the initramfs, into a file `kedge` in `folder`.
    pub fn extract(folder: &Path) -> Result<Self> {
        let path = folder.join("kedge");
        // Only the first stream of xz: what may follow the last one (a stamp's area) is none.
        let script =
            "xz -dc --single-stream \"$1\" 2>/dev/null | cpio -i --quiet --to-stdout \"$2\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(out::artefact("netboot/initramfs.cpio.xz")?)
            .arg(PLACE);
        let program = output(&mut command, None)?;
        ensure!(
            program.starts_with(b"\x7fELF"),
            "there is no {PLACE} in the initramfs"
        );
        // One that is there may be running in another thread: it is replaced and not written to.
        let partial = folder.join(format!("kedge.{:?}", std::thread::current().id()));
        fs::write(&partial, program)?;
        fs::set_permissions(&partial, Permissions::from_mode(0o755))?;
        fs::rename(&partial, &path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that is this program with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end, whatever that is.
    pub fn run(&self, arguments: &[&str], patience: Duration) -> Result<Finished> {
        self.run_at(None, arguments, patience)
    }

    /// Runs it in the network of `station`, or in this host's.
    pub fn run_at(
        &self,
        station: Option<&Station>,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<Finished> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let namespaces = station.map(|station| station.namespace().namespaces());
        let name = format!("kedge {}", arguments.join(" "));
        finish(
            &name,
            Child::spawn_as_is(&mut command, namespaces)?,
            patience,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;

    #[test]
    fn the_image_s_program_runs_on_this_host() -> Result<()> {
        let folder = Folder::new("unit.image_tool")?;
        let kedge = ImageTool::extract(folder.path())?;
        let said = kedge.run(&["--list"], Duration::from_secs(20))?.success()?;
        let text = said.text();
        ensure!(text.lines().any(|name| name == "sshd"), "{text}");
        Ok(())
    }
}
