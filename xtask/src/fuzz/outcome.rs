//! What libFuzzer says of a run, and the log and the table that are made of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

/// A run of one target, or several of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) executions: u64,
    pub(super) seconds: u64,
    /// Edges of the program that were seen: of its whole corpus, not of this run only.
    pub(super) edges: u64,
    /// The most memory, in MB.
    pub(super) memory: u64,
    pub(super) findings: u64,
}

/// What a run failed with.
pub(super) struct Finding {
    /// The input, when libFuzzer wrote it.
    pub(super) input: Option<PathBuf>,
    /// What was said: a panic, or libFuzzer's own word.
    pub(super) said: String,
}

impl Outcome {
    /// Out of what libFuzzer wrote.
    pub(super) fn of(said: &str, took: Duration, success: bool) -> (Outcome, Option<Finding>) {
        let finding = (!success).then(|| Finding {
            input: said.lines().find_map(|line| {
                let (_, path) = line.split_once("Test unit written to ")?;
                Some(PathBuf::from(path))
            }),
            said: reason(said),
        });
        let outcome = Outcome {
            // One that failed has no statistics; its lines count as well.
            executions: statistic(said, "number_of_executed_units").unwrap_or(counted(said)),
            seconds: took.as_secs().max(1),
            edges: edges(said),
            memory: statistic(said, "peak_rss_mb").unwrap_or(0),
            findings: u64::from(finding.is_some()),
        };
        (outcome, finding)
    }

    /// For whoever waits.
    pub(super) fn line(&self, name: &str) -> String {
        format!(
            "{name}: {} executions in {} s, {} edges, {} MB{}",
            self.executions,
            self.seconds,
            self.edges,
            self.memory,
            if self.findings > 0 { ", FAILED" } else { "" }
        )
    }

    fn add(&mut self, other: &Outcome) {
        self.executions += other.executions;
        self.seconds += other.seconds;
        self.edges = self.edges.max(other.edges);
        self.memory = self.memory.max(other.memory);
        self.findings += other.findings;
    }

    /// As a line of a log.
    fn write(&self, name: &str) -> String {
        let Outcome {
            executions,
            seconds,
            edges,
            memory,
            findings,
        } = self;
        format!("{name} {executions} {seconds} {edges} {memory} {findings}\n")
    }

    fn read(line: &str) -> Option<(String, Outcome)> {
        let (name, numbers) = line.split_once(' ')?;
        let numbers: Option<Vec<u64>> = numbers.split(' ').map(|n| n.parse().ok()).collect();
        let &[executions, seconds, edges, memory, findings] = numbers?.as_slice() else {
            return None;
        };
        let outcome = Outcome {
            executions,
            seconds,
            edges,
            memory,
            findings,
        };
        Some((name.into(), outcome))
    }
}

/// What came of each target.
#[derive(Default)]
pub(super) struct Table(BTreeMap<String, Outcome>);

impl Table {
    pub(super) fn add(&mut self, name: &str, outcome: &Outcome) {
        self.0.entry(name.into()).or_default().add(outcome);
    }

    /// Out of a log. A line that was cut off, or is none, is passed over.
    pub(super) fn read(log: &Path) -> anyhow::Result<Table> {
        let text = std::fs::read_to_string(log)
            .with_context(|| format!("cannot read {}", log.display()))?;
        let mut table = Table::default();
        for (name, outcome) in text.lines().filter_map(Outcome::read) {
            table.add(&name, &outcome);
        }
        Ok(table)
    }

    /// In Markdown, with a sum.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(
            "| target | executions | seconds | a second | edges | memory, MB | findings |\n\
             |---|--:|--:|--:|--:|--:|--:|\n",
        );
        let mut sum = Outcome::default();
        for (name, outcome) in &self.0 {
            sum.add(outcome);
            text += &row(name, outcome, &outcome.edges.to_string());
        }
        text + &row("all", &sum, "")
    }
}

fn row(name: &str, outcome: &Outcome, edges: &str) -> String {
    format!(
        "| {name} | {} | {} | {} | {edges} | {} | {} |\n",
        outcome.executions,
        outcome.seconds,
        outcome.executions / outcome.seconds.max(1),
        outcome.memory,
        outcome.findings
    )
}

/// Adds a line to a log.
pub(super) fn log(log: &Path, name: &str, outcome: &Outcome) -> anyhow::Result<()> {
    let opened = File::options().create(true).append(true).open(log);
    opened
        .and_then(|mut file| file.write_all(outcome.write(name).as_bytes()))
        .with_context(|| format!("cannot write {}", log.display()))
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

/// `#1024`, at the beginning of a line with a tab: the last one.
fn counted(said: &str) -> u64 {
    let counts = said.lines().filter_map(|line| {
        let (count, _) = line.strip_prefix('#')?.split_once('\t')?;
        count.parse().ok()
    });
    counts.max().unwrap_or(0)
}

/// `#1024 NEW    cov: 1234 ft: 2345 corp: …`, with a tab: the last one.
fn edges(said: &str) -> u64 {
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
    let first = lines.iter().position(|line| {
        ["panicked at", "ERROR: libFuzzer", "ERROR: AddressSanitizer"]
            .iter()
            .any(|word| line.contains(word))
    });
    let from = first.unwrap_or(lines.len().saturating_sub(20));
    lines[from..]
        .iter()
        .take(40)
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
        let (outcome, finding) = Outcome::of(SAID, Duration::from_millis(2500), false);
        let finding = finding.unwrap();
        assert_eq!(finding.input, Some("/x/crash-da39a3ee".into()));
        let said = finding.said;
        assert!(
            said.starts_with("thread '<unnamed>' (1) panicked"),
            "{said}"
        );
        assert!(said.contains("index out of bounds") && !said.contains("stat::"));
        let expected = Outcome {
            executions: 4711,
            seconds: 2,
            edges: 345,
            memory: 61,
            findings: 1,
        };
        assert_eq!(outcome, expected);
        let cut = SAID.split_once("stat::").unwrap().0;
        let (outcome, finding) = Outcome::of(cut, Duration::ZERO, true);
        assert_eq!((outcome.executions, outcome.seconds), (9, 1));
        assert!(finding.is_none());
    }

    #[test]
    fn a_log_becomes_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (outcome, _) = Outcome::of(SAID, Duration::from_secs(10), false);
        for name in ["elf", "dpkg", "elf"] {
            log(&path, name, &outcome).unwrap();
        }
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"elf 1 2").unwrap();
        let table = Table::read(&path).unwrap().markdown();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| dpkg | 4711 | 10 | 471 | 345 | 61 | 1 |",
                "| elf | 9422 | 20 | 471 | 345 | 61 | 2 |",
                "| all | 14133 | 30 | 471 |  | 61 | 3 |",
            ]
        );
    }
}
