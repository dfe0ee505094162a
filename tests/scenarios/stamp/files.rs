//! What becomes of the files: nothing is booted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::child::output;
use kedge_tests::{Folder, SshKey, out, scenario};

use super::fleet;
use super::program::{Stamper, build, flip};

/// A copy of out/.
fn copy(folder: &Folder) -> Result<std::path::PathBuf> {
    out::artefact("SHA256SUMS")?;
    let copy = folder.path().join("images");
    let mut cp = Command::new("cp");
    cp.args(["--recursive", "--reflink=auto"]);
    output(cp.arg(out::folder().canonicalize()?).arg(&copy), None)?;
    Ok(copy)
}

fn sums_agree(folder: &Path, list: &str) -> Result<()> {
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.args(["--check", "--quiet", list]);
    output(sha256sum.current_dir(folder), None)?;
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

const FILES: [&str; 7] = [
    "kedge.iso",
    "kedge.efi",
    "netboot/kedge.efi",
    "netboot/initramfs.cpio.xz",
    "netboot/vmlinuz",
    "manifest.json",
    "SHA256SUMS",
];

#[test]
fn stamps_replace_each_other_sums_follow_and_clear_gives_back_what_was_built() {
    scenario(|folder| {
        let out = copy(folder)?;
        let read = |name: &str| fs::read(out.join(name));
        let built = FILES.map(read);
        let count = || -> Result<_> {
            let of = |folder: &Path| Ok::<_, anyhow::Error>(fs::read_dir(folder)?.count());
            Ok((of(&out)?, of(&out.join("netboot"))?))
        };
        let files = count()?;
        let stamper = Stamper::new(folder)?;
        let words = |hostname| ["images", "--hostname", hostname, "--cmdline", "invented=1"];
        let said = stamper.must(&words("first"))?.stderr;
        for name in &FILES[..4] {
            ensure!(said.contains(&format!("stamped images/{name}: ")), "{said}");
        }
        sums_agree(&out, "SHA256SUMS")?;
        let first = FILES.map(read);
        for ((name, built), first) in FILES.iter().zip(&built).zip(&first) {
            let (built, first) = (built.as_ref(), first.as_ref());
            let (Ok(built), Ok(first)) = (built, first) else {
                anyhow::bail!("cannot read {name}");
            };
            ensure!((built == first) == (*name == "netboot/vmlinuz"), "{name}");
            ensure!(built.len() == first.len(), "{name} has another length");
            let changed = built.iter().zip(first).filter(|(a, b)| a != b).count();
            ensure!(changed < 1500, "{changed} bytes of {name} are others");
        }
        stamper.must(&words("second"))?;
        let shown = stamper.must(&["images/kedge.iso", "--show"])?.stdout;
        ensure!(shown.contains("kedge.hostname=second"), "{shown}");
        ensure!(!shown.contains("first"), "{shown}");
        let shown = stamper.must(&["images", "--show", "--json"])?.stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        ensure!(shown.as_array().map(Vec::len) == Some(4), "{shown}");
        ensure!(shown[0]["stamp"]["kernel"][0] == "invented=1", "{shown}");
        // The same stamp gives the same bytes; a copy of itself is itself.
        stamper.must(&words("first"))?;
        let iso = "images/kedge.iso";
        stamper.must(&[iso, "--hostname", "third", "-o", iso])?;
        sums_agree(&out, "SHA256SUMS")?;
        stamper.must(&words("first"))?;
        for (name, first) in FILES.iter().zip(&first) {
            ensure!(first.as_ref().ok() == read(name).ok().as_ref(), "{name}");
        }
        stamper.must(&["images", "--clear"])?;
        for (name, built) in FILES.iter().zip(&built) {
            ensure!(built.as_ref().ok() == read(name).ok().as_ref(), "{name}");
        }
        let shown = stamper.must(&["images/kedge.efi", "--show"])?.stdout;
        ensure!(shown.contains("nothing is stamped; room for"), "{shown}");
        // One folder alone; and nothing is left over.
        stamper.must(&["images/netboot", "--hostname", "a"])?;
        sums_agree(&out, "SHA256SUMS")?;
        ensure!(count()? == files, "{:?} files of {files:?}", count()?);
        Ok(())
    });
}

#[test]
fn a_copy_has_its_sum_beside_it_and_a_secret_is_its_owners() {
    scenario(|folder| {
        let out = copy(folder)?;
        let before = fs::read(out.join("kedge.iso"))?;
        SshKey::new(folder.path(), "host")?;
        let stamper = Stamper::new(folder)?;
        stamper.must(&["images/kedge.iso", "--hostname", "a", "-o", "a.iso"])?;
        sums_agree(folder.path(), "a.iso.sha256")?;
        ensure!(mode(&folder.path().join("a.iso"))? == mode(&out.join("kedge.iso"))?);
        let ended = stamper.must(&["images/kedge.iso", "--host-key", "host", "-o", "b.iso"])?;
        ensure!(ended.stderr.contains("PRIVATE KEY"), "{}", ended.stderr);
        ensure!(mode(&folder.path().join("b.iso"))? == 0o600);
        stamper.must(&["images/netboot", "--host-key", "host", "-o", "net"])?;
        sums_agree(folder.path(), "net.sha256")?;
        ensure!(mode(&folder.path().join("net"))? == 0o700);
        ensure!(mode(&folder.path().join("net/kedge.efi"))? == 0o600);
        ensure!(
            fs::read(out.join("kedge.iso"))? == before,
            "the image changed"
        );
        sums_agree(&out, "SHA256SUMS")?;
        stamper.must_not(
            &["images/netboot", "--hostname", "a", "-o", "net"],
            "is there already",
        )
    });
}

#[test]
fn what_cannot_be_stamped_is_said_and_nothing_is_touched() {
    scenario(|folder| {
        let out = copy(folder)?;
        let list = |folder: &Path| -> Result<Vec<_>> {
            let mut names: Vec<_> = fs::read_dir(folder)?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<Result<_>>()?;
            names.sort();
            Ok(names)
        };
        SshKey::new(folder.path(), "host")?;
        let noise = output(
            Command::new("head").args(["-c", "70000", "/dev/urandom"]),
            None,
        )?;
        fs::write(folder.path().join("noise"), noise)?;
        fs::write(folder.path().join("text"), "no image\n")?;
        let mut damaged = fs::read(out.join("netboot/initramfs.cpio.xz"))?;
        let header = flip::header(&damaged)?;
        damaged[header] ^= 1;
        fs::write(folder.path().join("without.xz"), damaged)?;
        let before = (
            list(folder.path())?,
            list(&out)?,
            FILES.map(|n| fs::read(out.join(n)).ok()),
        );
        let stamper = Stamper::new(folder)?;
        for (arguments, words) in [
            (
                &["images", "--file", "noise:/etc/noise"][..],
                "and there is room for 3",
            ),
            (
                &["images", "--file", "noise:/etc/noise"],
                "stamp_area = \"80 KiB\"",
            ),
            (
                &["images", "--file", "noise:/tmp/noise"],
                "mounted over /tmp",
            ),
            (&["images", "--ssh-key", "host"], "is a PRIVATE key"),
            (&["images", "--host-key", "host.pub"], "is a public key"),
            (
                &["images", "--ip", "192.0.2.700"],
                "--ip: 'ip=192.0.2.700': '192.0.2.700' is not",
            ),
            (
                &["images", "--cmdline", "loglevel=7"],
                "on the boot loader's command line",
            ),
            (
                &["images", "--cmdline", "kedge.nonsense=7"],
                "kedge.nonsense is not a word",
            ),
            (&["images", "--root-ca", "text"], "--root-ca: "),
            (&["text", "--hostname", "a"], "neither an ISO, nor"),
            (
                &["none", "--hostname", "a"],
                "cannot read none: No such file",
            ),
            (
                &["without.xz", "--hostname", "a"],
                "has no room for a stamp",
            ),
            (
                &["images", "--hostname", "a", "-o", "images/copy"],
                "is in the folder",
            ),
            (
                &["images/kedge.iso", "--hostname", "a", "-o", "none/a.iso"],
                "none/a.iso",
            ),
        ] {
            stamper.must_not(arguments, words)?;
        }
        let after = (
            list(folder.path())?,
            list(&out)?,
            FILES.map(|n| fs::read(out.join(n)).ok()),
        );
        ensure!(
            before == after,
            "something was left or changed: {:?}",
            after.0
        );
        ensure!(
            stamper.run(&["images"])?.code == Some(2),
            "no wish is wrong use"
        );
        Ok(())
    });
}

#[test]
fn a_damaged_stamp_is_told_by_show_and_can_be_cleared() {
    scenario(|folder| {
        let out = copy(folder)?;
        let path = out.join("netboot/initramfs.cpio.xz");
        let built = fs::read(&path)?;
        let stamper = Stamper::new(folder)?;
        let file = "images/netboot/initramfs.cpio.xz";
        stamper.must(&[file, "--hostname", "a", "--cmdline", "invented=1"])?;
        let whole = fs::read(&path)?;
        for place in [flip::archive(&whole)?, flip::bootconfig(&whole)] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, damaged)?;
            stamper.must_not(&[file, "--show"], "is damaged")?;
        }
        stamper.must(&[file, "--clear"])?;
        ensure!(fs::read(&path)? == built, "not as it was built");
        sums_agree(&out, "SHA256SUMS")
    });
}

