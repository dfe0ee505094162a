//! `cargo xtask bench packs`: in which form packs cost least. Prints a Markdown table.
//!
//! The files of out/packs are packed again in every form that was thought of, and for the sets of programs that
//! people load it is counted what would have to be fetched, how long unpacking takes here, and what it
//! takes of memory then. Nothing of it is used by the build: the table is for ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kedge_pack_index::Index;
use kedge_tests::child::output;
use kedge_tests::{Folder, out};

/// What is loaded together; a pack or programs of it.
const SETS: &[&[&str]] = &[
    &["xfs_repair"],
    &["cryptsetup", "xfs_repair"],
    &["lvm", "e2fsck"],
    &["storage"],
    &["nano", "tmux"],
];

/// Bytes a second of the link that everything is about.
const LINK: f64 = 250e3;

fn main() -> Result<()> {
    let folder = Folder::new("bench.packs")?;
    let store = Store::read(folder.path())?;
    let erofs = mkfs_erofs(folder.path())?;
    println!(
        "{} groups of {} files' archives; times on this computer\n",
        store.index.groups.len(),
        store.index.archives.len()
    );
    println!("| to load | form | bytes to fetch | unpacking | usable at 250 kB/s | memory then |");
    println!("|---|---|--:|--:|--:|--:|");
    let every: BTreeSet<usize> = (0..store.index.groups.len()).collect();
    let files = store.pack_each(&every, Form::XzPerFile)?;
    let zstd = store.pack_each(&every, Form::ZstdGroups)?;
    for set in SETS {
        let groups = store.groups(set)?;
        let unpacked: u64 = groups.iter().map(|g| store.index.groups[*g].unpacked).sum();
        let name = set.join(", ");
        let row = |form: &str, fetched: u64, unpacking: Duration, memory: u64| {
            println!(
                "| {name} | {form} | {fetched} | {:.2} s | {:.1} s | {memory} |",
                unpacking.as_secs_f64(),
                fetched as f64 / LINK + unpacking.as_secs_f64()
            );
        };
        let packed = groups.iter().map(|g| store.index.groups[*g].packed).sum();
        let time = store.unpack(&groups, "xz", |group| vec![store.group_file(group)])?;
        row(
            "groups, xz with BCJ (what is built)",
            packed,
            time,
            unpacked,
        );

        let of = |packed: &[Vec<PathBuf>]| -> Result<u64> {
            groups
                .iter()
                .flat_map(|g| &packed[*g])
                .map(|p| Ok(fs::metadata(p)?.len()))
                .sum()
        };
        let time = store.unpack(&groups, "xz", |group| files[group].clone())?;
        row("each file, xz with BCJ", of(&files)?, time, unpacked);
        let time = store.unpack(&groups, "zstd", |group| zstd[group].clone())?;
        row("groups, zstd -19", of(&zstd)?, time, unpacked);

        // Packs that know of no others: all of every pack that has one of the programs.
        let packs = store.packs(set);
        let solid = store.solid(&packs)?;
        let started = Instant::now();
        output(
            Command::new("xz")
                .args(["-dc"])
                .arg(&solid)
                .stdout(Stdio::null()),
            None,
        )?;
        row(
            "whole packs, one xz each",
            fs::metadata(&solid)?.len(),
            started.elapsed(),
            packs.iter().map(|g| store.index.groups[*g].unpacked).sum(),
        );
        for (name, options) in [("lz4hc", "-zlz4hc,12"), ("lzma", "-zlzma,9")] {
            match store.erofs(&erofs, options, &packs)? {
                Some(size) => row(
                    &format!("whole packs, erofs {name} of 1 MiB clusters, mounted"),
                    size,
                    Duration::ZERO,
                    size,
                ),
                None => eprintln!("this mkfs.erofs has no {name}"),
            }
        }
    }
    Ok(())
}

/// How a group can be packed again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    XzPerFile,
    ZstdGroups,
}

/// out/packs, taken apart.
struct Store {
    index: Index,
    folder: PathBuf,
}

impl Store {
    fn read(folder: &Path) -> Result<Store> {
        let initramfs = out::artefact("netboot/initramfs.cpio.xz")?;
        let text = Command::new("sh")
            // Behind the archive there is room for a stamp, which is no xz.
            .args(["-c", "xz -dc --single-stream \"$1\" 2>/dev/null | cpio -i --quiet --to-stdout etc/kedge/packs"])
            .arg("sh")
            .arg(&initramfs)
            .output()?;
        let text = String::from_utf8(text.stdout)?;
        let index = Index::parse(&text).context("the initramfs has no index of packs")?;
        let store = Store {
            index,
            folder: folder.to_path_buf(),
        };
        for (number, group) in store.index.groups.iter().enumerate() {
            let archive = out::read(&format!(
                "packs/{}.cpio.xz",
                store.index.archives[group.archive]
            ))?;
            let begin = usize::try_from(group.offset)?;
            let end = begin + usize::try_from(group.packed)?;
            fs::write(store.group_file(number), &archive[begin..end])?;
            let tree = store.tree(number);
            fs::create_dir_all(&tree)?;
            let status = Command::new("sh")
                .current_dir(&tree)
                .args(["-c", "xz -dc \"$1\" | cpio -idm --quiet"])
                .arg("sh")
                .arg(store.group_file(number))
                .status()?;
            ensure!(status.success(), "group {number} cannot be unpacked");
        }
        Ok(store)
    }

    fn group_file(&self, group: usize) -> PathBuf {
        self.folder.join(format!("group-{group}.cpio.xz"))
    }

