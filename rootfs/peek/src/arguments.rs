//! What was typed.

use std::path::PathBuf;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// What it is, and its bytes.
    Show {
        path: PathBuf,
        offset: Offset,
        length: u64,
        json: bool,
    },
    /// What is behind an HTTP header, to stdout.
    Body { path: PathBuf },
    /// What differs.
    Compare {
        paths: [PathBuf; 2],
        block: usize,
        json: bool,
    },
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offset {
    Start(u64),
    /// Before the end.
    End(u64),
}

/// What is shown without `--length`: a sector.
const LENGTH: u64 = 512;
/// Blocks of `--diff` without `--block`.
const BLOCK: u64 = 512;

pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let (mut words, mut length, mut block) = (Vec::new(), None, None);
    let (mut json, mut body, mut compare) = (false, false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (option, mut attached) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ => (argument.as_str(), None),
        };
        let mut value = |what: &str| {
            let value = attached.take().or_else(|| rest.next().map(String::as_str));
            value.ok_or(format!("{option} needs {what}"))
        };
        match option {
            "--length" | "-n" => {
                length = Some(match value("a number of bytes, or all")? {
                    "all" => u64::MAX,
                    text => number(text).ok_or_else(|| no_number(text))?,
                });
            }
            "--block" => {
                let text = value("a number of bytes")?;
                let sound = |size: &u64| size.is_power_of_two() && (64..=1 << 20).contains(size);
                let size = number(text).filter(sound);
                block = Some(size.ok_or("--block takes a power of two from 64 to 1M")?);
            }
            "--diff" => compare = true,
            "--body" => body = true,
            "--json" => json = true,
            // An offset before the end.
            option if option.starts_with('-') && number(&option[1..]).is_none() => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            _ => words.push(argument.as_str()),
        }
        if attached.is_some() {
            return Err(format!("{option} takes no value"));
        }
    }
    if block.is_some() && !compare {
        return Err("--block belongs to --diff".into());
    }
    if (compare || body) && length.is_some() {
        return Err("--length belongs to no other option".into());
    }
    match (words.as_slice(), compare, body) {
        ([a, b], true, false) => Ok(Command::Compare {
            paths: [a.into(), b.into()],
            block: block.unwrap_or(BLOCK) as usize,
            json,
        }),
        (_, true, _) => Err("--diff takes two files: the one in question, and a good one".into()),
        ([path], false, true) if !json => Ok(Command::Body { path: path.into() }),
        (_, false, true) => Err("--body takes one file".into()),
        ([path], false, false) => Ok(Command::Show {
            path: path.into(),
            offset: Offset::Start(0),
            length: length.unwrap_or(LENGTH),
            json,
        }),
        ([path, at], false, false) => Ok(Command::Show {
            path: path.into(),
            offset: offset(at).ok_or_else(|| no_number(at))?,
            length: length.unwrap_or(LENGTH),
            json,
        }),
        ([], ..) => Err("peek at what? a file or a disk".into()),
        _ => Err("one file and one offset".into()),
    }
}

fn no_number(text: &str) -> String {
    let text = text.escape_debug();
    format!("'{text}' is no number of bytes: 4096, 0x1000, 4K, 8s (sectors)")
}

fn offset(text: &str) -> Option<Offset> {
    match text.strip_prefix('-') {
        Some(text) => number(text).map(Offset::End),
        None => number(text).map(Offset::Start),
    }
}

/// Decimal or hexadecimal, with K, M, G, T (powers of 1024) or s (sectors of 512).
fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let digits = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return digits.then(|| u64::from_str_radix(hex, 16).ok())?;
    }
    let (digits, factor) = match text.bytes().last()? {
        b's' => (&text[..text.len() - 1], 512),
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        b't' | b'T' => (&text[..text.len() - 1], 1 << 40),
        _ => (text, 1),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(factor))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        parse(&words)
    }

    #[test]
    fn offsets_are_written_as_one_likes() {
        for (text, expected) in [
            ("0x1F", Offset::Start(31)),
            ("2048s", Offset::Start(1 << 20)),
            ("3M", Offset::Start(3 << 20)),
            ("-16", Offset::End(16)),
            ("-0x10", Offset::End(16)),
        ] {
            let Ok(Command::Show { offset, length, .. }) = typed(&format!("f {text}")) else {
                panic!("{text}");
            };
            assert_eq!((offset, length), (expected, 512));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "f x",
            "f 1 2",
            "f 0x",
            "f 99999999999T",
            "f --block 512",
            "--diff f",
            "--diff f g h",
            "--diff f g --block 500",
            "--diff f g --length 3",
            "--body f g",
            "--wat f",
            "f --json=x",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
        assert!(matches!(
            typed("--diff f g --block=4K"),
            Ok(Command::Compare { block: 4096, .. })
        ));
    }
}
