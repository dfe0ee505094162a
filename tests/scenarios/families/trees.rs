//! Small systems with one package `tool`, installed by each family's own package manager.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a database tells beside content and type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knows {
    pub(crate) sizes: bool,
    /// Of every file, not only of statoverrides.
    pub(crate) modes: bool,
    pub(crate) targets: bool,
    /// Only rpm's does.
    pub(crate) capabilities: bool,
}

/// An installed system.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// The package file that it was installed from.
    pub(crate) file: PathBuf,
    pub(crate) family: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) knows: Knows,
}

const VERSION: &str = "1.2-3";

const KNOWS_ALL: Knows = Knows {
    sizes: true,
    modes: true,
    targets: true,
    capabilities: false,
};

/// Files of the package: path and content.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    // Large enough for several reads.
    let library: Vec<u8> = (0..600_000u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    vec![
        ("usr/bin/tool", b"#!/bin/sh\n".to_vec()),
        ("usr/bin/gone", b"#!/bin/sh\n".to_vec()),
        (CAPABLE, b"#!/bin/sh\n".to_vec()),
        ("usr/lib/libtool.so.1.2", library),
        ("usr/share/tool/longer", b"text\n".to_vec()),
        ("usr/share/tool/zeros", vec![b'z'; 8192]),
        ("usr/share/tool/mode", b"mode\n".to_vec()),
        ("usr/share/tool/owner", b"owner\n".to_vec()),
        ("usr/share/tool/husk", b"husk\n".to_vec()),
        ("usr/share/tool/gone", b"gone\n".to_vec()),
        ("usr/share/tool/twice", b"twice\n".to_vec()),
        ("usr/share/tool/folder/inside", b"inside\n".to_vec()),
        ("usr/share/tool/with blank", b"blank\n".to_vec()),
        ("usr/share/tool/nothing", Vec::new()),
        ("etc/tool/changed.conf", b"setting\n".to_vec()),
    ]
}

const LINKS: [(&str, &str); 2] = [
    ("usr/lib/libtool.so.1", "libtool.so.1.2"),
    ("usr/share/tool/linked", "../../bin/tool"),
];

/// A file's second name.
const TWIN: (&str, &str) = ("usr/share/tool/twice", "usr/share/tool/twin");

/// Modes that are not the usual ones, of programs and of a folder.
const MODES: [(&str, u32); 3] = [
    ("usr/bin/gone", 0o6755),
    ("usr/bin/tool", 0o4755),
    ("usr/share/tool/folder", 0o2750),
];

/// The file that is not root's, and whose it is: `daemon`'s.
const OWNED: &str = "usr/share/tool/owner";
const OWNER: (u32, u32) = (1, 0);

/// A program with a capability; a package of dpkg's cannot have one.
const CAPABLE: &str = "usr/bin/capable";
const CAPABILITY: &str = "cap_net_raw=ep";

/// The package's files, as they will be installed.
fn fill(folder: &Path) -> Result<()> {
    for (path, content) in files() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    for (link, target) in LINKS {
        symlink(target, folder.join(link))?;
    }
    fs::hard_link(folder.join(TWIN.0), folder.join(TWIN.1))?;
    for (path, mode) in MODES {
        fs::set_permissions(folder.join(path), Permissions::from_mode(mode))?;
    }
    let (user, group) = OWNER;
    chown(folder.join(OWNED), Some(user), Some(group))?;
    shell(folder, &format!("setcap {CAPABILITY} {CAPABLE}"))
}

/// Runs a script in `folder`, with its end an error unless it is well.
pub(crate) fn shell(folder: &Path, script: &str) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "files with owners can only be made by root"
    );
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .env("LC_ALL", "C")
        .output()
        .context("starting sh")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}\n{said}");
    Ok(())
}