    fn tree(&self, group: usize) -> PathBuf {
        self.folder.join(format!("group-{group}"))
    }

    fn groups(&self, names: &[&str]) -> Result<BTreeSet<usize>> {
        let mut groups = BTreeSet::new();
        for name in names {
            if let Some(pack) = self.index.packs.iter().position(|pack| pack.name == *name) {
                groups.extend(self.index.groups_of_pack(pack));
                continue;
            }
            let program = self
                .index
                .programs
                .iter()
                .find(|program| program.name == *name);
            groups.extend(
                &program
                    .with_context(|| format!("no program {name}"))?
                    .groups,
            );
        }
        Ok(groups)
    }

    /// All groups of the packs that have one of these.
    fn packs(&self, names: &[&str]) -> BTreeSet<usize> {
        let named = |pack: usize| {
            let programs = self
                .index
                .programs
                .iter()
                .filter(|program| program.pack == pack);
            let mut known = programs.map(|program| program.name.as_str());
            names.contains(&self.index.packs[pack].name.as_str())
                || known.any(|name| names.contains(&name))
        };
        let packs = (0..self.index.packs.len()).filter(|pack| named(*pack));
        packs
            .flat_map(|pack| self.index.groups_of_pack(pack))
            .collect()
    }

    /// The regular files of a group.
    fn files(&self, group: usize) -> Result<Vec<PathBuf>> {
        let list = output(
            Command::new("find")
                .arg(self.tree(group))
                .args(["-type", "f"]),
            None,
        )?;
        let list = String::from_utf8(list)?;
        Ok(list.lines().map(PathBuf::from).collect())
    }

    fn pack_each(&self, groups: &BTreeSet<usize>, form: Form) -> Result<Vec<Vec<PathBuf>>> {
        let mut packed = vec![Vec::new(); self.index.groups.len()];
        for group in groups {
            for (number, source) in match form {
                Form::XzPerFile => self.files(*group)?,
                Form::ZstdGroups => vec![self.group_file(*group)],
            }
            .into_iter()
            .enumerate()
            {
                let (line, ending) = match form {
                    Form::XzPerFile => (
                        "xz -c --check=crc32 --x86 --lzma2=preset=9e,lc=4 \"$1\"",
                        "xz",
                    ),
                    Form::ZstdGroups => ("xz -dc \"$1\" | zstd -19 -q -c", "zst"),
                };
                let to = self.folder.join(format!("group-{group}-{number}.{ending}"));
                let status = Command::new("sh")
                    .args(["-c", line, "sh"])
                    .arg(&source)
                    .stdout(File::create(&to)?)
                    .status()?;
                ensure!(status.success(), "cannot pack {}", source.display());
                packed[*group].push(to);
            }
        }
        Ok(packed)
    }

    /// How long one program takes to unpack all of it, called once for each group as the image does.
    fn unpack(
        &self,
        groups: &BTreeSet<usize>,
        program: &str,
        files: impl Fn(usize) -> Vec<PathBuf>,
    ) -> Result<Duration> {
        let started = Instant::now();
        for group in groups {
            let status = Command::new(program)
                .arg("-dc")
                .args(files(*group))
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "{program} failed");
        }
        Ok(started.elapsed())
    }

    /// All files of these groups in one folder.
    fn together(&self, groups: &BTreeSet<usize>) -> Result<PathBuf> {
        let all = self.folder.join("together");
        if all.exists() {
            fs::remove_dir_all(&all)?;
        }
        fs::create_dir(&all)?;
        for group in groups {
            output(
                Command::new("cp")
                    .arg("-a")
                    .arg(self.tree(*group).join("."))
                    .arg(&all),
                None,
            )?;
        }
        Ok(all)
    }

    fn solid(&self, groups: &BTreeSet<usize>) -> Result<PathBuf> {
        let to = self.folder.join("solid.cpio.xz");
        let status = Command::new("sh")
            .current_dir(self.together(groups)?)
            .args([
                "-c",
                "find . | sort | cpio -o -H newc --quiet | xz -c --check=crc32 --x86 --lzma2=preset=9e,lc=4,dict=64MiB",
            ])
            .stdout(File::create(&to)?)
            .status()?;
        ensure!(status.success(), "cannot pack");
        Ok(to)
    }

    /// Bytes of a file system image of these groups; none when this form is not there.
    fn erofs(
        &self,
        program: &Path,
        options: &str,
        groups: &BTreeSet<usize>,
    ) -> Result<Option<u64>> {
        let image = self.folder.join("image.erofs");
        let done = Command::new(program)
            .args([options, "-C1048576", "-T0"])
            .arg(&image)
            .arg(self.together(groups)?)
            .output()?;
        if !done.status.success() {
            return Ok(None);
        }
        Ok(Some(fs::metadata(&image)?.len()))
    }
}

/// mkfs.erofs, unpacked here from Debian's package: nothing else needs it.
fn mkfs_erofs(folder: &Path) -> Result<PathBuf> {
    let tools = folder.join("erofs-utils");
    fs::create_dir(&tools)?;
    output(
        Command::new("apt-get").current_dir(&tools).args([
            "-q",
            "-o",
            "APT::Sandbox::User=root",
            "download",
            "erofs-utils",
        ]),
        None,
    )?;
    let package = fs::read_dir(&tools)?
        .next()
        .context("apt-get brought nothing")??
        .path();
    output(
        Command::new("dpkg-deb").arg("-x").arg(package).arg(&tools),
        None,
    )?;
    Ok(tools.join("usr/bin/mkfs.erofs"))
}
