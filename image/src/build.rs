//! From a checkout to the folder of artefacts: the order of the steps, and when they can be left
//! out.

use std::io;
use std::path::{Path, PathBuf};

use crate::boot::{COMMAND_LINE, EPOCH, INITRAMFS, KERNEL, os_release};
use crate::cache::Cache;
use crate::configuration::{self, Configuration, Sources};
use crate::host::{self, Need};
use crate::initramfs::Tree;
use crate::kernel::Kernel;
use crate::manifest::{MANIFEST, Manifest, Part, SUMS};
use crate::out::{Lock, Readers, Staging};
use crate::packs::Packs;
use crate::progress::Progress;
use crate::stamp::area;
use crate::uki::Uki;
use crate::userland::Userland;
use crate::{
    cache, esp, gate, initramfs, iso, kernel, manifest, netboot, out, packs, sha256, uki, userland,
};

/// The artefacts that are described in the manifest, without the packs.
const FILES: &[&str] = &[
    "kedge.efi",
    "kedge.iso",
    "netboot/boot.ipxe",
    "netboot/initramfs.cpio.xz",
    "netboot/kedge.efi",
    "netboot/vmlinuz",
];

/// What to build, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// The workspace.
    pub root: PathBuf,
    /// The folder of artefacts.
    pub out: PathBuf,
    /// What the operator wants to be in the image.
    pub sources: Sources,
    /// Take the Debian packages that the archive has today for the packs.
    pub unlocked: bool,
    /// Version of kedge.
    pub version: String,
}

