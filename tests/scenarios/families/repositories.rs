//! Where each family's package comes from: a repository that is signed as the family's are, and a system that has it as its
//! own source.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use kedge_tests::child::output;
use kedge_tests::keyring::new_key;
use kedge_tests::network::HOST;
use kedge_tests::{Keyring, Mirror};

use super::trees::{Tree, shell};

/// Files of ROOT that say by whom a package has to be signed.
type Keys = Vec<(&'static str, Vec<u8>)>;

/// A repository, and the keys to it.
#[derive(Debug)]
pub(crate) struct Repository {
    /// What a web server serves.
    pub(crate) web: PathBuf,
    /// The package's path there.
    pub(crate) package: String,
    /// By which it is signed.
    pub(crate) keys: Keys,
    /// Of the same kind, by which it is not signed.
    pub(crate) others: Keys,
    /// What is said of a signature when only `others` are there.
    pub(crate) refused: &'static str,
}

impl Repository {
    /// The package's URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{HOST}/{}", self.package)
    }
}

/// Writes files below ROOT, all of one time: what is put there again is the same.
pub(crate) fn put(root: &Path, files: &[(&str, impl AsRef<[u8]>)]) -> Result<()> {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        File::options()
            .write(true)
            .open(&path)?
            .set_modified(SystemTime::UNIX_EPOCH)?;
    }
    Ok(())
}

/// A Release that is signed names the index, and that the package.
pub(crate) fn debian(folder: &Path, tree: &Tree) -> Result<Repository> {
    const FILE: &str = "tool_1.2-3_amd64.deb";
    const KEY: &str = "etc/apt/keyrings/own.asc";
    let (keys, archives) = (folder.join("keys"), folder.join("archives"));
    fs::create_dir(&keys)?;
    fs::create_dir(&archives)?;
    let own = new_key(&keys, "signing.asc")?;
    let other = new_key(&keys, "other.asc")?;
    fs::copy(&tree.file, archives.join(FILE))?;
    let mirror = Mirror::make(&archives, &folder.join("web"), &keys)?;
    let source = format!("deb [signed-by=/{KEY}] http://{HOST}/debian bookworm main\n");
    put(&tree.root, &[("etc/apt/sources.list", source)])?;
    Ok(Repository {
        web: mirror.folder().to_owned(),
        package: format!("debian/pool/{FILE}"),
        keys: vec![(KEY, own.into())],
        others: vec![(KEY, other.into())],
        refused: "no such key",
    })
}

