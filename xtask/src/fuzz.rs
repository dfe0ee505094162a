//! `cargo xtask fuzz`: the targets of tests/fuzz under libFuzzer, which needs a nightly toolchain.
//!
//! What is built, what was found interesting and what failed is kept in `~/.cache/kedge/fuzz`, so that a second run begins
//! where the first one ended; the kept corpus in the checkout is only read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use kedge_image::build::Request;
use kedge_image::cache::Cache;
use kedge_image::program::end_with_parent;

use crate::cargo;

/// The most memory, in MB, that reading anything of the corpus's size may take.
const MEMORY: &str = "512";
/// And the most time, in seconds, with everything else that this computer does meanwhile.
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
    /// How many run at the same time (every processor, if not given)
    #[arg(long)]
    jobs: Option<usize>,
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
}

/// What a run of one target came to.
struct Outcome {
    name: String,
    executions: u64,
    seconds: u64,
    coverage: u64,
    peak: u64,
    /// The input that failed, and what was said.
    found: Option<(Option<PathBuf>, String)>,
}

pub(crate) fn run(request: &Request, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if !has_nightly() {
        eprintln!(
            "note: no nightly toolchain is there, which libFuzzer needs; nothing was fuzzed. `rustup toolchain install nightly` \
             gets one. The kept corpus runs with the ordinary tests."
        );
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::new(&request.root)?;
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
    let queue = Mutex::new(VecDeque::from(names));
    let outcomes = Mutex::new(Vec::new());
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
                let outcome = place.fuzz(&name, arguments.seconds)?;
                eprintln!("{}", outcome.line());
                outcomes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(outcome);
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
    let _ = std::fs::remove_dir_all(&place.scratch);
    if let Some(error) = failed {
        return Err(error);
    }
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    print(&outcomes);
    let mut code = ExitCode::SUCCESS;
    for outcome in &outcomes {
        if let Some((input, said)) = &outcome.found {
            code = ExitCode::FAILURE;
            eprintln!("\n{} failed:\n{said}", outcome.name);
            if let Some(input) = input {
                eprintln!(
                    "The input is {}; when it is put right, keep it: cp it to tests/fuzz/corpus/{}/",
                    input.display(),
                    outcome.name
                );
            }
        }
    }
    Ok(code)
}

fn has_nightly() -> bool {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", "nightly", "rustc", "--version"]);
    let status = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Place {
    fn new(root: &Path) -> anyhow::Result<Place> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let scratch = base.join(format!("kedge-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        Ok(Place {
            programs: root.join("tests/fuzz/cargo-fuzz"),
            kept: root.join("tests/fuzz/corpus"),
            cache: Cache::open()?.folder("fuzz")?,
            scratch,
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

    /// cargo-fuzz, when it is not there yet.
    fn install(&self) -> anyhow::Result<()> {
        if self.tool().exists() {
            return Ok(());
        }
        eprintln!("installing cargo-fuzz into {}", self.cache.display());
        let status = end_with_parent(&mut Command::new(cargo()))
            .args(["install", "--quiet", "--locked", "cargo-fuzz", "--root"])
            .arg(&self.cache)
            .env("CARGO_TARGET_DIR", self.cache.join("target"))
            .status()
            .context("cannot start cargo")?;
        ensure!(
            status.success(),
            "cargo could not install cargo-fuzz (its message is above)"
        );
        Ok(())
    }

    /// cargo-fuzz with the nightly toolchain.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("rustup");
        command
            .args(["run", "nightly"])
            .arg(self.tool())
            .args(["fuzz", verb]);
        // What cargo said of the stable toolchain that runs this.
        for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"] {
            command.env_remove(variable);
        }
        command
            .current_dir(&self.programs)
            .env("CARGO_TARGET_DIR", self.cache.join("target"))
            .env("TMPDIR", &self.scratch)
            .args(["--fuzz-dir", "."])
            // Safe code reads here; what a sanitizer of memory would see are panics already, at half the speed.
            .args(["--sanitizer", "none"]);
        command
    }

    fn build(&self, names: &[String]) -> anyhow::Result<()> {
        eprintln!("building {} targets", names.len());
        // One at a time is how cargo-fuzz takes them; all at once where all are wanted.
        let each: Vec<Option<&String>> = match names {
            [_, _, ..] => vec![None],
            names => names.iter().map(Some).collect(),
        };
        for name in each {
            let mut command = self.command("build");
            command.args(name);
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

    fn fuzz(&self, name: &str, seconds: u64) -> anyhow::Result<Outcome> {
        let made = |kind: &str| -> anyhow::Result<PathBuf> {
            let folder = self.cache.join(kind).join(name);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            Ok(folder)
        };
        let (corpus, failures) = (made("corpus")?, made("failures")?);
        let mut command = self.command("run");
        command
            .arg(name)
            .args([&corpus, &self.kept.join(name)])
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-timeout={LONGEST}"))
            .arg(format!("-max_len={LARGEST}"))
            .args(["-print_final_stats=1", "-close_fd_mask=1"])
            .stdin(Stdio::null());
        let began = Instant::now();
        let output = end_with_parent(&mut command)
            .output()
            .context("cannot start rustup")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let found = (!output.status.success()).then(|| {
            let input = said.lines().find_map(|line| {
                line.split_once("Test unit written to ")
                    .map(|(_, path)| PathBuf::from(path))
            });
            (input, reason(&said))
        });
        Ok(Outcome {
            name: name.into(),
            executions: statistic(&said, "number_of_executed_units").unwrap_or(0),
            seconds: began.elapsed().max(Duration::from_secs(1)).as_secs(),
            coverage: coverage(&said),
            peak: statistic(&said, "peak_rss_mb").unwrap_or(0),
            found,
        })
    }
}

impl Outcome {
    fn line(&self) -> String {
        format!(
            "{}: {} executions in {} s, {} edges, {} MB{}",
            self.name,
            self.executions,
            self.seconds,
            self.coverage,
            self.peak,
            if self.found.is_some() { ", FAILED" } else { "" }
        )
    }
}

/// A Markdown table on stdout.
fn print(outcomes: &[Outcome]) {
    println!("| target | executions | seconds | a second | edges | memory, MB | findings |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for outcome in outcomes {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            outcome.name,
            outcome.executions,
            outcome.seconds,
            outcome.executions / outcome.seconds.max(1),
            outcome.coverage,
            outcome.peak,
            u8::from(outcome.found.is_some())
        );
    }
}

/// `stat::peak_rss_mb:                 61`
fn statistic(said: &str, name: &str) -> Option<u64> {
    said.lines().find_map(|line| {
        let value = line
            .strip_prefix("stat::")?
            .strip_prefix(name)?
            .strip_prefix(':')?;
        value.trim().parse().ok()
    })
}

/// `#1024 NEW    cov: 1234 ft: 2345 corp: …`, with a tab: the last one.
fn coverage(said: &str) -> u64 {
    let counts = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split(' ').next()?.parse().ok()
    });
    counts.max().unwrap_or(0)
}

/// The panic, or what libFuzzer says: without its statistics.
fn reason(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| {
            !line.starts_with('#') && !line.starts_with("INFO:") && !line.starts_with("stat::")
        })
        .collect();
    let first = lines
        .iter()
        .position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    let from = first.unwrap_or(lines.len().saturating_sub(20));
    lines[from..]
        .iter()
        .take(20)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libFuzzer wrote it.
    const SAID: &str = "\
INFO: Seed: 1
#2\tINITED cov: 120 ft: 121 corp: 1/1b exec/s: 0 rss: 40Mb
#9\tNEW    cov: 345 ft: 400 corp: 2/3b lim: 4 exec/s: 0 rss: 40Mb L: 2/2 MS: 1 ChangeBit-
thread '<unnamed>' (1) panicked at src/lib.rs:1:1:
index out of bounds
==1== ERROR: libFuzzer: deadly signal
artifact_prefix='/x/'; Test unit written to /x/crash-da39a3ee
stat::number_of_executed_units: 4711
stat::peak_rss_mb:              61
";

    #[test]
    fn what_libfuzzer_says_is_understood() {
        assert_eq!(statistic(SAID, "number_of_executed_units"), Some(4711));
        assert_eq!(statistic(SAID, "peak_rss_mb"), Some(61));
        assert_eq!(coverage(SAID), 345);
        let reason = reason(SAID);
        assert!(
            reason.starts_with("thread '<unnamed>' (1) panicked"),
            "{reason}"
        );
        assert!(
            reason.contains("index out of bounds") && !reason.contains("stat::"),
            "{reason}"
        );
    }
}