/// Why there are no new artefacts. The old ones, if any, are as they were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the operator wants cannot be had.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// Packages are missing on the build host.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// No kernel.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// No userland.
    #[error(transparent)]
    Userland(#[from] userland::Error),
    /// The tree is no initramfs.
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),
    /// No initramfs.
    #[error(transparent)]
    Gate(#[from] gate::Error),
    /// No UKI.
    #[error(transparent)]
    Uki(#[from] uki::Error),
    /// No packs.
    #[error(transparent)]
    Packs(#[from] packs::Error),
    /// No EFI partition.
    #[error(transparent)]
    Esp(#[from] esp::Error),
    /// No ISO.
    #[error(transparent)]
    Iso(#[from] iso::Error),
    /// No manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The folder of artefacts cannot be written.
    #[error(transparent)]
    Out(#[from] out::Error),
    /// A file that goes in, or the fingerprint of the last build, cannot be used.
    #[error("cannot use {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The folder of artefacts is new.
    Built,
    /// Nothing had changed, and every artefact is still whole.
    Unchanged,
}

/// Everything that goes into the artefacts.
#[derive(Debug)]
pub struct Inputs {
    /// The kernel, and where it came from.
    pub kernel: Kernel,
    /// The bytes of bzImage.
    pub bzimage: Vec<u8>,
    /// kedge, busybox and their tree.
    pub userland: Userland,
    /// The EFI stub.
    pub stub: Vec<u8>,
}

/// Takes the checkout's lock, builds what has changed, and replaces the folder of artefacts in
/// one rename.
///
/// # Errors
/// See [`Error`]; whatever fails, the old artefacts stay.
pub fn build(request: &Request, progress: &dyn Progress) -> Result<Outcome, Error> {
    // First what is quickly told.
    let configuration = Configuration::read(&request.sources)?;
    out::refuse_foreign(&request.out)?;
    let _lock = Lock::take(&request.root.join("target/build.lock"), progress)?;
    out::clear_abandoned(&request.out)?;
    host::ensure(&[Need::Build], progress)?;
    let mut inputs = gather(request, progress)?;
    let packs = make_packs(request, &configuration, &inputs.userland.tree, progress)?;
    packs.add_to(&mut inputs.userland.tree)?;
    configuration.add_to(&mut inputs.userland.tree)?;
    for note in configuration.notes() {
        progress.note(note);
    }
    let archive = inputs.userland.tree.to_cpio(EPOCH)?;
    let room = configuration.stamp_area();
    let fingerprint = Fingerprint::of(request, &inputs, &archive, room)?;
    if fingerprint.is_current(&request.out) {
        return Ok(Outcome::Unchanged);
    }

    let readers = if configuration.is_secret() {
        Readers::Owner
    } else {
        Readers::Everybody
    };
    let staging = Staging::start(&request.out, readers)?;
    progress.step("compressing the initramfs");
    let initramfs = area::append(gate::initramfs(&inputs.userland.tree, EPOCH)?, room);
    progress.step("writing kedge.efi, kedge.iso and netboot/");
    let uki = make_uki(&inputs, &initramfs, &request.version)?;
    let uki_path = staging.write("kedge.efi", &uki.bytes)?;
    staging.write("netboot/kedge.efi", &uki.bytes)?;
    staging.write(&format!("netboot/{KERNEL}"), &inputs.bzimage)?;
    staging.write(&format!("netboot/{INITRAMFS}"), &initramfs)?;
    staging.write("netboot/boot.ipxe", netboot::script().as_bytes())?;
    let mut names: Vec<String> = FILES.iter().map(ToString::to_string).collect();
    for (path, content) in packs.files() {
        for name in [path.clone(), format!("netboot/{path}")] {
            staging.write(&name, content)?;
            names.push(name);
        }
    }
    names.sort_unstable();
    let scratch = Staging::start(&staging.folder().join("scratch"), readers)?;
    let esp = esp::build(scratch.folder(), &uki_path, &uki.bytes, EPOCH)?;
    let iso = iso::build(scratch.folder(), &uki, &esp, &packs)?;
    drop(scratch);
    staging.write("kedge.iso", &iso)?;

    let files = manifest::describe(staging.folder(), &names)?;
    let manifest = Manifest {
        name: "kedge".into(),
        version: request.version.clone(),
        command_line: COMMAND_LINE.into(),
        configured: configuration.described(),
        stamp_area: area::find(&initramfs).map_or(0, |start| initramfs.len() - start) as u64,
        parts: parts(request, &inputs, &packs)?,
        files: files.clone(),
    };
    staging.write(MANIFEST, manifest.to_json()?.as_bytes())?;
    let mut listed = files;
    listed.extend(manifest::describe(staging.folder(), &[MANIFEST.into()])?);
    staging.write(SUMS, manifest::sums(&listed).as_bytes())?;
    staging.commit()?;
    fingerprint.write(&request.out)?;
    Ok(Outcome::Built)
}

/// Builds or finds everything that goes into every image, whatever is configured, but makes none.
///
/// # Errors
/// See [`Error`].
pub fn gather(request: &Request, progress: &dyn Progress) -> Result<Inputs, Error> {
    let cache = Cache::open()?;
    let kernel = kernel::build(&request.root.join("kernel-config"), &cache, progress)?;
    progress.step("building kedge for the image");
    let userland = userland::build(&request.root, &request.version)?;
    Ok(Inputs {
        bzimage: read(&kernel.bzimage)?,
        kernel,
        userland,
        stub: read(Path::new(host::EFI_STUB))?,
    })
}

/// The packs of the workspace and of the configuration.
///
/// # Errors
/// See [`packs::Error`].
pub fn make_packs(
    request: &Request,
    configuration: &Configuration,
    tree: &Tree,
    progress: &dyn Progress,
) -> Result<Packs, Error> {
    let wanted = packs::Request {
        custom: configuration.packs().to_vec(),
        with: configuration.with().to_vec(),
        unlocked: request.unlocked,
    };
    let in_image = |name: &str| tree.contains(&format!("bin/{name}"));
    Ok(packs::build(
        &request.root,
        &wanted,
        &Cache::open()?,
        &in_image,
        progress,
    )?)
}

/// The UKI of these inputs.
///
/// # Errors
/// When the stub is not what it should be.
pub fn make_uki(inputs: &Inputs, initramfs: &[u8], version: &str) -> Result<Uki, uki::Error> {
    let os_release = os_release(version);
    uki::build(
        &inputs.stub,
        &[
            (".osrel", os_release.as_bytes()),
            (".cmdline", COMMAND_LINE.as_bytes()),
            (".linux", &inputs.bzimage),
            (".initrd", initramfs),
        ],
    )
}

/// What the artefacts in the folder were made from, kept beside it, so that a build in which
/// nothing changed can leave them alone. Not an artefact: it holds the building program's digest,
/// which differs between checkouts.
struct Fingerprint {
    path: PathBuf,
    digest: String,
}

impl Fingerprint {
    /// A digest over everything that decides about a byte of the artefacts: the packs by the index, which is
    /// in the archive.
    fn of(
        request: &Request,
        inputs: &Inputs,
        archive: &[u8],
        room: usize,
    ) -> Result<Fingerprint, Error> {
        let (out, version) = (request.out.display(), &request.version);
        let mut text = format!("{out}\n{version}\n{room}\n");
        for content in [&inputs.bzimage, archive, &inputs.stub] {
            text.push_str(&sha256::hex(content));
        }
        for path in [iso::ISOLINUX, iso::LDLINUX, iso::ISOHDPFX] {
            text.push_str(&sha256::hex(&read(Path::new(path))?));
        }
        // The code that lays the artefacts out is an input too: this very program.
        let program = std::env::current_exe().map_err(|source| Error::Read {
            path: "the running program".into(),
            source,
        })?;
        text.push_str(&sha256::hex(&read(&program)?));
        Ok(Fingerprint {
            path: Fingerprint::path(request),
            digest: sha256::hex(text.as_bytes()),
        })
    }

    /// One for each folder of artefacts that this checkout fills.
    fn path(request: &Request) -> PathBuf {
        let target = request.root.join("target");
        if request.out == request.root.join("out") {
            return target.join("out.stamp");
        }
        let digest = sha256::hex(request.out.as_os_str().as_encoded_bytes());
        target.join(format!("out-{}.stamp", &digest[..16]))
    }

    /// Whether the folder was made from the same, and every file in it is still whole.
    fn is_current(&self, out: &Path) -> bool {
        let same = std::fs::read_to_string(&self.path).is_ok_and(|text| text == self.text(out));
        same && out.join(SUMS).exists()
            && std::fs::read_to_string(out.join(MANIFEST))
                .ok()
                .and_then(|text| Manifest::from_json(&text).ok())
                .is_some_and(|manifest| manifest.matches(out))
    }

    /// With the digest of the list that was written: a stamped image's list is another, and true.
    fn text(&self, out: &Path) -> String {
        let sums = std::fs::read(out.join(SUMS)).unwrap_or_default();
        format!("{}\n{}\n", self.digest, sha256::hex(&sums))
    }

    fn write(&self, out: &Path) -> Result<(), Error> {
        std::fs::write(&self.path, self.text(out)).map_err(|source| Error::Read {
            path: self.path.clone(),
            source,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// The manifest's parts: what comes from Debian, kedge, and the crates in it.
fn parts(request: &Request, inputs: &Inputs, packs: &Packs) -> Result<Vec<Part>, Error> {
    let versions = host::versions(&[
        "busybox-static",
        "systemd-boot-efi",
        "isolinux",
        "syslinux-common",
        "libc6-dev",
    ])?;
    let debian = |name: &str, package: &str, licence: &str, content: &[u8]| Part {
        name: name.into(),
        version: versions.get(package).cloned().unwrap_or_default(),
        licence: licence.into(),
        source: format!("Debian package {package}"),
        sha256: Some(sha256::hex(content)),
        size: Some(content.len() as u64),
    };
    let mut parts = vec![
        Part {
            name: "linux".into(),
            version: inputs.kernel.version.clone(),
            licence: "GPL-2.0-only WITH Linux-syscall-note".into(),
            source: format!("Debian package {}", inputs.kernel.package),
            sha256: Some(sha256::hex(&inputs.bzimage)),
            size: Some(inputs.bzimage.len() as u64),
        },
        debian(
            "busybox",
            "busybox-static",
            "GPL-2.0-only",
            &inputs.userland.busybox,
        ),
        debian(
            "systemd EFI stub",
            "systemd-boot-efi",
            "LGPL-2.1-or-later",
            &inputs.stub,
        ),
        debian(
            "isolinux",
            "isolinux",
            "GPL-2.0-or-later",
            &read(Path::new(iso::ISOLINUX))?,
        ),
        debian(
            "isohybrid MBR",
            "isolinux",
            "GPL-2.0-or-later",
            &read(Path::new(iso::ISOHDPFX))?,
        ),
        debian(
            "ldlinux.c32",
            "syslinux-common",
            "GPL-2.0-or-later",
            &read(Path::new(iso::LDLINUX))?,
        ),
        Part {
            name: "kedge".into(),
            version: request.version.clone(),
            licence: "MIT OR Apache-2.0".into(),
            source: "this repository".into(),
            sha256: Some(sha256::hex(&inputs.userland.kedge)),
            size: Some(inputs.userland.kedge.len() as u64),
        },
        Part {
            name: "glibc, linked into kedge".into(),
            version: versions.get("libc6-dev").cloned().unwrap_or_default(),
            licence: "LGPL-2.1-or-later".into(),
            source: "Debian package libc6-dev".into(),
            sha256: None,
            size: None,
        },
    ];
    parts.extend(manifest::crates(&request.root)?);
    parts.extend(packs.parts.iter().cloned());
    Ok(parts)
}
