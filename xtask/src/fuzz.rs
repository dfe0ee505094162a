//! `cargo xtask fuzz`: the targets of tests/fuzz under libFuzzer, which needs a nightly toolchain.
//!
//! What is built, what was found interesting and what failed is kept in `~/.cache/kedge/fuzz`, so that a second run begins
//! where the first one ended; the kept corpus in the checkout is only read.

mod outcome;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use kedge_image::build::Request;
use kedge_image::cache::Cache;
use kedge_image::program::end_with_parent;

use crate::cargo;
use outcome::{Finding, Outcome, Table};

/// What kedge is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How the folders are called in which targets write; the number of the process follows.
const SCRATCH: &str = "kedge-fuzz-";
/// The most time, in seconds, that reading anything may take, with everything else that this computer does meanwhile.
const LONGEST: &str = "20";
/// What libFuzzer makes up at most, in bytes. Larger files of the corpus are still read.
const LARGEST: &str = "16384";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these targets
    names: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often all of them run, one after the other; each round builds on what the ones before found interesting
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// What else is looked for
    #[arg(long, value_enum, default_value_t = Sanitizer::None)]
    sanitizer: Sanitizer,
    /// Add what each run came to to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Run nothing: print the table of such a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "log"])]
    table: Option<PathBuf>,
    /// How many run at the same time (every processor, if not given)
    #[arg(long)]
    jobs: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sanitizer {
    /// Panics, hangs, and much memory: safe code reads here
    None,
    /// Also what unsafe code and libraries of C do to memory, at half the speed
    Address,
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Sanitizer::None => "none",
            Sanitizer::Address => "address",
        }
    }

    /// The most memory, in MB, that reading anything of the corpus's size may take: a sanitizer keeps what was freed.
    fn memory(self) -> u32 {
        match self {
            Sanitizer::None => 512,
            Sanitizer::Address => 1024,
        }
    }
}

/// Where everything is.
struct Place {
    /// The crate of libFuzzer's programs.
    programs: PathBuf,
    /// tests/fuzz/corpus.
    kept: PathBuf,
    /// ~/.cache/kedge/fuzz.
    cache: PathBuf,
    /// What the targets write: in memory, where that is there.
    scratch: PathBuf,
    sanitizer: Sanitizer,
}