/// A root with accounts in it, and the package's files beside it.
fn begin(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    for place in ["etc", "var/lib"] {
        fs::create_dir_all(root.join(place))?;
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\ndaemon:x:1:\n")?;
    fill(&folder.join("files"))?;
    Ok(root)
}

/// By dpkg, with a statoverride, a diversion and a package that was removed.
pub(crate) fn debian(folder: &Path) -> Result<Tree> {
    let root = begin(folder)?;
    shell(
        folder,
        "cd files; mkdir DEBIAN
         printf 'Package: tool\\nVersion: 1.2-3\\nArchitecture: amd64\\nMaintainer: nobody\\nDescription: -\\n' >DEBIAN/control
         echo /etc/tool/changed.conf >DEBIAN/conffiles
         find usr -type f -print0 | xargs -0 md5sum >DEBIAN/md5sums
         dpkg-deb --root-owner-group --build . ../tool.deb >&2
         sed -i 's/^Package: tool/Package: other/' DEBIAN/control
         rm -r usr DEBIAN/md5sums; mv etc/tool etc/other; echo /etc/other/changed.conf >DEBIAN/conffiles
         dpkg-deb --root-owner-group --build . ../other.deb >&2
         cd ..; db=root/var/lib/dpkg
         mkdir -p $db/info $db/updates $db/triggers; touch $db/status
         echo 'root daemon 640 /usr/share/tool/mode' >$db/statoverride
         echo 'daemon root 644 /usr/share/tool/owner' >>$db/statoverride
         printf '/usr/share/tool/nothing\\n/usr/share/tool/nothing.moved\\n:\\n' >$db/diversions
         dpkg='dpkg --root=root --force-not-root --force-script-chrootless --log=/dev/null'
         $dpkg --install tool.deb other.deb >&2
         $dpkg --remove other >&2
         chown daemon:root root/usr/share/tool/owner
         test -e root/usr/share/tool/nothing.moved && test -e root/etc/other/changed.conf",
    )?;
    Ok(Tree {
        root,
        file: folder.join("tool.deb"),
        family: "dpkg",
        package: "tool",
        version: VERSION,
        knows: Knows {
            sizes: false,
            modes: false,
            targets: false,
            capabilities: false,
        },
    })
}

/// By rpm, with its SQLite database.
pub(crate) fn fedora(folder: &Path) -> Result<Tree> {
    let root = begin(folder)?;
    let files: Vec<String> = files()
        .iter()
        .map(|(path, _)| path.to_string())
        .chain(LINKS.map(|(link, _)| link.to_string()))
        .chain([TWIN.1.to_string()])
        .map(|path| match path.split('/').next() {
            Some("etc") => format!("%config(noreplace) /{path}"),
            _ if path == CAPABLE => format!("%caps({CAPABILITY}) /{path}"),
            _ if path == OWNED => format!("%attr(-, daemon, root) /{path}"),
            _ => format!("\"/{path}\""),
        })
        .collect();
    let spec = format!(
        "Name: tool\nVersion: 1.2\nRelease: 3\nSummary: -\nLicense: MIT\nBuildArch: noarch\n\
         %global __os_install_post %nil\n%description\n-\n\
         %install\ncp -a {}/files/. %{{buildroot}}\n\
         %files\n%defattr(-, root, root)\n%dir /usr/share/tool\n%dir /usr/share/tool/folder\n{}\n%ghost /var/log/tool.log\n",
        folder.display(),
        files.join("\n")
    );
    fs::write(folder.join("tool.spec"), spec)?;
    shell(
        folder,
        "mkdir -p files/var/log; touch files/var/log/tool.log
         rpmbuild -bb --quiet --define \"_topdir $PWD/rpmbuild\" --define '_binary_payload w0.ufdio' tool.spec
         cp rpmbuild/RPMS/noarch/tool-1.2-3.noarch.rpm root/tool.rpm
         rpm --root \"$PWD/root\" --define '_dbpath /var/lib/rpm' --install --nodeps root/tool.rpm
         rm root/tool.rpm
         rpm --root \"$PWD/root\" --define '_dbpath /var/lib/rpm' --verify --nodeps tool",
    )?;
    Ok(Tree {
        root,
        file: folder.join("rpmbuild/RPMS/noarch/tool-1.2-3.noarch.rpm"),
        family: "rpm",
        package: "tool",
        version: VERSION,
        knows: Knows {
            capabilities: true,
            ..KNOWS_ALL
        },
    })
}

/// By pacman, a package as makepkg makes it.
pub(crate) fn arch(folder: &Path) -> Result<Tree> {
    let root = begin(folder)?;
    shell(
        folder,
        "cd files
         printf '%s = %s\\n' pkgname tool pkgbase tool pkgver 1.2-3 arch any size 1 \
           backup etc/tool/changed.conf >.PKGINFO
         bsdtar -czf .MTREE --format=mtree \
           --options='!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link' .PKGINFO *
         bsdtar --zstd -cf ../tool.pkg.tar.zst .PKGINFO .MTREE *
         cd ..; mkdir -p root/var/lib/pacman
         printf '[options]\\nSigLevel = Never\\nLocalFileSigLevel = Never\\nArchitecture = auto\\n' >pacman.conf
         pacman --root \"$PWD/root\" --dbpath \"$PWD/root/var/lib/pacman\" --config pacman.conf \
           --logfile \"$PWD/pacman.log\" --noconfirm --noscriptlet -U tool.pkg.tar.zst >&2",
    )?;
    Ok(Tree {
        root,
        file: folder.join("tool.pkg.tar.zst"),
        family: "pacman",
        package: "tool",
        version: VERSION,
        knows: KNOWS_ALL,
    })
}

/// As apk 2.14 writes its database (`apk_db_fdb_write`): folders and their files, owners and modes where they are not the
/// default ones, SHA-1 in base64 of what is in a file, or of where a link leads. The package is named by the SHA-1 of its
/// control part, which `abuild` makes without an archive's end, and which names the content.
pub(crate) fn alpine(folder: &Path) -> Result<Tree> {
    let root = begin(folder)?;
    shell(
        folder,
        "cp -a files/. root
         q1() { printf 'Q1'; openssl dgst -sha1 -binary | base64; }
         tar='tar -b1 --format=posix --xattrs --xattrs-include=security.capability'
         (cd files; $tar --sort=name -c *) | gzip -n >data.tar.gz
         printf '%s = %s\\n' pkgname tool pkgver 1.2-3 arch noarch size 1 \
           datahash $(sha256sum data.tar.gz | cut -d' ' -f1) >.PKGINFO
         $tar -c .PKGINFO | head -c -1024 | gzip -n >control.tar.gz
         cat control.tar.gz data.tar.gz >tool.apk
         db=root/lib/apk/db/installed; mkdir -p root/lib/apk/db
         printf 'C:%s\\nP:tool\\nV:1.2-3\\nA:x86_64\\nS:1\\n' $(q1 <control.tar.gz) >$db
         cd files
         find . -type d -printf '%P\\n' | sort | while read -r dir; do
           echo \"F:$dir\"
           acl=$(stat -c %u:%g:%a \"./$dir\")
           test $acl = 0:0:755 || echo \"M:$acl\"
           find \"./$dir\" -maxdepth 1 ! -type d -printf '%f\\n' | sort | while read -r file; do
             echo \"R:$file\"
             acl=$(stat -c %u:%g:%a \"./$dir/$file\")
             test $acl = 0:0:644 || echo \"a:$acl\"
             printf Z:
             if test -h \"./$dir/$file\"; then readlink -n \"./$dir/$file\" | q1
             else q1 <\"./$dir/$file\"; fi
           done
         done >>../$db
         echo >>../$db",
    )?;
    Ok(Tree {
        root,
        file: folder.join("tool.apk"),
        family: "apk",
        package: "tool",
        version: VERSION,
        knows: Knows {
            sizes: false,
            ..KNOWS_ALL
        },
    })
}
