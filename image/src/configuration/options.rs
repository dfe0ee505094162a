//! What the operator asks for in the options of `cargo xtask stamp`: fields of `kedge.toml`, and words of
//! any kind.

use std::path::PathBuf;

use kedge_settings::NAMES;
use kedge_settings::cmdline::{Argument, arguments};

use super::{Configuration, Error, Place, Wish, file};

/// The options, as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Files of public keys.
    pub ssh_keys: Vec<PathBuf>,
    /// The file of the host's key.
    pub host_key: Option<PathBuf>,
    /// The host's name.
    pub hostname: Option<String>,
    /// Values of `ip=`.
    pub ip: Vec<String>,
    /// Certificate authorities' files.
    pub root_ca: Vec<PathBuf>,
    /// Words of the kernel's command line, several in each.
    pub command_line: Vec<String>,
}

/// A word of the kernel's own, and its value.
pub type KernelWord = (String, Option<String>);

/// Why words cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A word for what runs in the image, but an unknown one.
    #[error("{0} is not a word that kedge knows; it knows {known}", known = NAMES.join(", "))]
    Unknown(String),
    /// A word that is nothing without a value.
    #[error("{0} needs a value: {0}=...")]
    NoValue(String),
    /// What follows it would be lost.
    #[error(
        "\"--\" ends a kernel's command line, and kedge's init takes no arguments; leave it out"
    )]
    TwoDashes,
    /// An odd number of double quotes.
    #[error("{0:?} has a double quote without another")]
    Quote(String),
}

impl Configuration {
    /// Checks the options. Words that the image reads become the configuration's; what remains is the
    /// kernel's, not judged.
    ///
    /// # Errors
    /// At the first thing that cannot go into an image, with its option.
    pub fn from_options(options: &Options) -> Result<(Configuration, Vec<KernelWord>), Error> {
        let mut wishes = file::Wishes {
            ssh_key_files: wished("--ssh-key", &options.ssh_keys),
            host_key: wished("--host-key", options.host_key.as_slice()).pop(),
            root_ca: wished("--root-ca", &options.root_ca),
            ..file::Wishes::default()
        };
        let names = wished("--hostname", options.hostname.as_slice());
        let addresses = wished("--ip", &options.ip);
        wishes
            .words
            .extend(names.into_iter().map(|wish| ("kedge.hostname", wish)));
        wishes
            .words
            .extend(addresses.into_iter().map(|wish| ("ip", wish)));
        let mut kernel = Vec::new();
        for line in wished("--cmdline", &options.command_line) {
            for word in split(&line.value).map_err(|why| line.wrong(why))? {
                match own(&word).map_err(|why| line.wrong(why))? {
                    Word::Image(name, value) => wishes.words.push((
                        name,
                        Wish {
                            value,
                            place: line.place.clone(),
                        },
                    )),
                    Word::Kernel(name, value) => kernel.push((name, value)),
                }
            }
        }
        Ok((Configuration::judge(&wishes)?, kernel))
    }
}

/// Whose a word is.
enum Word {
    Image(&'static str, String),
    Kernel(String, Option<String>),
}

fn own(word: &Argument) -> Result<Word, Wrong> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (name, value) = (text(&word.name), word.value.as_deref().map(text));
    match (NAMES.iter().find(|known| **known == name), value) {
        (Some(known), Some(value)) => Ok(Word::Image(known, value)),
        (Some(_), None) => Err(Wrong::NoValue(name)),
        (None, _) if name == "kedge" || name.starts_with("kedge.") => Err(Wrong::Unknown(name)),
        (None, value) => Ok(Word::Kernel(name, value)),
    }
}

fn split(line: &str) -> Result<Vec<Argument>, Wrong> {
    if line.matches('"').count() % 2 == 1 {
        return Err(Wrong::Quote(line.into()));
    }
    let words = arguments(line.as_bytes());
    // A word behind it is not among those of the line without it.
    if arguments(format!("{line} x").as_bytes()).len() == words.len() {
        return Err(Wrong::TwoDashes);
    }
    Ok(words)
}

fn wished<T: Clone>(option: &'static str, values: &[T]) -> Vec<Wish<T>> {
    values
        .iter()
        .map(|value| Wish {
            value: value.clone(),
            place: Place::Option(option),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<(Configuration, Vec<KernelWord>), String> {
        Configuration::from_options(&Options {
            command_line: lines.iter().map(ToString::to_string).collect(),
            ..Options::default()
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn words_of_the_image_are_told_from_the_kernels() {
        let (configuration, kernel) = of(&[
            "console=ttyS1,115200 ip=dhcp nomodeset",
            "kedge.ntp=\"192.0.2.1, 192.0.2.2\" a=\"b c\"",
        ])
        .unwrap();
        let words = configuration.described().unwrap().words;
        assert_eq!(words, ["ip=dhcp", "kedge.ntp=\"192.0.2.1, 192.0.2.2\""]);
        let own = |name: &str, value: Option<&str>| (name.into(), value.map(String::from));
        assert_eq!(
            kernel,
            [
                own("console", Some("ttyS1,115200")),
                own("nomodeset", None),
                own("a", Some("b c"))
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_option() {
        for (line, part) in [
            ("kedge.foo=1", "--cmdline: kedge.foo is not a word"),
            ("kedge", "kedge is not a word"),
            ("ip", "--cmdline: ip needs a value"),
            ("a -- b", "\"--\" ends"),
            ("a --", "\"--\" ends"),
            ("a=\"b", "double quote without"),
            ("ip=192.0.2.700::192.0.2.1:24::eth0:none", "--cmdline: 'ip="),
        ] {
            let error = of(&[line]).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        let options = Options {
            ip: vec!["nonsense:::".into()],
            ..Options::default()
        };
        let error = Configuration::from_options(&options).unwrap_err();
        assert!(
            error.to_string().starts_with("--ip: 'ip=nonsense"),
            "{error}"
        );
    }
}