/// The package is signed; what lists it (written as createrepo does) is not, as with Fedora's.
pub(crate) fn fedora(folder: &Path, tree: &Tree) -> Result<Repository> {
    const FILE: &str = "Packages/t/tool-1.2-3.noarch.rpm";
    const KEY: &str = "etc/pki/rpm-gpg/RPM-GPG-KEY-own";
    let web = folder.join("web");
    let place = web.join("fedora/40/x86_64");
    put(&place, &[(FILE, fs::read(&tree.file)?)])?;
    let own = new_key(folder, "signing.asc")?;
    let other = new_key(folder, "other.asc")?;
    let keyring = Keyring::new()?;
    output(
        keyring.gpg(&["--import"]).arg(folder.join("signing.asc")),
        None,
    )?;
    let mut sign = Command::new("rpmsign");
    sign.env("GNUPGHOME", keyring.home());
    sign.args([
        "-D",
        "__gpg /usr/bin/gpg",
        "-D",
        "_gpg_name tests@kedge.example",
    ]);
    sign.args(["-D", "_gpg_digest_algo sha256", "--addsign"]);
    output(sign.arg(place.join(FILE)), None)?;
    shell(
        &place,
        "file=Packages/t/tool-1.2-3.noarch.rpm; mkdir repodata
         sha256() { sha256sum \"$1\" | cut -d' ' -f1; }
         { echo '<?xml version=\"1.0\" encoding=\"UTF-8\"?>'
           echo '<metadata xmlns=\"http://linux.duke.edu/metadata/common\" packages=\"1\">'
           echo '<package type=\"rpm\"><name>tool</name><arch>noarch</arch><version epoch=\"0\" ver=\"1.2\" rel=\"3\"/>'
           echo \"<checksum type=\\\"sha256\\\" pkgid=\\\"YES\\\">$(sha256 $file)</checksum>\"
           echo \"<size package=\\\"$(stat -c %s $file)\\\" installed=\\\"1\\\" archive=\\\"1\\\"/>\"
           echo \"<location href=\\\"$file\\\"/></package></metadata>\"
         } | gzip -n >repodata/primary.xml.gz
         cd repodata
         { echo '<?xml version=\"1.0\" encoding=\"UTF-8\"?>'
           echo '<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><data type=\"primary\">'
           echo \"<checksum type=\\\"sha256\\\">$(sha256 primary.xml.gz)</checksum>\"
           echo \"<open-size>$(zcat primary.xml.gz | wc -c)</open-size>\"
           echo '<location href=\"repodata/primary.xml.gz\"/></data></repomd>'
         } >repomd.xml",
    )?;
    let source = format!(
        "[fedora]\nname=Fedora $releasever\nbaseurl=http://{HOST}/fedora/$releasever/$basearch/\nenabled=1\n\
         gpgcheck=1\ngpgkey=file:///{KEY}\n"
    );
    put(
        &tree.root,
        &[
            ("etc/os-release", "ID=fedora\nVERSION_ID=40\n"),
            ("etc/yum.repos.d/fedora.repo", source.as_str()),
        ],
    )?;
    Ok(Repository {
        web,
        package: format!("fedora/40/x86_64/{FILE}"),
        keys: vec![(KEY, own.into())],
        others: vec![(KEY, other.into())],
        refused: "no such key is in the keyring",
    })
}

/// The packager's key and those of three masters who vouch for it, as Arch has them.
fn packager() -> Result<(Keyring, Keys)> {
    const KEYRING: &str = "usr/share/pacman/keyrings/own.gpg";
    const TRUSTED: &str = "usr/share/pacman/keyrings/own-trusted";
    const REVOKED: &str = "usr/share/pacman/keyrings/own-revoked";
    let keyring = Keyring::new()?;
    let key = keyring.generate("Packager <packager@kedge.example>", "sign")?;
    let mut trusted = String::new();
    for number in 1..=3 {
        let master = keyring.generate(&format!("master{number}@kedge.example"), "cert")?;
        let mut gpg = keyring.gpg(&["--trust-model", "always", "--quick-sign-key"]);
        output(gpg.args(["--local-user", &master]).arg(&key), None)?;
        trusted += &format!("{master}:4:\n");
    }
    let public = output(&mut keyring.gpg(&["--export"]), None)?;
    let keys = vec![
        (KEYRING, public),
        (TRUSTED, trusted.into()),
        (REVOKED, Vec::new()),
    ];
    Ok((keyring, keys))
}

/// The database (written as repo-add does) has the package's signature in it, and is not signed itself.
pub(crate) fn arch(folder: &Path, tree: &Tree) -> Result<Repository> {
    const FILE: &str = "tool-1.2-3-any.pkg.tar.zst";
    let web = folder.join("web");
    let place = web.join("extra/os/x86_64");
    put(&place, &[(FILE, fs::read(&tree.file)?)])?;
    let (keyring, keys) = packager()?;
    let (_, others) = packager()?;
    let mut gpg = keyring.gpg(&["--local-user", "packager@kedge.example", "--detach-sign"]);
    output(gpg.arg(place.join(FILE)), None)?;
    shell(
        &place,
        "file=tool-1.2-3-any.pkg.tar.zst; mkdir tool-1.2-3
         printf '%%%s%%\\n%s\\n\\n' FILENAME $file NAME tool BASE tool VERSION 1.2-3 ARCH any \\
           CSIZE $(stat -c %s $file) SHA256SUM $(sha256sum $file | cut -d' ' -f1) \\
           PGPSIG $(base64 -w0 $file.sig) >tool-1.2-3/desc
         bsdtar -czf extra.db tool-1.2-3; rm -r tool-1.2-3 $file.sig",
    )?;
    let configuration = "[options]\nArchitecture = auto\nSigLevel = Required DatabaseOptional\n\
                         [extra]\nInclude = /etc/pacman.d/mirrorlist\n";
    let mirrors = format!("Server = http://{HOST}/$repo/os/$arch\n");
    put(
        &tree.root,
        &[
            ("etc/pacman.conf", configuration),
            ("etc/pacman.d/mirrorlist", &mirrors),
        ],
    )?;
    Ok(Repository {
        web,
        package: format!("extra/os/x86_64/{FILE}"),
        keys,
        others,
        refused: "no such key is in the keyring",
    })
}

/// The index is signed, and names the package's control part.
pub(crate) fn alpine(folder: &Path, tree: &Tree) -> Result<Repository> {
    const KEY: &str = "etc/apk/keys/own.rsa.pub";
    let (web, part) = (folder.join("web"), "alpine/v3.20/main/x86_64");
    fs::create_dir_all(web.join(part))?;
    // In front of an index and of a package: a gzip member with the signature of what follows.
    shell(
        folder,
        &format!(
            "for key in own other; do
               openssl genrsa -out $key.key 2048
               openssl rsa -in $key.key -pubout -out $key.pub
             done
             tar='tar -b1 --format=ustar'
             signed() {{
               openssl dgst -sha1 -sign own.key -out .SIGN.RSA.own.rsa.pub \"$1\"
               $tar -c .SIGN.RSA.own.rsa.pub | head -c -1024 | gzip -n | cat - \"$2\"
             }}
             signed control.tar.gz tool.apk >web/{part}/tool-1.2-3.apk
             {{ grep -a -e '^[CPVAI]:' root/lib/apk/db/installed
               echo \"S:$(stat -c %s web/{part}/tool-1.2-3.apk)\"; echo; }} >APKINDEX
             echo main >DESCRIPTION
             $tar -c DESCRIPTION APKINDEX | gzip -n >index.tar.gz
             signed index.tar.gz index.tar.gz >web/{part}/APKINDEX.tar.gz"
        ),
    )?;
    let source = format!("http://{HOST}/alpine/v3.20/main\n");
    put(
        &tree.root,
        &[
            ("etc/apk/repositories", source.as_str()),
            ("etc/apk/arch", "x86_64\n"),
        ],
    )?;
    Ok(Repository {
        web,
        package: format!("{part}/tool-1.2-3.apk"),
        keys: vec![(KEY, fs::read(folder.join("own.pub"))?)],
        others: vec![(KEY, fs::read(folder.join("other.pub"))?)],
        refused: "does not fit",
    })
}
