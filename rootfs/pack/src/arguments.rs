//! What was typed.

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `pack list`.
    List {
        name: Option<String>,
        json: bool,
        from: Option<String>,
    },
    /// `pack load`.
    Load {
        names: Vec<String>,
        from: Option<String>,
        dry_run: bool,
    },
    /// `pack service`: what init runs.
    Service,
}

pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let (mut names, mut from) = (Vec::new(), None);
    let (mut json, mut dry_run) = (false, false);
    let mut rest = arguments.iter();
    let verb = rest.next().map_or("list", String::as_str);
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--from" => {
                let value = rest.next().ok_or("--from needs a URL, device or folder")?;
                from = Some(value.clone());
            }
            "--json" if verb == "list" => json = true,
            "--dry-run" if verb == "load" => dry_run = true,
            option if option.starts_with('-') => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            // As kedge.pack= has it.
            several => names.extend(several.split(',').map(str::to_string)),
        }
    }
    match verb {
        "list" if names.len() <= 1 => Ok(Command::List {
            name: names.pop(),
            json,
            from,
        }),
        "list" => Err("list takes one name".into()),
        "load" if names.is_empty() => Err("load what? pack list shows what there is".into()),
        "load" => Ok(Command::Load {
            names,
            from,
            dry_run,
        }),
        "service" if names.is_empty() && from.is_none() => Ok(Command::Service),
        other => Err(format!("no '{}' here: list or load", other.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        parse(&words)
    }

    #[test]
    fn names_may_be_parted_by_blanks_and_commas() {
        let Ok(Command::Load { names, from, .. }) = typed("load a,b --from /dev/sr0 c") else {
            panic!();
        };
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(from.as_deref(), Some("/dev/sr0"));
        assert!(matches!(typed(""), Ok(Command::List { name: None, .. })));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "load",
            "load --json a",
            "list a b",
            "frob",
            "list --from",
            "service x",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
    }
}
