//! Package files that the real tools made.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path =
            std::env::temp_dir().join(format!("kedge-archive-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

const LONG: &str = "usr/share/a-folder-whose-name-is-so-long-that-it-does-not-fit/into-the-hundred-bytes-that-ustar-has/\
                    for-a-name/and-with-all-of-this-not-even-into-the-hundred-and-fifty-five-bytes-of-the-prefix-of-it";

/// Files of every kind that packages have.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("usr/bin")).unwrap();
    fs::create_dir_all(at.join(LONG).parent().unwrap()).unwrap();
    fs::write(at.join("usr/bin/tool"), vec![b'x'; 70_000]).unwrap();
    fs::hard_link(at.join("usr/bin/tool"), at.join("usr/bin/twin")).unwrap();
    fs::write(at.join("usr/bin/root-tool"), "setuid").unwrap();
    fs::set_permissions(
        at.join("usr/bin/root-tool"),
        fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
    fs::write(at.join("usr/bin/empty"), "").unwrap();
    symlink("tool", at.join("usr/bin/link")).unwrap();
    fs::write(at.join(LONG), "long").unwrap();
    run(
        at,
        "find",
        &[".", "-exec", "touch", "-hd", "@1700000000", "{}", "+"],
    );
}

type Members = Vec<(Member, Vec<u8>)>;

/// Each member's path, with what matters of it and its content.
fn members(package: &[u8]) -> Result<(Package, Members), Error> {
    let mut members = Vec::new();
    let read = read(&mut { package }, &mut |member, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        members.push((member.clone(), bytes));
        Ok(ControlFlow::Continue(()))
    });
    Ok((read?, members))
}

/// That everything of [`tree`] is in it, and nothing else.
fn is_the_tree(found: &[(Member, Vec<u8>)]) {
    let of = |path: &str| {
        let mut found = found
            .iter()
            .filter(|(member, _)| member.path == Path::new(path));
        let one = found
            .next()
            .unwrap_or_else(|| panic!("{path} is not in it"));
        assert!(found.next().is_none(), "{path} is in it twice");
        one
    };
    let files = found
        .iter()
        .filter(|(member, _)| member.kind != MemberKind::Directory);
    assert_eq!(files.count(), 6);
    // Either name may be the one that has the content.
    let names = ["usr/bin/tool", "usr/bin/twin"];
    let is_file = |name: &&str| of(name).0.kind == MemberKind::File(70_000);
    let file = *names.iter().find(|name| is_file(name)).unwrap();
    let other = *names.iter().find(|name| **name != file).unwrap();
    assert_eq!(of(file).1, vec![b'x'; 70_000]);
    assert_eq!(of(other).0.kind, MemberKind::HardLink(file.into()));
    assert_eq!(
        of("usr/bin/link").0.kind,
        MemberKind::Symlink("tool".into())
    );
    assert_eq!(of("usr/bin/empty").0.kind, MemberKind::File(0));
    let (setuid, content) = of("usr/bin/root-tool");
    assert_eq!((setuid.mode, &content[..]), (0o4755, &b"setuid"[..]));
    assert_eq!((setuid.owner, setuid.modified), ((0, 0), 1_700_000_000));
    assert_eq!(setuid.names, ("root".to_string(), "root".to_string()));
    assert_eq!(of(LONG).1, b"long");
}

fn deb(scratch: &Scratch, compression: &str) -> Vec<u8> {
    let at = scratch.0.join("tree");
    tree(&at);
    fs::create_dir(at.join("DEBIAN")).unwrap();
    let control = "Package: sample\nVersion: 1:2.0-3\nArchitecture: amd64\nMaintainer: a <a@b>\nDescription: x\n";
    fs::write(at.join("DEBIAN/control"), control).unwrap();
    let compression = format!("-Z{compression}");
    run(
        &scratch.0,
        "dpkg-deb",
        &["--root-owner-group", &compression, "-b", "tree", "x.deb"],
    );
    fs::read(scratch.0.join("x.deb")).unwrap()
}

#[test]
fn debs_of_each_compression() {
    for compression in ["gzip", "xz", "zstd", "none"] {
        let scratch = Scratch::new(&format!("deb-{compression}"));
        let bytes = deb(&scratch, compression);
        let (package, found) = members(&bytes).unwrap();
        let name = (package.name.as_str(), package.version.as_str());
        assert_eq!(name, ("sample", "1:2.0-3"));
        assert_eq!(package, identify(&mut &bytes[..]).unwrap());
        is_the_tree(&found);
    }
}

#[test]
fn archs_packages_with_capabilities() {
    let scratch = Scratch::new("pacman");
    let at = scratch.0.join("tree");
    tree(&at);
    // vfs_cap_data, revision 2: CAP_NET_RAW permitted and effective.
    run(&at, "setcap", &["cap_net_raw=ep", "usr/bin/tool"]);
    let capability = "0x0100000200200000000000000000000000000000";
    fs::write(
        at.join(".PKGINFO"),
        "pkgname = sample\npkgver = 1:2.0-3\narch = x86_64\n",
    )
    .unwrap();
    fs::write(at.join(".MTREE"), "not looked at").unwrap();
    for filter in ["--zstd", "--xz", "--gzip"] {
        let arguments = [
            "--xattrs",
            "--format=pax",
            filter,
            "-cf",
            "../x",
            ".MTREE",
            ".PKGINFO",
            "usr",
        ];
        run(&at, "bsdtar", &arguments);
        let bytes = fs::read(scratch.0.join("x")).unwrap();
        let (package, found) = members(&bytes).unwrap();
        assert_eq!(package.family, kedge_packages::Family::Pacman);
        assert_eq!((&*package.name, &*package.version), ("sample", "1:2.0-3"));
        is_the_tree(&found);
        let tool = found
            .iter()
            .find(|(member, _)| member.kind == MemberKind::File(70_000));
        let [(name, value)] = &tool.unwrap().0.attributes[..] else {
            panic!("{:?}", tool.unwrap().0.attributes);
        };
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (name.as_str(), format!("0x{hex}")),
            ("security.capability", capability.into())
        );
    }
}

