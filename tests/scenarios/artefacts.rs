//! What is in out/, read with the field's reference tools and not with our own code: each gives back,
//! byte for byte, what the other artefacts say went in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kedge_tests::child::output;
use kedge_tests::machine::COMMAND_LINE;
use kedge_tests::{Folder, out, scenario};
use serde_json::Value;

/// Runs a program of the host to its end.
fn run(program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    output(Command::new(program).args(arguments), None)
}

/// A section of the UKI, as objcopy sees it, cut to its virtual size by objdump's word for it.
fn section(folder: &Folder, name: &str) -> Result<Vec<u8>> {
    let uki = out::artefact("kedge.efi")?.display().to_string();
    let file = folder.path().join(name).display().to_string();
    run(
        "objcopy",
        &[
            "--input-target=pei-x86-64",
            "-O",
            "binary",
            "-j",
            name,
            &uki,
            &file,
        ],
    )?;
    std::fs::read(&file).with_context(|| format!("reading {file}"))
}

/// Where `needle` occurs in `data`; it is searched by its first kilobyte, then compared whole.
fn occurrences(data: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let Some((&first, _)) = needle.split_first() else {
        return found;
    };
    let mut at = 0;
    while let Some(step) = data[at..].iter().position(|byte| *byte == first) {
        at += step;
        if data[at..].starts_with(needle) {
            found.push(at);
        }
        at += 1;
    }
    found
}

#[test]
fn gnu_cpio_and_xz_unpack_the_initramfs() {
    scenario(|folder| {
        let initramfs = out::artefact("netboot/initramfs.cpio.xz")?;
        let cpio = folder.path().join("initramfs.cpio");
        std::fs::write(
            &cpio,
            // Behind the stream are the link to init and room for stamps.
            run(
                "xz",
                &[
                    "--decompress",
                    "--stdout",
                    "--single-stream",
                    &path(&initramfs),
                ],
            )?,
        )?;
        // The kernel's decoder (lib/xz) knows CRC32 and no other check: the xz format's stream flags.
        let flags = std::fs::read(&initramfs)?.get(6..8).map(<[u8]>::to_vec);
        ensure!(flags == Some(vec![0, 1]), "not CRC32: {flags:?}");
        let list = run(
            "cpio",
            &["-tv", "--quiet", "--numeric-uid-gid", "-F", &path(&cpio)],
        )?;
        let list = String::from_utf8(list)?;
        for name in [
            " init",
            " bin/kedge",
            " bin/busybox",
            " dev/console",
            " etc/passwd",
        ] {
            ensure!(
                list.lines().any(|line| line.ends_with(name)),
                "no{name} in:\n{list}"
            );
        }
        for line in list.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            ensure!(
                words.len() > 4 && words[2..4] == ["0", "0"],
                "not root's: {line}"
            );
        }
        let times: std::collections::BTreeSet<_> = list
            .lines()
            .map(|line| time_of(line).unwrap_or_default())
            .collect();
        ensure!(times.len() == 1, "more than one time of change: {times:?}");

        let tree = folder.folder("tree")?;
        let archive = std::fs::File::open(&cpio)?;
        let mut unpack = Command::new("cpio");
        // Device nodes are root's to make: left out, so that anybody can run this.
        unpack.args(["-id", "--quiet", "--no-absolute-filenames", "-f", "dev/*"]);
        output(unpack.current_dir(&tree).stdin(archive), None)?;
        let init = std::fs::read(tree.join("init"))?;
        ensure!(init.starts_with(b"\x7fELF"), "/init is no program");
        // The gate: the real init is executed only when the link behind the archive's checksum is there.
        ensure!(
            init.len() < 2048 && !tree.join("whole").exists(),
            "/init starts without waiting for the archive's checksum"
        );
        let shell = std::fs::read_link(tree.join("bin/sh"))?;
        ensure!(shell.ends_with("busybox"), "sh is {}", shell.display());
        for program in ["bin/kedge", "bin/busybox"] {
            let dynamic = run("objdump", &["-p", &path(&tree.join(program))])?;
            let dynamic = String::from_utf8_lossy(&dynamic).into_owned();
            ensure!(
                !dynamic.contains("NEEDED"),
                "{program} needs libraries:\n{dynamic}"
            );
            ensure!(
                !dynamic.contains("INTERP"),
                "{program} needs an interpreter:\n{dynamic}"
            );
        }
        std::fs::remove_dir_all(&tree)?;
        std::fs::remove_file(&cpio)?;
        Ok(())
    });
}

