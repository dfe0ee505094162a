//! `peek`: shows bytes, says what they are, compares two files.
//!
//! | module | what it does |
//! |---|---|
//! | [`arguments`] | what was typed |
//! | [`source`] | files and disks, of which some sectors cannot be read |
//! | [`kind`], [`http`] | what bytes are; a header in front of a file |
//! | [`dump`] | hex and text |
//! | [`compare`], [`report`] | what differs, and how that is told |

mod arguments;
mod compare;
mod dump;
pub mod http;
pub mod kind;
mod report;
mod source;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use kedge_progress::Progress;

use arguments::{Command, Offset};
use dump::Style;
use http::{Chunks, Header};
use source::{Bytes, Error, Source};

/// What `kedge help peek` says.
pub const HELP: &str = "\
usage: peek FILE [OFFSET] [--length N] [--json]
       peek --body FILE > OUT
       peek --diff FILE GOOD [--block N] [--json]

Says what a file or disk is, and shows its bytes. Nothing is written to it.

  OFFSET      where to begin: 4096, 0x1000, 4K, 8s (sectors of 512); -512 is
              before the end. What begins there is told as well
  --length N  how many bytes are shown (512), or all
  --body      what is behind an HTTP header that was saved with it, to stdout
  --diff      where FILE differs from GOOD, and how: bits that flipped, blocks
              of zeroes, blocks that belong elsewhere, shifted, cut
  --block N   in blocks of this size (512), aligned
  --json      one object, without the bytes

  peek /dev/sda
  peek libcrypto.so.3 0x1000 --length 64
  peek --diff /mnt/usr/lib/x86_64-linux-gnu/libcrypto.so.3 good/libcrypto.so.3

What cannot be read is shown as such, and it goes on behind it.

Exit status: 0; 1 with --diff, they differ; 2 wrong use, or could not look.
";

/// Disks lose this much at a time.
const BLOCK: usize = 512;

/// Where a damaged file differs from a good one, and how: a line for each range of blocks.
pub fn differences(bad: &File, good: &File) -> Vec<String> {
    report::differences(&compare::compare(&bad, &good, BLOCK, &mut |_| ()), BLOCK)
}

/// As [`differences`], of what is in memory.
pub fn differences_of(bad: &[u8], good: &[u8]) -> Vec<String> {
    report::differences(&compare::compare(&bad, &good, BLOCK, &mut |_| ()), BLOCK)
}

/// Runs `peek`. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    let command = match arguments::parse(arguments) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("peek: {why} (kedge help peek says more)");
            return ExitCode::from(2);
        }
    };
    match run(&command) {
        Ok(code) => ExitCode::from(code),
        // That nobody reads it to the end (`| head`) is no failure.
        Err(Error::Stdout(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peek: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<u8, Error> {
    let mut out = BufWriter::new(io::stdout().lock());
    match command {
        Command::Show {
            path,
            offset,
            length,
            json,
        } => {
            let source = Source::open(path)?;
            let offset = match *offset {
                Offset::Start(offset) => offset,
                Offset::End(offset) => source.size().saturating_sub(offset),
            };
            if *json {
                out.write_all(report::kind_json(&source, offset).as_bytes())
            } else {
                show(&source, offset, *length, &mut out)
            }
            .and_then(|()| out.flush())
            .map_err(Error::Stdout)?;
            Ok(0)
        }
        Command::Body { path } => {
            let source = Source::open(path)?;
            let code = body(&source, &mut out)?;
            out.flush().map_err(Error::Stdout)?;
            Ok(code)
        }
        Command::Compare { paths, block, json } => {
            let [a, b] = paths;
            let (a, b) = (Source::open(a)?, Source::open(b)?);
            let mut progress = Progress::new("peek");
            progress.begin(a.size().min(b.size()));
            let found = compare::compare(&a, &b, *block, &mut |done| progress.set(done));
            progress.clear();
            let names = (show_path(&a.path), show_path(&b.path));
            let text = match json {
                true => report::comparison_json(&found, *block),
                false => report::comparison(&found, *block, (&names.0, &names.1)),
            };
            out.write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .map_err(Error::Stdout)?;
            Ok(u8::from(!found.is_same()))
        }
    }
}

fn show(source: &Source, offset: u64, length: u64, out: &mut impl Write) -> io::Result<()> {
    let name = show_path(&source.path);
    let kind = kind::at(source, 0);
    let size = source.size();
    writeln!(out, "{name}: {size} bytes, {}", kind.text)?;
    if let Some(body) = kind.body {
        writeln!(
            out,
            "to cut it out: peek --body {name} > OUT, or tail -c +{} {name} > OUT",
            body + 1
        )?;
    }
    if offset > 0 && offset < size {
        writeln!(
            out,
            "from {offset:#x} on: {}",
            kind::at(source, offset).text
        )?;
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let colour = io::stdout().is_terminal() && !dumb && std::env::var_os("NO_COLOR").is_none();
    dump::dump(source, offset, length, Style { colour }, out)?;
    let shown = offset.saturating_add(length);
    if shown < size {
        writeln!(
            out,
            "{} bytes more: --length all, or peek {name} {shown:#x}",
            size - shown
        )?;
    }
    Ok(())
}

/// Writes what is behind the header. Gives the exit status.
fn body(source: &Source, out: &mut impl Write) -> Result<u8, Error> {
    let name = show_path(&source.path);
    let Some(header) = Header::parse(&source.piece(0, http::LONGEST)) else {
        eprintln!("peek: there is no HTTP header in front of {name}");
        return Ok(2);
    };
    let (mut at, mut written) = (header.body as u64, 0);
    let end = header
        .length
        .map_or(u64::MAX, |length| at.saturating_add(length));
    let mut chunks = header.chunked.then(Chunks::default);
    loop {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 20);
        let mut buffer = vec![0; most];
        let count = source
            .read_at(at, &mut buffer)
            .map_err(|error| Error::Read {
                path: source.path.clone(),
                offset: at,
                source: error,
            })?;
        if count == 0 {
            break;
        }
        let mut write = |bytes: &[u8]| {
            written += bytes.len() as u64;
            out.write_all(bytes)
        };
        let mut done = Ok(());
        match &mut chunks {
            None => done = write(&buffer[..count]),
            Some(chunks) => {
                let taken = chunks.take(&buffer[..count], &mut |bytes| {
                    if done.is_ok() {
                        done = write(bytes);
                    }
                });
                if taken.is_none() {
                    eprintln!(
                        "peek: what is behind the header of {name} is not in chunks, as the header says"
                    );
                    return Ok(2);
                }
            }
        }
        done.map_err(Error::Stdout)?;
        at += count as u64;
    }
    if let Some(by) = &header.packed {
        eprintln!(
            "peek: what came out is still packed by {by}, as the header says: unpack it (gunzip, xz -d, zstd -d) for the file"
        );
    }
    let whole = chunks.is_none_or(|chunks| chunks.is_whole());
    let missing = header.length.filter(|&length| length > written);
    if let Some(length) = missing {
        eprintln!("peek: {name} is cut short: the header says {length} bytes, {written} are there");
    } else if !whole {
        eprintln!("peek: {name} is cut short: the last chunk is not there");
    }
    Ok(if missing.is_some() || !whole { 2 } else { 0 })
}

/// A path, as it may be shown on a terminal.
fn show_path(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