/// As abuild makes them: gzip members whose archives have no end, but for the last.
#[test]
fn alpines_packages() {
    let scratch = Scratch::new("apk");
    let at = scratch.0.join("tree");
    tree(&at);
    fs::write(
        at.join(".PKGINFO"),
        "pkgname = sample\npkgver = 2.0-r3\narch = x86_64\ndatahash = 00\n",
    )
    .unwrap();
    fs::write(at.join(".SIGN.RSA.a.rsa.pub"), "signature").unwrap();
    let mut package = Vec::new();
    for what in [".SIGN.RSA.a.rsa.pub", ".PKGINFO", "usr"] {
        let format = if what == "usr" { "pax" } else { "ustar" };
        let mut tar = run(&at, "tar", &["-H", format, "-c", what]);
        if what != "usr" {
            // The header and a block of content.
            tar.truncate(1024);
        }
        fs::write(scratch.0.join("part"), tar).unwrap();
        package.extend(run(&scratch.0, "gzip", &["-c", "part"]));
    }
    let (known, found) = members(&package).unwrap();
    assert_eq!(known.family, kedge_packages::Family::Apk);
    assert_eq!((&*known.name, &*known.version), ("sample", "2.0-r3"));
    is_the_tree(&found);
}

/// By rpmbuild, with its hard links and a capability.
fn rpm(scratch: &Scratch, payload: &str) -> Vec<u8> {
    let at = scratch.0.join("tree");
    tree(&at);
    let spec = format!(
        "Name: sample\nEpoch: 1\nVersion: 2.0\nRelease: 3\nSummary: x\nLicense: x\nAutoReqProv: no\n\
         %description\nx\n%install\ncp -a {}/. %{{buildroot}}\n%files\n%defattr(-,root,root)\n/usr/share\n\
         %caps(cap_net_raw=ep) /usr/bin/tool\n%caps(cap_net_raw=ep) /usr/bin/twin\n\
         %attr(4755,root,root) /usr/bin/root-tool\n/usr/bin/empty\n/usr/bin/link\n",
        at.display()
    );
    fs::write(scratch.0.join("x.spec"), spec).unwrap();
    let top = format!("_topdir {}", scratch.0.display());
    let payload = format!("_binary_payload {payload}");
    let clamp = [
        "--define",
        "__os_install_post %{nil}",
        "--define",
        "debug_package %{nil}",
    ];
    let arguments = [
        &["--quiet", "-bb", "--define", &top, "--define", &payload][..],
        &clamp,
        &["x.spec"],
    ]
    .concat();
    run(&scratch.0, "rpmbuild", &arguments);
    let arch = fs::read_dir(scratch.0.join("RPMS"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = fs::read_dir(arch).unwrap().next().unwrap().unwrap().path();
    fs::read(file).unwrap()
}

#[test]
fn rpms_of_each_compression() {
    for payload in ["w9.gzdio", "w6.xzdio", "w6.lzdio", "w3.zstdio"] {
        let scratch = Scratch::new(&format!("rpm-{payload}"));
        let bytes = rpm(&scratch, payload);
        let (package, found) = members(&bytes).unwrap();
        assert_eq!(
            (&*package.name, &*package.version),
            ("sample", "1:2.0-3"),
            "{payload}"
        );
        assert_eq!(package, identify(&mut &bytes[..]).unwrap());
        is_the_tree(&found);
        let tool = found
            .iter()
            .find(|(member, _)| member.kind == MemberKind::File(70_000));
        let capability = capability::attribute("cap_net_raw=ep").unwrap();
        assert_eq!(
            tool.unwrap().0.attributes,
            [("security.capability".to_string(), capability)]
        );
    }
}

#[test]
fn what_is_no_package_is_told_by_how_it_begins() {
    let page = members(b"<!DOCTYPE html><title>Log in</title>").unwrap_err();
    assert!(page.to_string().contains("<!DOCTYPE html>"), "{page}");
    assert!(matches!(members(b""), Err(Error::Unknown(_))));
}

/// A stream that is cut off is an error wherever it is cut, or everything was there; a flipped bit may go unnoticed, and
/// is no panic.
#[test]
fn damage_is_no_panic() {
    for compression in ["gzip", "none", "w0.ufdio", "w6.lzdio"] {
        let scratch = Scratch::new(&format!("damage-{compression}"));
        let bytes = match compression.contains("dio") {
            true => rpm(&scratch, compression),
            false => deb(&scratch, compression),
        };
        let whole = members(&bytes).unwrap();
        let step = (bytes.len() / 200).max(1);
        for length in (0..bytes.len()).step_by(step) {
            if let Ok(cut) = members(&bytes[..length]) {
                assert_eq!(cut, whole, "{compression} at {length} of {}", bytes.len());
            }
        }
        for at in (0..bytes.len()).step_by(step / 2 + 1) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let _ = members(&flipped);
        }
    }
}