/// The time in a line of `cpio -tv`: "-rwxr-xr-x 2 0 0 1290400 Jan 1 1970 init".
fn time_of(line: &str) -> Option<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    // A device has "5, 1" where a file has its size.
    let at = if words.get(4)?.ends_with(',') { 6 } else { 5 };
    Some(words.get(at..at + 3)?.join(" "))
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn xorriso_and_mtools_read_the_iso() {
    scenario(|folder| {
        let iso = path(&out::artefact("kedge.iso")?);
        let find = [
            "-indev",
            &iso,
            "-find",
            "/",
            "-type",
            "f",
            "-exec",
            "report_lba",
            "--",
        ];
        let files = String::from_utf8(run("xorriso", &find)?)?;
        for (name, artefact) in [
            ("/vmlinuz", "netboot/vmlinuz"),
            ("/initrd.xz", "netboot/initramfs.cpio.xz"),
        ] {
            let copy = folder.path().join(name.trim_start_matches('/'));
            run(
                "xorriso",
                &[
                    "-osirrox",
                    "on",
                    "-indev",
                    &iso,
                    "-extract",
                    name,
                    &path(&copy),
                ],
            )
            .with_context(|| format!("{name} is to be read; there are:\n{files}"))?;
            let (copy, original) = (std::fs::read(&copy)?, out::read(artefact)?);
            ensure!(copy == original, "{name} on the ISO is not {artefact}");
        }
        // The EFI system partition, found as firmware finds it: by the partition table.
        let esp = format!("{iso}@@{}", esp_offset(&iso)?);
        let efi = run("mtype", &["-i", &esp, "::EFI/BOOT/BOOTX64.EFI"])?;
        ensure!(
            efi == out::read("kedge.efi")?,
            "BOOTX64.EFI is not kedge.efi"
        );
        Ok(())
    });
}

/// Where the EFI system partition begins, in bytes, by xorriso's report of the partition table.
fn esp_offset(iso: &str) -> Result<u64> {
    let report = run("xorriso", &["-indev", iso, "-report_system_area", "plain"])?;
    let report = String::from_utf8(report)?;
    // "MBR partition   :   2   0x00  0xef  START  COUNT"
    for line in report
        .lines()
        .filter(|line| line.starts_with("MBR partition "))
    {
        let words: Vec<_> = line.split_whitespace().collect();
        if words.get(5) == Some(&"0xef") {
            let start: u64 = words.get(6).context("no start")?.parse()?;
            return Ok(start * 512);
        }
    }
    bail!("no EFI system partition in:\n{report}")
}

#[test]
fn kernel_and_initramfs_are_on_the_iso_once() {
    scenario(|_| {
        let iso = out::read("kedge.iso")?;
        for name in ["netboot/vmlinuz", "netboot/initramfs.cpio.xz"] {
            let whole = out::read(name)?;
            let found = occurrences(&iso, &whole);
            ensure!(
                found.len() == 1,
                "{name} is on the ISO whole {} times",
                found.len()
            );
            // Part of it alone would cost as much. One of these pieces may be elsewhere: tables that cannot be
            // compressed (of P-256) are in kedge and in the packs' libcrypto.
            let once = |eighth: usize| {
                let begin = whole.len() / 8 * eighth;
                occurrences(&iso, &whole[begin..begin + 4096]).len() == 1
            };
            let pieces = (1..8).filter(|eighth| once(*eighth)).count();
            ensure!(
                pieces >= 6,
                "only {pieces} of 7 pieces of {name} are on the ISO once"
            );
        }
        Ok(())
    });
}

