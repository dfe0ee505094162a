//! Settings of one machine, written into a finished image: no build, no other program.
//!
//! `area` is where in an initramfs they go, `place` where in an image the initramfs is, `content` what
//! goes there, `write` and `sums` how files are replaced. Nothing but the area's bytes differs between
//! a stamped image and the one that was built.

pub mod area;
pub mod bootconfig;
mod content;
mod early;
mod place;
mod sums;
mod write;

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use content::{Content, Described, StampedFile, Wishes};
pub use place::Kind;
pub use write::Error as WriteError;

use crate::boot::INITRAMFS;
use crate::sha256;
use area::Packed;
use write::{New, failed};

/// What can be stamped in a folder of artefacts, or in its netboot folder.
const IN_FOLDERS: &[&str] = &[
    "kedge.iso",
    "kedge.efi",
    INITRAMFS,
    "netboot/kedge.efi",
    "netboot/initramfs.cpio.xz",
];

/// Why nothing was stamped. The image is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wanted cannot be had.
    #[error(transparent)]
    Content(#[from] content::Error),
    /// A file has no place for it.
    #[error("{}: {why}", path.display())]
    Place {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: place::Error,
    },
    /// A folder without images.
    #[error(
        "{} holds no image: no kedge.iso, kedge.efi or {INITRAMFS}, and no netboot folder",
        _0.display()
    )]
    NoImages(PathBuf),
    /// It does not fit.
    #[error("{}: {why}", path.display())]
    TooLarge {
        /// Into which file.
        path: PathBuf,
        /// By how much.
        why: area::TooLarge,
    },
    /// What is stamped cannot be read.
    #[error(
        "the stamp in {} is damaged ({why}); stamp it again, or --clear it", path.display()
    )]
    Damaged {
        /// In which file.
        path: PathBuf,
        /// What is wrong.
        why: std::io::Error,
    },
    /// A copy of a folder would go where something is.
    #[error("{} is there already; name another folder, or remove it", _0.display())]
    Exists(PathBuf),
    /// A copy of a folder in itself.
    #[error("{} is in the folder that is to be copied; name another", _0.display())]
    Inside(PathBuf),
    /// Reading or writing a file failed.
    #[error(transparent)]
    File(#[from] WriteError),
}

/// One file that was stamped, or looked at.
#[derive(Debug)]
pub struct Stamped {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Bytes that the stamp takes.
    pub used: usize,
    /// Bytes that a stamp could take.
    pub room: usize,
    /// What is stamped; `None` where nothing is.
    pub stamp: Option<Described>,
}

/// A file with an area.
struct Image {
    file: File,
    kind: Kind,
    area: Range<usize>,
}

/// Stamps `content` (`None` clears what is stamped) into the image at `image`: a file, or a folder of
/// them. In place, or into a copy at `output`.
///
/// # Errors
/// See [`Error`]. What cannot be stamped is found before the first file is replaced.
pub fn stamp(
    image: &Path,
    content: Option<&Content>,
    output: Option<&Path>,
) -> Result<Vec<Stamped>, Error> {
    // A copy of itself is itself.
    let output = output.filter(|output| !output.exists() || in_place(output) != in_place(image));
    if !image.is_dir() {
        let target = output.unwrap_or(image);
        let target = in_place(target);
        let lasting = output.is_none() || target.exists();
        let (new, stamped, digest) = prepare(image, &target, content, lasting)?;
        new.commit()?;
        match output {
            Some(_) => write_digest(&target, &sums::line(&digest, &name(&target)))?,
            None => sums::follow(&[(target, digest)], true)?,
        }
        return Ok(vec![stamped]);
    }
    let Some(output) = output else {
        return stamp_folder(image, content, true);
    };
    if output.exists() {
        return Err(Error::Exists(output.into()));
    }
    let above = output.parent().filter(|parent| *parent != Path::new(""));
    if in_place(above.unwrap_or(Path::new("."))).starts_with(in_place(image)) {
        return Err(Error::Inside(output.into()));
    }
    let copy = output.with_file_name(name(output) + ".stamping");
    // What a killed process left.
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(failed("remove the left-over folder", &copy))?;
    }
    let made = write::copy_folder(image, &copy)
        .map_err(Error::from)
        .and_then(|()| stamp_folder(&copy, content, false))
        .and_then(|stamped| {
            let digests = digests(&copy, &name(output))?;
            if content.is_some_and(|content| content.described.secret) {
                let owner = fs::Permissions::from_mode(0o700);
                fs::set_permissions(&copy, owner).map_err(failed("write", &copy))?;
            }
            fs::rename(&copy, output).map_err(failed("put in place", output))?;
            write_digest(output, &digests)?;
            Ok(stamped)
        });
    if made.is_err() {
        // What cannot be removed now is removed by the next one.
        let _ = fs::remove_dir_all(&copy);
    }
    let mut made = made?;
    for stamped in &mut made {
        if let Ok(inside) = stamped.path.strip_prefix(&copy) {
            stamped.path = output.join(inside);
        }
    }
    Ok(made)
}

