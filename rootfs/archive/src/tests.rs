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
        let capability = kedge_packages::Capabilities::from_text("cap_net_raw=ep").unwrap();
        assert_eq!(
            tool.unwrap().0.attributes,
            [("security.capability".to_string(), capability.attribute())]
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

/// A header as POSIX has it, and its content.
fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = header(name, kind, content.len() as u64).to_vec();
    block.extend(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn header(name: &str, kind: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    for field in [108, 116] {
        block[field..field + 8].copy_from_slice(b"0000000\0");
    }
    block[124..136].copy_from_slice(format!("{size:011o} ").as_bytes());
    block[136..148].copy_from_slice(b"00000000000 ");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `"%d %s=%s\n"`, whose length counts itself.
fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (1..).find(|digits| (rest + digits).to_string().len() == *digits);
    let mut record = format!("{} {keyword}=", rest + length.unwrap()).into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// The names and attributes of what is in a tar archive.
fn archived(tar: &[u8]) -> Result<Vec<(String, usize)>, Error> {
    let mut found = Vec::new();
    archive(&mut { tar }, &mut |member, _| {
        found.push((
            member.path.to_string_lossy().into_owned(),
            member.attributes.len(),
        ));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

#[test]
fn what_stands_in_front_of_a_member_is_bounded_in_all() {
    let file = entry("file", b'0', b"x");
    let attribute =
        |size: usize| entry("x", b'x', &record("SCHILY.xattr.user.a", &vec![b'A'; size]));
    // Two halves of what one may have fit, four do not; nor do many small ones.
    let halves = |count| [attribute(500_000).repeat(count), file.clone()].concat();
    assert_eq!(archived(&halves(2)).unwrap(), [("file".to_string(), 2)]);
    assert!(archived(&halves(4)).is_err());
    let long = entry("x", b'L', &vec![b'n'; 4000]);
    let many = |count| [attribute(1).repeat(count), file.clone()].concat();
    assert_eq!(archived(&many(60)).unwrap(), [("file".to_string(), 60)]);
    assert!(archived(&many(65)).is_err());
    assert!(archived(&[long.repeat(65), file.clone()].concat()).is_err());
    // Each member anew.
    let members = [many(40), many(40)].concat();
    assert_eq!(archived(&members).unwrap().len(), 2);
}

#[test]
fn an_archive_ends_at_its_end() {
    let file = entry("file", b'0', b"x");
    let with = |zeros: usize, more: &[u8]| archived(&[&file, &vec![0; zeros][..], more].concat());
    for zeros in [0, 512, 1024, 10240, 512 << 10] {
        assert_eq!(with(zeros, b"").unwrap().len(), 1, "{zeros}");
    }
    // A block of zeros is no end yet.
    assert_eq!(with(512, &file).unwrap().len(), 2);
    for (zeros, more) in [(1024, &file[..]), (1024, b"x"), (4 << 20, b"")] {
        let error = with(zeros, more).unwrap_err().to_string();
        assert!(error.contains("end"), "{error}");
    }
}

/// An ar archive of these members.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        let (zero, mode) = (0, "100644");
        bytes.extend(
            format!("{name:<16}{zero:<12}{zero:<6}{zero:<6}{mode:<8}{size:<10}`\n").bytes(),
        );
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

const CONTROL: &[u8] = b"Package: sample\nVersion: 1\nArchitecture: all\n";

#[test]
fn behind_a_debs_content_only_further_members_stand() {
    let (control, data) = (
        entry("./control", b'0', CONTROL),
        entry("./usr/file", b'0', b"x"),
    );
    let parts: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control),
        ("data.tar", &data),
    ];
    let deb = ar(&parts);
    assert_eq!(members(&deb).unwrap().1.len(), 1);
    // debsigs' signatures, and whatever is made one day (deb(5)).
    let more = ar(&[&parts[..], &[("_gpgorigin", b"odd"), ("x", b"even")]].concat());
    assert_eq!(members(&more).unwrap().1.len(), 1);
    assert!(members(&more[..more.len() - 4]).is_err());
    for garbage in [&b"x"[..], &[0; 100], &[b'\n'; 4096]] {
        assert!(members(&[&deb, garbage].concat()).is_err());
    }
}

/// A few bytes that unpack to many zeros.
fn bomb(front: &[u8], size: u64) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, front).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(size), &mut packed).unwrap();
    packed.finish().unwrap()
}

#[test]
fn what_tells_of_a_package_is_not_unpacked_without_end() {
    const MUCH: u64 = 100 << 20;
    let zeros = bomb(b"", MUCH);
    let file = bomb(&header("./md5sums", b'0', MUCH), MUCH);
    let empty = entry("./empty", b'0', b"");
    let many = bomb(&empty.repeat(200_000), 0);
    for control in [&zeros, &file, &many] {
        let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", control)]);
        let started = std::time::Instant::now();
        let error = identify(&mut &deb[..]).unwrap_err().to_string();
        assert!(
            error.contains("more than") || error.contains("end"),
            "{error}"
        );
        assert!(started.elapsed().as_secs() < 20);
    }
    let file = bomb(&header(".MTREE", b'0', MUCH), MUCH);
    let info = bomb(&entry(".PKGINFO", b'0', b"pkgname = a\npkgver = 1\n"), 0);
    let error = identify(&mut &[file, info].concat()[..]).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
    // What is in it may be long.
    let info = entry(".PKGINFO", b'0', b"pkgname = a\npkgver = 1\n");
    let front = [&info[..], &header("file", b'0', MUCH)].concat();
    let mut length = 0;
    let package = bomb(&front, MUCH);
    read(&mut &package[..], &mut |_, content| {
        length += std::io::copy(content, &mut std::io::sink())?;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(length, MUCH);
}
