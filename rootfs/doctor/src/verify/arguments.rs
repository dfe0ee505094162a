//! What was typed.

use std::path::PathBuf;

/// What `kedge help verify` says.
pub const HELP: &str = "\
usage: verify [ROOT] [--json]

Compares every file of every installed package with what the package database
of ROOT (dpkg, rpm, pacman, apk) says: content, size, type, mode, owner, link
targets, capabilities. ROOT is where the system is mounted; without it, what
was mounted last. Nothing is changed. Configuration files may differ.

  --json   one object: root, files, bytes, damaged, complaints; after ctrl-C:
           root, damaged (so far), interrupted

  verify /mnt
  verify /mnt --json > /tmp/damage.json
  repair /mnt --all-damaged --dry-run      what could be put back

Exit status: 0 all as it must be; 1 damage; 2 wrong use, or no damage but not
all could be looked at; 130 ctrl-C.
";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) root: Option<PathBuf>,
    pub(super) json: bool,
}

pub(super) fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments {
        root: None,
        json: false,
    };
    for argument in arguments {
        match argument.as_str() {
            "--json" => parsed.json = true,
            option if option.starts_with('-') => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            "" => return Err("an empty name is no folder".into()),
            root if parsed.root.is_none() => parsed.root = Some(root.into()),
            other => {
                let other = other.escape_debug();
                return Err(format!("one ROOT only, so what is '{other}'?"));
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_root_and_one_flag() {
        let typed = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
            parse(&words)
        };
        let arguments = typed("--json /mnt").unwrap();
        assert!(arguments.json && arguments.root == Some("/mnt".into()));
        assert_eq!(typed("").unwrap().root, None);
        for line in ["/mnt /usr", "--all"] {
            assert!(typed(line).is_err(), "{line}");
        }
    }
}
