//! `cargo xtask bench verify`: how fast a whole system is checked against its package database, beside what Debian has for it, and
//! beside what can be reached at all; and how fast the question is answered which file under sshd is bad.
//!
//! All read the same tree, a Debian 12 with compilers and editors (see `tests/src/victim/recipe.rs`), in rounds that alternate; the
//! medians count: this computer may be busy with other things. Before each cold one, what is cached is written and dropped.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kedge_digest::lanes::{Content, LANES, hash_all, room};
use kedge_digest::{Algorithm, Digest};
use kedge_tests::child::{Child, output};
use kedge_tests::command::finish;
use kedge_tests::{Folder, ImageTool, Victim};

/// How often each is done.
const ROUNDS: usize = 5;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Threads that read for the ceiling from a cold cache: with one a core a disk waits for us, and that is no ceiling. From a warm
/// one it is one a core: more would take each other's place in the cores' caches.
const COLD_READERS: usize = 16;

/// Files longer than this are read first, as `verify` does: at the end there would be nothing to be hashed beside them.
const LONG: u64 = 1 << 20;

/// How often the memory is looked at.
const GLANCE: Duration = Duration::from_millis(1);

const SSHD: &str = "/usr/sbin/sshd";

fn main() -> Result<()> {
    let folder = Folder::new("bench.verify")?;
    let site = Site {
        kedge: ImageTool::extract(folder.path())?,
        tree: Victim::large()?.pristine(),
        sums: folder.path().join("md5sums"),
    };
    let listed = site.listed()?;
    let bytes: u64 = listed.iter().map(|file| file.size).sum();
    println!(
        "{} files of {} MB, {} processors, {ROUNDS} rounds, medians\n",
        listed.len(),
        bytes / 1_000_000,
        processors()
    );
    for cold in [true, false] {
        let times = site.rounds(cold, &listed)?;
        table(if cold { "cold" } else { "warm" }, bytes, &times);
    }
    for (what, arguments) in [
        ("verify", &["verify"][..]),
        ("doctor", &["doctor"]),
        ("doctor sshd", &["doctor", SSHD]),
    ] {
        println!(
            "resident at most, {what}: {} KiB",
            site.resident(arguments)?
        );
    }
    Ok(())
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contestant {
    /// Reading and hashing on all cores, and nothing else.
    Ceiling,
    Verify,
    Md5sum,
    Debsums,
    Doctor,
}

const ALL: [Contestant; 5] = [
    Contestant::Ceiling,
    Contestant::Verify,
    Contestant::Md5sum,
    Contestant::Debsums,
    Contestant::Doctor,
];

impl Contestant {
    fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "reading and hashing, nothing else",
            Self::Verify => "`verify ROOT`",
            Self::Md5sum => "`md5sum -c` over all md5sums files",
            Self::Debsums => "`debsums -s --root=ROOT`",
            Self::Doctor => "`doctor ROOT /usr/sbin/sshd`",
        }
    }
}

struct Site {
    kedge: ImageTool,
    tree: PathBuf,
    /// All md5sums files in one.
    sums: PathBuf,
}

/// A file that a package has a checksum of.
struct Listed {
    path: PathBuf,
    size: u64,
    inode: u64,
    digest: Digest,
}

/// What one of them took.
struct Measured {
    contestant: Contestant,
    seconds: f64,
    /// Of all processors together: on a computer that is busy with other things this says more.
    processor: f64,
}

