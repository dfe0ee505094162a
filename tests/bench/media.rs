//! `cargo xtask bench media`: kedge.iso and Debian's netboot installer in rescue mode from the same virtual
//! CD of a BMC, in one run: from power-on to a shell, to a running `xfs_repair`, and to the installer's first
//! dialogue. Prints a Markdown table, and draws tests/pictures/media.svg.
//!
//! The machines are QEMU's under TCG, one after the other: what a row takes over the same one from a local
//! CD is the link's, the rest is this computer's.

mod debian;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use debian::{Debian, FIRST_DIALOGUE};
use kedge_tests::chart::{Bar, Chart, Group, Hue};
use kedge_tests::{BOOT, Folder, Machine, Media, Medium, Pace, Running, out};

/// MiB of each machine: as much as the installer needs to be at its best.
const MEMORY: u32 = 1024;

/// The chart, from this crate's folder.
const CHART: &str = "pictures/media.svg";

/// What is looked at, and what it is called in the table.
const LINKS: [(&str, Pace); 3] = [
    ("local", Pace::FAST),
    ("250 kB/s, 100 ms", Pace::ipmi(250_000)),
    ("52 kB/s, 100 ms", Pace::ipmi(52_000)),
];

/// When somebody could begin to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    KedgeShell,
    KedgeXfsRepair,
    DebianDialogue,
}

impl Until {
    fn name(self) -> &'static str {
        match self {
            Self::KedgeShell => "kedge: a shell",
            Self::KedgeXfsRepair => "kedge: xfs_repair has run",
            Self::DebianDialogue => "Debian: first dialogue",
        }
    }

    fn hue(self) -> Hue {
        match self {
            Self::KedgeShell => Hue::Strong,
            Self::KedgeXfsRepair => Hue::Light,
            Self::DebianDialogue => Hue::Grey,
        }
    }
}

/// What was measured: everything from power-on on.
#[derive(Debug)]
struct Row {
    until: Until,
    seconds: f64,
    bytes: u64,
    reads: usize,
}

impl Row {
    /// What holds at this moment.
    fn now(until: Until, machine: &Running, media: &Media) -> Result<Row> {
        let seconds = machine
            .started()
            .elapsed()
            .context("the clock went backwards")?
            .as_secs_f64();
        let reads = media.reads()?;
        Ok(Row {
            until,
            seconds,
            bytes: reads.bytes(),
            reads: reads.0.len(),
        })
    }
}

fn main() -> Result<()> {
    let folder = Folder::new("bench.media")?;
    let iso = out::artefact("kedge.iso")?;
    let debian = Debian::make(&folder.folder("debian")?)?;
    println!(
        "\n| virtual CD | until | bytes read | reads | s | load of this computer |\n|---|---|--:|--:|--:|--:|"
    );
    let mut measured = Vec::new();
    for (link, pace) in LINKS {
        let mut rows = kedge(&folder, link, &iso, pace)?;
        print(link, &rows)?;
        let row = debian_rescue(&folder, link, &debian.iso, pace)?;
        print(link, &[&row])?;
        rows.push(row);
        measured.push((link, pace, rows));
    }
    println!();
    for (link, _, rows) in &measured {
        let seconds = |until| {
            rows.iter()
                .find(|row| row.until == until)
                .map(|row| row.seconds)
        };
        if let (Some(kedge), Some(debian)) =
            (seconds(Until::KedgeShell), seconds(Until::DebianDialogue))
        {
            println!("{link}: kedge is there {:.1} times faster", debian / kedge);
        }
    }
    println!("Debian's installer is {}", debian.version);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join(CHART);
    fs::write(&chart, draw(&measured).svg())
        .with_context(|| format!("writing {}", chart.display()))?;
    println!("drawn: tests/{CHART}");
    Ok(())
}

/// The chart: the slow links, since the local CD is there to tell what is this computer's.
fn draw(measured: &[(&str, Pace, Vec<Row>)]) -> Chart {
    let bar = |row: &Row| Bar {
        name: row.until.name().into(),
        seconds: row.seconds,
        note: format!("{:.0} s, {:.1} MB", row.seconds, row.bytes as f64 / 1e6),
        hue: row.until.hue(),
    };
    Chart {
        title: "From power-on, over a virtual CD with 100 ms a request".into(),
        groups: measured
            .iter()
            .filter_map(|(_, pace, rows)| {
                Some(Group {
                    name: format!("{} kB/s", pace.rate? / 1000),
                    bars: rows.iter().map(bar).collect(),
                })
            })
            .collect(),
    }
}

fn print(link: &str, rows: &[impl std::borrow::Borrow<Row>]) -> Result<()> {
    let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    for row in rows {
        let row = row.borrow();
        println!(
            "| {link} | {} | {} | {} | {:.0} | {load} |",
            row.until.name(),
            row.bytes,
            row.reads,
            row.seconds
        );
    }
    Ok(())
}

/// A machine that boots from this CD, the CD, and how long to wait for anything.
fn start(
    folder: &Folder,
    name: &str,
    link: &str,
    iso: &Path,
    pace: Pace,
) -> Result<(Running, Media, Duration)> {
    let name = format!("{name} {link}").replace([' ', '/', ','], "-");
    let media = Media::serve(&folder.folder(&name)?, "medium", iso, pace)?;
    let bytes = fs::metadata(iso)?.len();
    let patience = BOOT + Duration::from_secs(pace.rate.map_or(0, |rate| bytes * 2 / rate));
    let machine = Machine::new(folder, &name).memory(MEMORY);
    Ok((
        machine.medium(Medium::UsbCd, &media).start()?,
        media,
        patience,
    ))
}

/// kedge.iso to its shell, and on to xfs_repair.
fn kedge(folder: &Folder, link: &str, iso: &Path, pace: Pace) -> Result<Vec<Row>> {
    let (mut machine, media, patience) = start(folder, "kedge", link, iso, pace)?;
    machine.console()?.wait_for_shell(patience)?;
    let shell = Row::now(Until::KedgeShell, &machine, &media)?;
    for (command, says) in [
        ("pack load xfs_repair", "loaded xfs_repair"),
        ("xfs_repair -V", "xfs_repair version "),
    ] {
        let done = machine.console()?.run_within(command, patience)?;
        ensure!(
            done.status == 0 && done.text.contains(says),
            "`{command}` ended with {}: {}",
            done.status,
            done.text
        );
    }
    let repair = Row::now(Until::KedgeXfsRepair, &machine, &media)?;
    machine.power_off()?;
    Ok(vec![shell, repair])
}

/// Debian's installer to its first dialogue.
fn debian_rescue(folder: &Folder, link: &str, iso: &Path, pace: Pace) -> Result<Row> {
    let (mut machine, media, patience) = start(folder, "debian", link, iso, pace)?;
    machine.console()?.expect(FIRST_DIALOGUE, patience)?;
    Row::now(Until::DebianDialogue, &machine, &media)
}