#[test]
fn objdump_and_objcopy_read_the_uki() {
    scenario(|folder| {
        let uki = path(&out::artefact("kedge.efi")?);
        let headers = String::from_utf8(run("objdump", &["-h", &uki])?)?;
        for name in [".osrel", ".cmdline", ".linux", ".initrd"] {
            ensure!(
                headers.contains(&format!(" {name} ")),
                "no {name} in:\n{headers}"
            );
        }
        let kernel = section(folder, ".linux")?;
        ensure!(
            kernel == out::read("netboot/vmlinuz")?,
            ".linux is not netboot/vmlinuz"
        );
        let initramfs = section(folder, ".initrd")?;
        let original = out::read("netboot/initramfs.cpio.xz")?;
        let (data, room) = initramfs
            .split_at_checked(original.len())
            .context("too short")?;
        ensure!(
            data == original,
            ".initrd does not begin with netboot/initramfs.cpio.xz"
        );
        ensure!(
            room.iter().all(|byte| *byte == 0),
            "what follows the initramfs is not zeros"
        );
        let line = String::from_utf8(section(folder, ".cmdline")?)?;
        let line = line.trim_end_matches(['\0', '\n']);
        ensure!(
            line == COMMAND_LINE,
            "the tests boot with another command line: {line:?}"
        );
        ensure!(
            out::read("netboot/kedge.efi")? == out::read("kedge.efi")?,
            "two kedge.efi differ"
        );
        for name in [".linux", ".initrd", ".cmdline"] {
            std::fs::remove_file(folder.path().join(name))?;
        }
        Ok(())
    });
}

#[test]
fn boot_ipxe_uses_the_same_command_line() {
    scenario(|_| {
        let script = String::from_utf8(out::read("netboot/boot.ipxe")?)?;
        ensure!(
            script.starts_with("#!ipxe\n"),
            "not an iPXE script:\n{script}"
        );
        ensure!(
            script.contains(COMMAND_LINE),
            "another command line:\n{script}"
        );
        Ok(())
    });
}

#[test]
fn sha256sum_agrees_with_the_checksums() {
    scenario(|_| {
        out::artefact("SHA256SUMS")?;
        let mut check = Command::new("sha256sum");
        let checked = output(
            check.args(["-c", "SHA256SUMS"]).current_dir(out::folder()),
            None,
        )?;
        let checked = String::from_utf8(checked)?;
        for file in files_in(&out::folder())? {
            let name = file.strip_prefix(out::folder())?.display().to_string();
            let line = format!("{name}: OK");
            ensure!(
                name == "SHA256SUMS" || checked.lines().any(|other| other == line),
                "{name} has no checksum"
            );
        }
        Ok(())
    });
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_in(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[test]
fn manifest_tells_the_truth() {
    scenario(|_| {
        let manifest: Value = serde_json::from_slice(&out::read("manifest.json")?)?;
        let files = manifest["files"]
            .as_array()
            .context("the manifest lists no files")?;
        for name in [
            "kedge.iso",
            "kedge.efi",
            "netboot/vmlinuz",
            "netboot/initramfs.cpio.xz",
        ] {
            ensure!(
                files.iter().any(|file| file["path"] == name),
                "{name} is not listed"
            );
        }
        for file in files {
            let name = file["path"].as_str().context("a file without a path")?;
            ensure!(
                file["size"] == out::size(name)?,
                "the size of {name} is not {}",
                file["size"]
            );
            let sum = run("sha256sum", &[&path(&out::artefact(name)?)])?;
            let sum = String::from_utf8(sum)?;
            ensure!(
                sum.split(' ').next() == file["sha256"].as_str(),
                "the hash of {name} is wrong"
            );
        }
        let parts = manifest["parts"]
            .as_array()
            .context("the manifest lists no parts")?;
        for name in ["linux", "busybox", "kedge"] {
            ensure!(
                parts.iter().any(|part| part["name"] == name),
                "the part {name} is not listed"
            );
        }
        for part in parts {
            for field in ["name", "version", "licence", "source"] {
                let text = part[field].as_str().unwrap_or_default();
                ensure!(!text.is_empty(), "a part without {field}: {part}");
            }
        }
        Ok(())
    });
}
