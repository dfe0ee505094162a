//! `cargo xtask bench stamp`: how long a thousand stamps of kedge.iso take, on xfs with reflinks and on the
//! file system of the checkout. Prints a Markdown table.

use anyhow::{Context, Result};
use kedge_tests::{Folder, SshKey, out};

#[path = "../scenarios/stamp/fleet.rs"]
mod fleet;

fn main() -> Result<()> {
    let folder = Folder::new("bench.stamp")?;
    let this = std::env::current_exe()?;
    let program = this.with_file_name("xtask");
    let image = out::artefact("kedge.iso")?;
    let key = SshKey::new(folder.path(), "host")?;
    let mut rows = Vec::new();
    let mut measure = |name: &str, on_xfs| -> Result<()> {
        let folder = folder.folder(name)?;
        let took = fleet::stamp(&folder, &program, &image, key.private(), on_xfs)
            .with_context(|| format!("stamping on {name}"))?;
        let [elapsed, processor] = [took.elapsed, took.processor].map(|time| time.as_secs_f64());
        rows.push(format!("| {name} | {elapsed:.1} | {processor:.1} |"));
        Ok(())
    };
    if fleet::may_mount() {
        measure("xfs with reflinks", true)?;
    } else {
        eprintln!("note: this user may not mount a file system: xfs is left out");
    }
    measure("the checkout's file system", false)?;
    println!("\n| 1000 stamps on | s | s of the processor |");
    println!("|---|--:|--:|");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}
