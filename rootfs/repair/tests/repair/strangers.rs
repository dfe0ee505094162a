//! Packages that nobody vouches for: the content is what the local database knows, all else is anybody's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::fixture::{LIBRARY, System, run};

/// A package with one file: of this mode, of user 1000, and with CAP_SETUID.
const PACKAGE: &str = r#"
import io, sys, tarfile, gzip, struct
out, name, content, mode = sys.argv[1], sys.argv[2], open(sys.argv[3], 'rb').read(), int(sys.argv[4], 8)
def tar(name, data, mode, pax):
    b = io.BytesIO()
    t = tarfile.open(fileobj=b, mode='w', format=tarfile.PAX_FORMAT)
    i = tarfile.TarInfo(name)
    i.size, i.mode, i.mtime, i.uid, i.gid, i.pax_headers = len(data), mode, 1700000000, 1000, 1000, pax
    t.addfile(i, io.BytesIO(data))
    t.close()
    return gzip.compress(b.getvalue())
control = tar('./control', b'Package: sample\nVersion: 1.0-1\nArchitecture: all\n', 0o644, {})
capability = struct.pack('<IIIII', 0x02000001, 1 << 7, 0, 0, 0).decode('utf-8', 'surrogateescape')
data = tar('./' + name, content, mode, {'SCHILY.xattr.security.capability': capability})
with open(out, 'wb') as f:
    f.write(b'!<arch>\n')
    for n, d in ('debian-binary', b'2.0\n'), ('control.tar.gz', control), ('data.tar.gz', data):
        f.write(('%-16s%-12d%-6d%-6d%-8s%-10d`\n' % (n, 0, 0, 0, '100644', len(d))).encode())
        f.write(d + b'\n' * (len(d) % 2))
"#;

fn package_of(system: &System, name: &str, content: &[u8], mode: &str) {
    let file = system.root.parent().unwrap().join("content");
    fs::write(&file, content).unwrap();
    run(Command::new("python3")
        .args(["-c", PACKAGE])
        .arg(&system.package)
        .arg(name)
        .arg(&file)
        .arg(mode));
}

fn mode(system: &System, path: &str) -> u32 {
    fs::symlink_metadata(system.path(path)).unwrap().mode() & 0o7777
}

fn capabilities(path: &Path) -> String {
    let shown = run(Command::new("getcap").arg(path));
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn a_stranger_gives_no_rights() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    package_of(&system, LIBRARY, &whole, "6755");
    let library = system.path(LIBRARY);
    let rights = || {
        let stat = fs::metadata(&library).unwrap();
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    for missing in [false, true] {
        match missing {
            true => fs::remove_file(&library).unwrap(),
            false => drop(system.damage(LIBRARY)),
        }
        assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 0);
        assert_eq!(system.read(LIBRARY), whole);
        let expected = if missing { 0o755 } else { 0o644 };
        assert_eq!(rights(), (expected, 0, 0), "missing: {missing}");
        assert_eq!(capabilities(&library), "");
    }
    // It is said, also to programs.
    fs::remove_file(&library).unwrap();
    let told = system.told(&["/usr/lib/libsample.so.1", "--json"]);
    for said in ["--unsigned takes them", "6755", "security.capability"] {
        assert!(told.contains(said), "{told}");
    }
    assert!(
        told.contains("\"vouched\":false") || told.contains("\"vouched\": false"),
        "{told}"
    );
    // To insist on the disk is not to believe the package.
    fs::remove_file(&library).unwrap();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1", "--force"]), 0);
    assert_eq!(rights(), (0o755, 0, 0));
    fs::remove_file(&library).unwrap();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1", "--unsigned"]), 0);
    assert_eq!(rights(), (0o6755, 1000, 1000));
    assert!(capabilities(&library).contains("cap_setuid=ep"));
}

/// dpkg knows of a link only that it is there.
#[test]
fn a_stranger_puts_no_program_where_a_link_was() {
    let system = System::new();
    let link = system.path("usr/lib/libsample.so");
    system.pack("1.0-1", |tree| {
        let link = tree.join("usr/lib/libsample.so");
        fs::remove_file(&link).unwrap();
        fs::write(&link, "#!/bin/sh\necho owned\n").unwrap();
        fs::set_permissions(&link, fs::Permissions::from_mode(0o6755)).unwrap();
    });
    for more in [&[][..], &["--force"]] {
        let arguments = [&["/usr/lib/libsample.so"], more].concat();
        assert_eq!(system.repair(&arguments), 1);
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("libsample.so.1"));
        system.is_tidy();
    }
    // It is done then, and the doctor goes on saying that a link belongs there.
    assert_eq!(system.repair(&["/usr/lib/libsample.so", "--unsigned"]), 1);
    assert_eq!(mode(&system, "usr/lib/libsample.so"), 0o6755);
    // A link gives nobody anything; that nobody vouches for it is said.
    system.pack("1.0-1", |_| {});
    fs::remove_file(&link).unwrap();
    fs::write(&link, "").unwrap();
    fs::set_permissions(&link, fs::Permissions::from_mode(0o000)).unwrap();
    let told = system.told(&["/usr/lib/libsample.so"]);
    assert!(told.contains("nobody vouches for it"), "{told}");
    system.is_whole();
}

#[test]
fn a_stranger_opens_no_folder() {
    let system = System::new();
    system.pack("1.0-1", |tree| {
        for folder in ["usr/share/sample", "usr/share/sample/deep"] {
            fs::set_permissions(tree.join(folder), fs::Permissions::from_mode(0o1777)).unwrap();
        }
    });
    let folders = ["usr/share/sample", "usr/share/sample/deep"];
    fs::remove_dir_all(system.path(folders[0])).unwrap();
    let told = system.told(&["/usr/share/sample/deep"]);
    assert!(!told.contains("was right already"), "{told}");
    assert!(told.contains("repaired: /usr/share/sample/deep"), "{told}");
    assert!(told.contains("--unsigned takes them"), "{told}");
    assert_eq!(folders.map(|folder| mode(&system, folder)), [0o755; 2]);
    fs::remove_dir(system.path(folders[1])).unwrap();
    assert_eq!(system.repair(&["/usr/share/sample/deep", "--unsigned"]), 0);
    assert_eq!(mode(&system, folders[1]), 0o1777);
}