/// What is stamped into the image at `image`: a file, or a folder of them.
///
/// # Errors
/// See [`Error`].
pub fn show(image: &Path) -> Result<Vec<Stamped>, Error> {
    let paths = if image.is_dir() {
        in_folder(image)?
    } else {
        vec![image.to_path_buf()]
    };
    paths.iter().map(|path| look(path)).collect()
}

fn look(path: &Path) -> Result<Stamped, Error> {
    let image = Image::open(path)?;
    let damaged = |why| Error::Damaged {
        path: path.into(),
        why,
    };
    let held = area::read(&image.held(path)?).map_err(damaged)?;
    let stamp = held.archive.as_deref().map(Described::from_archive);
    Ok(Stamped {
        path: path.into(),
        kind: image.kind,
        used: held.used,
        room: area::room(image.area.len()),
        stamp: stamp.transpose().map_err(damaged)?,
    })
}

/// Stamps every image in `folder`, where it is.
fn stamp_folder(
    folder: &Path,
    content: Option<&Content>,
    lasting: bool,
) -> Result<Vec<Stamped>, Error> {
    let mut ready = Vec::new();
    for path in in_folder(folder)? {
        let target = in_place(&path);
        ready.push((prepare(&path, &target, content, lasting)?, target));
    }
    // All of them are written: from here on a rename a file is all that can fail.
    let (mut all, mut changed) = (Vec::new(), Vec::new());
    for ((new, stamped, digest), target) in ready {
        new.commit()?;
        all.push(stamped);
        changed.push((target, digest));
    }
    sums::follow(&changed, lasting)?;
    Ok(all)
}

/// The images in a folder.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = IN_FOLDERS.iter().map(|name| folder.join(name));
    let there: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    if there.is_empty() {
        return Err(Error::NoImages(folder.into()));
    }
    Ok(there)
}

/// Writes the stamped copy of `source` beside `target`, and tells its digest.
fn prepare(
    source: &Path,
    target: &Path,
    content: Option<&Content>,
    lasting: bool,
) -> Result<(New, Stamped, String), Error> {
    let image = Image::open(source)?;
    let nothing = Packed::default();
    let packed = content.map_or(&nothing, |content| &content.packed);
    let too_large = |why| Error::TooLarge {
        path: source.into(),
        why,
    };
    let filled = area::fill(image.area.len(), packed).map_err(too_large)?;
    let mut new = New::start(target)?;
    let digest = new.copy(&image.file, image.area.start, &filled)?;
    let mode = fs::metadata(source).map_err(failed("read", source))?;
    let mut mode = mode.permissions().mode() & 0o777;
    if content.is_some_and(|content| content.described.secret) {
        mode &= 0o700;
    }
    new.finish(mode, lasting)?;
    let stamped = Stamped {
        path: if target == in_place(source) {
            source
        } else {
            target
        }
        .into(),
        kind: image.kind,
        used: packed.archive.len() + packed.bootconfig.len(),
        room: area::room(image.area.len()),
        stamp: content.map(|content| content.described.clone()),
    };
    Ok((new, stamped, digest))
}

impl Image {
    fn open(path: &Path) -> Result<Image, Error> {
        let file = File::open(path).map_err(failed("read", path))?;
        let (kind, area) = place::find(&file).map_err(|why| Error::Place {
            path: path.into(),
            why,
        })?;
        Ok(Image { file, kind, area })
    }

    /// The area's bytes; `path` is for an error.
    fn held(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.area.len()];
        self.file
            .read_exact_at(&mut bytes, self.area.start as u64)
            .map_err(failed("read", path))?;
        Ok(bytes)
    }
}

/// The file that a symbolic link leads to: what is replaced is the file, not the link.
fn in_place(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// `OUT.sha256`, for `sha256sum -c` in the folder that holds OUT.
fn write_digest(output: &Path, lines: &str) -> Result<(), Error> {
    let path = output.with_file_name(name(output) + ".sha256");
    Ok(write::replace(&path, lines.as_bytes(), false)?)
}

/// Lines for every file in `folder`, which is to be called `called`.
fn digests(folder: &Path, called: &str) -> Result<String, Error> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(failed("read", folder))?;
    entries.sort();
    let mut lines = String::new();
    for path in entries {
        let inside = format!("{called}/{}", name(&path));
        if path.is_dir() {
            lines += &digests(&path, &inside)?;
        } else {
            let (digest, _) = sha256::of_file(&path).map_err(failed("read", &path))?;
            lines += &sums::line(&digest, &inside);
        }
    }
    Ok(lines)
}
