//! What the operator asked for, in the words of the kernel's command line.
//!
//! The same words can come from the build (`kedge.toml`, written into the image as
//! [`BUILT`]) and from the kernel's command line, which wins: a name that stands there takes the place
//! of every occurrence of that name in the built words.

pub mod cmdline;

use cmdline::{Argument, arguments};

/// The words that the build left in the image: the form of a command line, on any number of lines.
pub const BUILT: &str = "/etc/kedge/settings";

/// All words, built ones first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    built: Vec<Argument>,
    given: Vec<Argument>,
}

impl Words {
    /// Those of this system.
    ///
    /// # Errors
    /// When `/proc/cmdline` cannot be read. Built words need not be there.
    pub fn here() -> std::io::Result<Words> {
        let built = std::fs::read(BUILT).unwrap_or_default();
        Ok(Words::parse(&built, &std::fs::read("/proc/cmdline")?))
    }

    /// Splits built words and those of the command line.
    pub fn parse(built: &[u8], cmdline: &[u8]) -> Words {
        Words {
            built: arguments(built),
            given: arguments(cmdline),
        }
    }

    /// Every word that counts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Argument> {
        let given = |name: &[u8]| self.given.iter().any(|word| word.name == name);
        self.built
            .iter()
            .filter(move |word| !given(&word.name))
            .chain(&self.given)
    }

    /// Every value of `name` that counts, in order; a word without `=` has none.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |word| word.name == name.as_bytes())
            .filter_map(|word| word.value.as_deref())
    }

    /// The value that counts where there can be one only: the last.
    pub fn last<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).last()
    }
}

/// The kernel keeps 64 bytes for a host's name (`__NEW_UTS_LEN`).
const LONGEST_HOSTNAME: usize = 64;

/// Whether a host can have this name. RFC 1123, section 2.1, and RFC 952: labels of letters, digits and
/// inner hyphens.
pub fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= LONGEST_HOSTNAME && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_build() {
        let words = Words::parse(
            b"ip=dhcp kedge.ntp=a\nkedge.beacon=x",
            b"ip=off ip=on quiet",
        );
        assert_eq!(
            words.all("ip").collect::<Vec<_>>(),
            [b"off", b"on" as &[u8]]
        );
        assert_eq!(words.last("ip"), Some(b"on" as &[u8]));
        assert_eq!(words.last("kedge.beacon"), Some(b"x" as &[u8]));
        assert_eq!(words.last("quiet"), None);
        assert_eq!(words.iter().count(), 5);
    }
}
