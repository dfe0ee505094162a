//! `qemu.sh`: the exact command of a machine, to read and to run by hand.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::segment::Segment;

/// Writes the exact command to `qemu.sh`.
pub(crate) fn write_command(
    folder: &Path,
    arguments: &[String],
    taps: &[(Segment, String)],
) -> Result<()> {
    let mut text = "#!/bin/sh\n\
        # The command of this machine. Its consoles were sockets that the test listened on:\n\
        # to run it by hand, put `stdio` in place of one and `null` in place of the others.\n"
        .to_owned();
    for (segment, tap) in taps {
        let segment = segment.device();
        let _ = writeln!(
            text,
            "# {tap} was a port of the bridge {segment} in the test's own network namespace."
        );
    }
    let _ = write!(
        text,
        "cd {} &&\nexec qemu-system-x86_64",
        quoted(&folder.display().to_string())
    );
    for argument in arguments {
        let separator = if argument.starts_with('-') {
            " \\\n "
        } else {
            ""
        };
        let _ = write!(text, "{separator} {}", quoted(argument));
    }
    text.push('\n');
    let path = folder.join("qemu.sh");
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_=.,:/+".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("file=a.img,id=x"), "file=a.img,id=x");
        assert_eq!(quoted("a b'c"), "'a b'\\''c'");
        assert_eq!(quoted(""), "''");
    }
}
