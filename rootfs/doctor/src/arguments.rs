//! What was typed.

use std::path::PathBuf;

/// What `kedge help doctor` says.
pub const HELP: &str = "\
usage: doctor [ROOT [FILE...]] [--json]
       doctor --why FILE [ROOT]
       doctor --uses LIBRARY [ROOT]

Says what is broken in the system that is mounted at ROOT, the most probable
cause first, how it knows, and what to type next. Nothing is changed. Without
ROOT, what was mounted last.

With FILE only what is wrong with that program: itself, its interpreter, all
libraries as its dynamic linker would find them, PAM modules, name services,
OpenSSL's providers; each against the package database and as an ELF file.

  --why FILE       which programs load FILE, and through which libraries
  --uses LIBRARY   the programs that die when LIBRARY is broken, a line each
  --json           one object: root, files, troubles, complaints; of --why a
                   tree: path, above, broken, needed_by

  doctor /mnt
  doctor /mnt /usr/sbin/sshd
  doctor --uses libcrypto.so.3 /mnt
  verify /mnt                              every file of every package

Exit status: 0 nothing wrong; 1 damage; 2 wrong use, or could not look;
130 ctrl-C.
";

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// How it is used.
    Help,
    /// What is broken: in all, or in these programs.
    Broken(Vec<PathBuf>),
    /// Who needs this file, and through whom.
    Why(PathBuf),
    /// Which programs die with this library.
    Uses(PathBuf),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) root: Option<PathBuf>,
    pub(crate) question: Question,
    pub(crate) json: bool,
}

pub(crate) fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let (mut paths, mut asked) = (Vec::new(), None);
    let mut json = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" => json = true,
            "-h" | "--help" => asked = Some(Question::Help),
            "--why" | "--uses" if asked.is_some() => {
                return Err("one question at a time: --why FILE or --uses LIBRARY".into());
            }
            option @ ("--why" | "--uses") => {
                let is_path = |file: &&String| !file.is_empty() && !file.starts_with('-');
                let file = rest.next().filter(is_path);
                let file = PathBuf::from(file.ok_or(format!("{option} of which file?"))?);
                asked = Some(match option {
                    "--why" => Question::Why(file),
                    _ => Question::Uses(file),
                });
            }
            "" => return Err("an empty name is no file".into()),
            option if option.starts_with('-') => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            path => paths.push(PathBuf::from(path)),
        }
    }
    let mut paths = paths.into_iter();
    let root = paths.next();
    let files: Vec<PathBuf> = paths.collect();
    let question = match asked {
        Some(Question::Help) => Question::Help,
        Some(_) if !files.is_empty() => return Err("one ROOT only".into()),
        Some(question) => question,
        None => Question::Broken(files),
    };
    Ok(Arguments {
        root,
        question,
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        parse(&words)
    }

    #[test]
    fn the_first_path_is_the_root() {
        let arguments = typed("/mnt --json /bin/a /bin/b").unwrap();
        assert_eq!(arguments.root, Some("/mnt".into()));
        let files = vec!["/bin/a".into(), "/bin/b".into()];
        assert_eq!(arguments.question, Question::Broken(files));
        let arguments = typed("--uses libz.so.1 /mnt").unwrap();
        assert_eq!(arguments.root, Some("/mnt".into()));
        assert_eq!(arguments.question, Question::Uses("libz.so.1".into()));
        assert_eq!(typed("").unwrap().question, Question::Broken(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--why",
            "--why --json a",
            "--why a --uses b",
            "--why a /mnt /x",
            "--frob",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
        for line in ["-h", "/mnt /bin/a --help"] {
            assert_eq!(typed(line).unwrap().question, Question::Help, "{line}");
        }
    }
}
