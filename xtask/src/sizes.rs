//! `cargo xtask sizes`: the table of what costs what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use kedge_image::build::{Request, gather, make_packs};
use kedge_image::configuration::Configuration;
use kedge_image::host::{self, Need};
use kedge_image::out::Lock;
use kedge_image::sizes::{Sizes, measure};

use crate::progress::Terminal;

/// The slow link that everything is measured against: IPMI virtual media.
const BYTES_PER_SECOND: f64 = 250_000.0;
/// The budget of core in bytes: 8.5 MiB.
const BUDGET: u64 = 8_912_896;
/// The largest parts of a whole that are shown, unless all are asked for.
const PARTS_SHOWN: usize = 8;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Keep the table in this file, for a later --compare
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Show the difference to a table that --save kept
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
    /// Show every part, however small
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(
    request: &Request,
    arguments: &Arguments,
    progress: &Terminal,
) -> anyhow::Result<ExitCode> {
    let before = arguments.compare.as_deref().map(load).transpose()?;
    host::ensure(&[Need::Build], progress)?;
    let sizes = {
        let _lock = Lock::take(&request.root.join("target/build.lock"), progress)?;
        let mut inputs = gather(request, progress)?;
        let nothing = Configuration::default();
        let packs = make_packs(request, &nothing, &inputs.userland.tree, progress)?;
        packs.add_to(&mut inputs.userland.tree)?;
        measure(&inputs, &packs.index, &request.version)?
    };
    if let Some(path) = &arguments.save {
        let text = serde_json::to_string_pretty(&sizes)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&sizes)?);
    } else {
        print!("{}", table(&sizes, before.as_ref(), arguments.all));
    }
    Ok(ExitCode::SUCCESS)
}

fn load(path: &Path) -> anyhow::Result<Sizes> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; --save FILE makes one", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no table that --save kept", path.display()))
}

/// The table for people; a third column with differences where there is a table to compare with.
fn table(sizes: &Sizes, before: Option<&Sizes>, all: bool) -> String {
    let old: Option<BTreeMap<&str, u64>> = before.map(|sizes| {
        sizes
            .rows
            .iter()
            .map(|row| (row.name.as_str(), row.bytes))
            .collect()
    });
    let mut text = format!(
        "{:>10} {:>7}  as loaded; seconds at 250 kB/s\n",
        "bytes", "s"
    );
    let mut parts = 0;
    let line = |name: &str, bytes: u64, old_bytes: Option<u64>| {
        let change = match (&old, old_bytes) {
            (None, _) => String::new(),
            (Some(_), Some(old)) if old == bytes => format!("{:>10}  ", "="),
            (Some(_), Some(old)) => format!("{:>+10}  ", bytes as i128 - i128::from(old)),
            (Some(_), None) => format!("{:>10}  ", "new"),
        };
        format!(
            "{bytes:>10} {:>7.2}  {change}{name}\n",
            bytes as f64 / BYTES_PER_SECOND
        )
    };
    for row in &sizes.rows {
        parts = if row.is_part { parts + 1 } else { 0 };
        if parts > PARTS_SHOWN && !all {
            continue;
        }
        let mark = if row.is_estimate { " ~" } else { "" };
        let indent = if row.is_part { "    " } else { "" };
        let old_bytes = old
            .as_ref()
            .and_then(|old| old.get(row.name.as_str()).copied());
        text.push_str(&line(
            &format!("{indent}{}{mark}", row.name),
            row.bytes,
            old_bytes,
        ));
    }
    text.push_str(&line(
        "a BIOS boot loads",
        sizes.bios,
        before.map(|sizes| sizes.bios),
    ));
    text.push_str(&line(
        "a UEFI boot loads",
        sizes.uefi,
        before.map(|sizes| sizes.uefi),
    ));
    text.push_str(&line(
        "core, the larger of both",
        sizes.core(),
        before.map(Sizes::core),
    ));
    let left = i128::from(BUDGET) - i128::from(sizes.core());
    text.push_str(&format!(
        "{BUDGET:>10} {:>7.2}  the budget; {}\n",
        BUDGET as f64 / BYTES_PER_SECOND,
        if left >= 0 {
            format!("{left} bytes left")
        } else {
            format!("OVER by {} bytes", -left)
        }
    ));
    for row in &sizes.packs {
        let old = before.and_then(|old| old.packs.iter().find(|other| other.name == row.name));
        let name = format!("on demand: pack {}", row.name);
        text.push_str(&line(&name, row.bytes, old.map(|row| row.bytes)));
    }
    text.push_str("~ estimated: sizes before compression, scaled to what the whole costs\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_image::sizes::Row;

    fn sizes(busybox: u64) -> Sizes {
        let row = |name: &str, bytes, is_part| Row {
            name: name.into(),
            bytes,
            is_part,
            is_estimate: is_part,
        };
        Sizes {
            rows: vec![
                row("kernel", 5_000_000, false),
                row("kernel: network", 3_000_000, true),
                row("busybox", busybox, false),
            ],
            bios: 5_000_000 + busybox,
            uefi: 5_100_000 + busybox,
            packs: vec![row("storage", 8_900_000, false)],
        }
    }

    #[test]
    fn the_table_shows_seconds_and_what_is_left_of_the_budget() {
        let text = table(&sizes(900_000), None, false);
        assert!(text.contains("   5000000   20.00  kernel\n"), "{text}");
        assert!(
            text.contains("   3000000   12.00      kernel: network ~\n"),
            "{text}"
        );
        assert!(text.contains("2912896 bytes left"), "{text}");
        assert!(text.contains("35.60  on demand: pack storage"), "{text}");
        assert!(table(&sizes(9_000_000), None, false).contains("OVER by"));
    }

    #[test]
    fn a_comparison_shows_what_grew_and_what_is_new() {
        let mut before = sizes(900_000);
        before.rows.remove(1);
        let text = table(&sizes(900_250), Some(&before), false);
        assert!(text.contains("+250  busybox"), "{text}");
        assert!(text.contains("=  kernel\n"), "{text}");
        assert!(text.contains("new      kernel: network"), "{text}");
    }
}