pub(crate) fn run(request: &Request, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(log) = &arguments.table {
        print!("{}", Table::read(log)?.markdown());
        return Ok(ExitCode::SUCCESS);
    }
    if !has_nightly() {
        eprintln!(
            "note: no nightly toolchain is there, which libFuzzer needs; nothing was fuzzed. `rustup toolchain install nightly` \
             gets one. The kept corpus runs with the ordinary tests."
        );
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::new(&request.root, arguments.sanitizer)?;
    let known = place.targets()?;
    for name in &arguments.names {
        ensure!(
            known.contains(name),
            "no target is called '{name}': {}",
            known.join(", ")
        );
    }
    let names = match arguments.names.is_empty() {
        true => known,
        false => arguments.names.clone(),
    };
    place.install()?;
    place.build(&names)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(processors).max(1);
    let rounds = std::iter::repeat_n(&names, arguments.rounds as usize);
    let queue: Mutex<VecDeque<&String>> = Mutex::new(rounds.flatten().collect());
    let results = Mutex::new((Table::default(), Vec::new()));
    let failed = std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            loop {
                let next = queue
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some(name) = next else {
                    return Ok(());
                };
                let (outcome, finding) = place.fuzz(name, arguments.seconds)?;
                eprintln!("{}", outcome.line(name));
                if let Some(log) = &arguments.log {
                    outcome::log(log, name, &outcome)?;
                }
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.0.add(name, &outcome);
                if let Some(finding) = finding {
                    say(name, &finding);
                    results.1.push((name.clone(), finding));
                }
            }
        };
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| thread.join());
        ends.filter_map(|end| match end {
            Ok(end) => end.err(),
            Err(_) => Some(anyhow::anyhow!("a thread that watches libFuzzer died")),
        })
        .next()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let (table, findings) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("{}", table.markdown());
    for (name, finding) in &findings {
        say(name, finding);
    }
    Ok(match findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What failed, and what to do.
fn say(name: &str, finding: &Finding) {
    eprintln!("\n{name} failed:\n{}", finding.said);
    if let Some(input) = &finding.input {
        eprintln!(
            "The input is {}; when it is put right, keep it: cp it to tests/fuzz/corpus/{name}/",
            input.display()
        );
    }
}

fn has_nightly() -> bool {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", "nightly", "rustc", "--version"]);
    let status = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// Removes what runs left that were killed.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
        let process = process.and_then(|number| number.parse::<u32>().ok());
        if process.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Place {
    fn new(root: &Path, sanitizer: Sanitizer) -> anyhow::Result<Place> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        sweep(&base);
        let scratch = base.join(format!("{SCRATCH}{}", std::process::id()));
        std::fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        Ok(Place {
            programs: root.join("tests/fuzz/cargo-fuzz"),
            kept: root.join("tests/fuzz/corpus"),
            cache: Cache::open()?.folder("fuzz")?,
            scratch,
            sanitizer,
        })
    }

    /// By the kept corpus, which has a folder for each.
    fn targets(&self) -> anyhow::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.kept)
            .with_context(|| format!("cannot read {}", self.kept.display()))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    fn tool(&self) -> PathBuf {
        self.cache.join("bin/cargo-fuzz")
    }

    /// Of one sanitizer only: what is built for another has other flags, and would be built anew each time.
    fn target(&self) -> PathBuf {
        let name = self.sanitizer.name();
        self.cache.join(format!("target-{name}"))
    }

    /// cargo-fuzz, when it is not there yet.
    fn install(&self) -> anyhow::Result<()> {
        if self.tool().exists() {
            return Ok(());
        }
        eprintln!("installing cargo-fuzz into {}", self.cache.display());
        let status = end_with_parent(&mut Command::new(cargo()))
            .args(["install", "--quiet", "--locked", "cargo-fuzz", "--root"])
            .arg(&self.cache)
            .env("CARGO_TARGET_DIR", self.cache.join("target-cargo-fuzz"))
            .status()
            .context("cannot start cargo")?;
        ensure!(
            status.success(),
            "cargo could not install cargo-fuzz (its message is above)"
        );
        Ok(())
    }

    fn build(&self, names: &[String]) -> anyhow::Result<()> {
        eprintln!("building {} targets", names.len());
        // One at a time is how cargo-fuzz takes them; all at once where all are wanted.
        let each: Vec<Option<&String>> = match names {
            [_, _, ..] => vec![None],
            names => names.iter().map(Some).collect(),
        };
        for name in each {
            let mut command = Command::new("rustup");
            command
                .args(["run", "nightly"])
                .arg(self.tool())
                .args(["fuzz", "build", "--fuzz-dir", "."])
                .args(["--target", TARGET, "--sanitizer", self.sanitizer.name()])
                .args(name)
                .env("CARGO_TARGET_DIR", self.target())
                .current_dir(&self.programs);
            // What cargo said of the stable toolchain that runs this.
            for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"] {
                command.env_remove(variable);
            }
            let status = end_with_parent(&mut command)
                .status()
                .context("cannot start rustup")?;
            ensure!(
                status.success(),
                "the fuzz targets could not be built (the reason is above)"
            );
        }
        Ok(())
    }

    /// Where cargo-fuzz built a program.
    fn program(&self, name: &str) -> PathBuf {
        self.target().join(TARGET).join("release").join(name)
    }

    fn fuzz(&self, name: &str, seconds: u64) -> anyhow::Result<(Outcome, Option<Finding>)> {
        let made = |kind: &str| -> anyhow::Result<PathBuf> {
            let folder = self.cache.join(kind).join(name);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            Ok(folder)
        };
        let (corpus, failures) = (made("corpus")?, made("failures")?);
        let program = self.program(name);
        let mut command = Command::new(&program);
        command
            .args([&corpus, &self.kept.join(name)])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg(format!("-rss_limit_mb={}", self.sanitizer.memory()))
            // At once, which only a sanitizer sees.
            .arg("-malloc_limit_mb=256")
            .arg(format!("-timeout={LONGEST}"))
            .arg(format!("-max_len={LARGEST}"))
            .args(["-print_final_stats=1", "-close_fd_mask=1"])
            .env("TMPDIR", &self.scratch)
            .stdin(Stdio::null());
        let began = Instant::now();
        let output = end_with_parent(&mut command)
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(Outcome::of(&said, began.elapsed(), output.status.success()))
    }
}