#[test]
fn a_build_notices_that_its_artefacts_are_stamped() {
    scenario(|folder| {
        let out = build(folder, "hostname = \"a\"\nstamp_area = \"64 KiB\"\n")?;
        let said = || fs::read_to_string(folder.path().join("build.log"));
        let text = fs::read_to_string(folder.path().join("kedge.toml"))?;
        let built = fs::read(out.join("kedge.iso"))?;
        build(folder, &text)?;
        ensure!(said()?.contains("nothing has changed"), "{}", said()?);
        let stamper = Stamper::new(folder)?;
        let room = stamper.must(&["out/kedge.iso", "--show"])?.stdout;
        ensure!(room.contains("room for 6"), "{room}");
        stamper.must(&["out", "--hostname", "b"])?;
        ensure!(fs::read(out.join("kedge.iso"))? != built);
        build(folder, &text)?;
        ensure!(
            fs::read(out.join("kedge.iso"))? == built,
            "it is stamped still"
        );
        let without = text.replace("64 KiB", "0");
        build(folder, &without)?;
        stamper.must_not(&["out", "--hostname", "b"], "has no room for a stamp")
    });
}

#[test]
fn a_thousand_stamps_take_less_than_a_minute() {
    scenario(|folder| {
        let image = out::artefact("kedge.iso")?;
        let key = SshKey::new(folder.path(), "host")?;
        let stamper = Stamper::new(folder)?;
        let on_xfs = fleet::may_mount();
        let program = stamper.program();
        let took = fleet::stamp(folder.path(), program, &image, key.private(), on_xfs)?;
        let (all, own) = (took.elapsed, took.processor);
        println!("1000 stamps: {all:.1?}, {own:.1?} of the processor (with reflinks: {on_xfs})");
        // The processor's time: what else runs on this machine does not count.
        ensure!(own < Duration::from_secs(60), "{took:?}");
        Ok(())
    });
}