impl Site {
    /// What is listed in the md5sums files, long files first, and then in the order of inodes, which is about that of the disk.
    fn listed(&self) -> Result<Vec<Listed>> {
        let mut all = String::new();
        let info = self.tree.join("var/lib/dpkg/info");
        for entry in fs::read_dir(&info)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "md5sums") {
                all += &fs::read_to_string(&path)?;
            }
        }
        fs::write(&self.sums, &all)?;
        let mut listed = Vec::new();
        for line in all.lines() {
            let (digest, name) = line
                .split_once("  ")
                .with_context(|| format!("this is no line of md5sums: {line:?}"))?;
            let path = self.tree.join(name);
            let data = path
                .metadata()
                .with_context(|| format!("looking at {}", path.display()))?;
            listed.push(Listed {
                size: data.len(),
                inode: data.ino(),
                digest: Digest::from_hex(Algorithm::Md5, digest).context("this is no MD5")?,
                path,
            });
        }
        listed.sort_by_key(|file| (file.size <= LONG, file.inode));
        Ok(listed)
    }

    fn rounds(&self, cold: bool, listed: &[Listed]) -> Result<Vec<Measured>> {
        let mut times = vec![Vec::new(); ALL.len()];
        for round in 0..=ROUNDS {
            for (contestant, times) in ALL.into_iter().zip(&mut times) {
                if cold {
                    drop_caches()?;
                }
                let (started, before) = (Instant::now(), processor_time()?);
                self.run(contestant, cold, listed)?;
                // The first warm round warms.
                if cold || round > 0 {
                    let seconds = started.elapsed().as_secs_f64();
                    times.push((seconds, processor_time()? - before));
                }
                eprint!(".");
            }
            if cold && round + 1 == ROUNDS {
                break;
            }
        }
        eprintln!();
        let measured = |(contestant, times): (Contestant, Vec<(f64, f64)>)| {
            let (seconds, processor) = times.into_iter().unzip();
            Measured {
                contestant,
                seconds: median(seconds),
                processor: median(processor),
            }
        };
        Ok(ALL.into_iter().zip(times).map(measured).collect())
    }

    fn run(&self, contestant: Contestant, cold: bool, listed: &[Listed]) -> Result<()> {
        match contestant {
            Contestant::Ceiling => {
                let readers = if cold { COLD_READERS } else { processors() };
                read_and_hash(readers, listed)
            }
            Contestant::Verify => self.must_be_clean(self.kedge(&["verify"])),
            Contestant::Doctor => self.must_be_clean(self.kedge(&["doctor", SSHD])),
            Contestant::Md5sum => {
                let mut command = Command::new("md5sum");
                command.args(["--check", "--quiet"]).arg(&self.sums);
                command.current_dir(&self.tree);
                self.must_be_clean(command)
            }
            Contestant::Debsums => {
                let mut command = Command::new("debsums");
                command
                    .arg("-s")
                    .arg(format!("--root={}", self.tree.display()));
                self.must_be_clean(command)
            }
        }
    }

    /// A tool with ROOT behind its name.
    fn kedge(&self, arguments: &[&str]) -> Command {
        let mut command = self.kedge.command(&arguments[..1]);
        command.arg(&self.tree).args(&arguments[1..]);
        command
    }

    fn must_be_clean(&self, mut command: Command) -> Result<()> {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let finished = finish(&name, Child::spawn_as_is(&mut command, None)?, PATIENCE)?;
        if finished.status != Some(0) {
            bail!(
                "{name} ended with {:?}: {}{}",
                finished.status,
                finished.text(),
                finished.stderr
            );
        }
        Ok(())
    }

    /// The most memory that was resident (proc(5), VmHWM), in KiB. busybox' `time` says four times of that: it takes the
    /// kernel's KiB for pages.
    fn resident(&self, arguments: &[&str]) -> Result<u64> {
        let mut kedge = self.kedge(arguments);
        kedge.stdin(Stdio::null());
        kedge.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Child::spawn_as_is(&mut kedge, None)?;
        let path = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.streams().try_wait()?.is_none() {
            // The kernel keeps the peak itself, as long as there is a process.
            let text = fs::read_to_string(&path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            peak = peak.max(now.unwrap_or(0));
            std::thread::sleep(GLANCE);
        }
        ensure!(peak > 0, "{kedge:?} ended before anybody looked");
        Ok(peak)
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What nothing can be faster than that reads and hashes every file once with this hash.
fn read_and_hash(readers: usize, listed: &[Listed]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut open: Vec<(&Listed, File, Content)> = Vec::new();
        let mut rooms = Vec::new();
        loop {
            while open.len() < LANES
                && let Some(file) = listed.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let content = Content::new(rooms.pop().unwrap_or_else(room));
                open.push((file, File::open(&file.path)?, content));
            }
            if open.is_empty() {
                return Ok(());
            }
            for (file, from, content) in &mut open {
                content.fill(|at, piece| match at < file.size {
                    true => from.read(piece),
                    false => Ok(0),
                })?;
            }
            hash_all(open.iter_mut().map(|(.., content)| content));
            for (file, _, content) in open.extract_if(.., |(.., content)| content.is_done()) {
                let (digest, room) = content.finish();
                ensure!(digest == file.digest, "{} is damaged", file.path.display());
                rooms.push(room);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..readers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

/// What this process and those that it waited for have had of the processors so far, in seconds (proc_pid_stat(5), fields 14 to 17
/// in ticks of 10 ms).
fn processor_time() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat
        .rsplit_once(") ")
        .context("no name in /proc/self/stat")?;
    let ticks = fields.split(' ').skip(11).take(4);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

/// Has nothing of any file in memory (proc(5), drop_caches).
fn drop_caches() -> Result<()> {
    output(&mut Command::new("sync"), None)?;
    let path = Path::new("/proc/sys/vm/drop_caches");
    fs::write(path, "3").with_context(|| format!("writing {}; be root", path.display()))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn table(cache: &str, bytes: u64, measured: &[Measured]) {
    let of = |wanted| {
        let found = measured.iter().find(|one| one.contestant == wanted);
        found.map_or((f64::NAN, f64::NAN), |one| (one.seconds, one.processor))
    };
    println!("| {cache} cache | s | MB/s | `verify` is faster | s of processors |");
    println!("|---|--:|--:|--:|--:|");
    for one in measured {
        let (name, seconds) = (one.contestant.name(), one.seconds);
        let rate = match one.contestant {
            Contestant::Doctor => String::new(),
            _ => format!("{:.0}", bytes as f64 / 1e6 / seconds),
        };
        let times = seconds / of(Contestant::Verify).0;
        let processor = one.processor;
        println!("| {name} | {seconds:.2} | {rate} | {times:.2} | {processor:.2} |");
    }
    let (ceiling, verify) = (of(Contestant::Ceiling), of(Contestant::Verify));
    println!(
        "\n`verify` reaches {:.0} % of the ceiling, by processors' time {:.0} %; `doctor` for sshd is {:.0} times faster than debsums.\n",
        100.0 * ceiling.0 / verify.0,
        100.0 * ceiling.1 / verify.1,
        of(Contestant::Debsums).0 / of(Contestant::Doctor).0
    );
}
