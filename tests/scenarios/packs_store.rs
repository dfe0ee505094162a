//! What lies in out/packs is what the index in the initramfs says, and loading it costs what was promised.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kedge_pack_index::Index;
use kedge_tests::child::output;
use kedge_tests::{out, scenario};

/// Bytes to fetch at most, with nothing loaded.
const BOUNDS: &[(&[&str], u64)] = &[
    (&["xfs_repair"], 1_300_000),
    (&["cryptsetup", "xfs_repair"], 3_900_000),
    (&["storage"], 9_000_000),
];

fn index() -> Result<Index> {
    let mut shell = Command::new("sh");
    shell
        // Behind the archive there may be more than xz wants to see.
        .args(["-c", "xz -dc --single-stream \"$1\" 2>/dev/null | cpio -i --quiet --to-stdout etc/kedge/packs", "sh"])
        .arg(out::artefact("netboot/initramfs.cpio.xz")?);
    let text = String::from_utf8(shell.output()?.stdout)?;
    Index::parse(&text).context("the initramfs has no index of packs")
}

fn groups(index: &Index, names: &[&str]) -> BTreeSet<usize> {
    let packs =
        (0..index.packs.len()).filter(|pack| names.contains(&index.packs[*pack].name.as_str()));
    let of_packs = packs.flat_map(|pack| index.groups_of_pack(pack));
    let programs = index
        .programs
        .iter()
        .filter(|program| names.contains(&program.name.as_str()));
    let of_programs = programs.flat_map(|program| program.groups.iter().copied());
    of_packs.chain(of_programs).collect()
}

#[test]
fn loading_costs_what_was_promised() {
    scenario(|_| {
        let index = index()?;
        for (names, most) in BOUNDS {
            let bytes: u64 = groups(&index, names)
                .iter()
                .map(|g| index.groups[*g].packed)
                .sum();
            println!("{}: {bytes} of {most}", names.join(", "));
            ensure!(
                bytes > most / 2 && bytes <= *most,
                "{names:?}: {bytes} bytes"
            );
        }
        Ok(())
    });
}

#[test]
fn every_group_is_a_whole_stream_with_the_digest_that_the_image_knows() {
    scenario(|folder| {
        let index = index()?;
        let piece = folder.path().join("group.cpio.xz");
        for (number, archive) in index.archives.iter().enumerate() {
            let content = out::read(&format!("packs/{archive}.cpio.xz"))?;
            ensure!(
                content == out::read(&format!("netboot/packs/{archive}.cpio.xz"))?,
                "{archive} differs"
            );
            let mut end = 0;
            for group in index.groups.iter().filter(|group| group.archive == number) {
                let begin = usize::try_from(group.offset)?;
                end = begin + usize::try_from(group.packed)?;
                fs::write(
                    &piece,
                    content.get(begin..end).context("the archive is shorter")?,
                )?;
                let sum = output(Command::new("sha256sum").arg(&piece), None)?;
                let digest: String = group
                    .sha256
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                ensure!(
                    String::from_utf8(sum)?.starts_with(&digest),
                    "{archive} at {begin}"
                );
                output(Command::new("xz").arg("-t").arg(&piece), None)?;
            }
            ensure!(
                end == content.len(),
                "{archive} has {} bytes more",
                content.len() - end
            );
        }
        Ok(())
    });
}
