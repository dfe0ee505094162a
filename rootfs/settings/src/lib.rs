//! What the operator asked for, in the words of the kernel's command line.
//!
//! The same words can come from three places: from the build (`kedge.toml`, written into the image as
//! [`BUILT`]), from what was stamped into the finished image (`cargo xtask stamp`, [`STAMPED`]), and from
//! the kernel's command line. Each wins over those before it: a name that stands there takes the
//! place of every occurrence of that name in the others.

pub mod cmdline;

use cmdline::{Argument, arguments};

/// The words that the build left in the image: the form of a command line, on any number of lines.
pub const BUILT: &str = "/etc/kedge/settings";

/// The words that were stamped into the finished image, in the same form.
pub const STAMPED: &str = "/etc/kedge/stamp";

/// The names that what runs in the image reads, and not the kernel.
pub const NAMES: &[&str] = &[
    "BOOTIF",
    "bond",
    "bridge",
    "ip",
    "kedge.beacon",
    "kedge.hostname",
    "kedge.ntp",
    "kedge.pack",
    "kedge.pack_url",
    "kedge.ssh_key",
    "kedge.ssh_port",
    "nameserver",
    "rd.route",
    "vlan",
];

/// All words, built ones first, then stamped ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Each wins over those before it.
    layers: [Vec<Argument>; 3],
}

impl Words {
    /// Those of this system.
    ///
    /// # Errors
    /// When `/proc/cmdline` cannot be read. Built and stamped words need not be there.
    pub fn here() -> std::io::Result<Words> {
        Ok(Words::with_cmdline(&std::fs::read("/proc/cmdline")?))
    }

    /// Those of this system's build and stamp, under a command line that was read already.
    pub fn with_cmdline(cmdline: &[u8]) -> Words {
        let file = |path| std::fs::read(path).unwrap_or_default();
        Words::layered(&file(BUILT), &file(STAMPED), cmdline)
    }

    /// Splits built words and those of the command line.
    pub fn parse(built: &[u8], cmdline: &[u8]) -> Words {
        Words::layered(built, b"", cmdline)
    }

    /// Splits the words of all three places.
    pub fn layered(built: &[u8], stamped: &[u8], cmdline: &[u8]) -> Words {
        Words {
            layers: [built, stamped, cmdline].map(arguments),
        }
    }

    /// Every word that counts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Argument> {
        self.layers.iter().enumerate().flat_map(|(at, layer)| {
            let above = &self.layers[at + 1..];
            let replaced =
                move |word: &Argument| above.iter().flatten().any(|w| w.name == word.name);
            layer.iter().filter(move |word| !replaced(word))
        })
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

    #[test]
    fn a_stamp_wins_over_the_build_and_the_command_line_over_both() {
        let words = Words::layered(
            b"ip=a ip=b nameserver=a vlan=a",
            b"ip=c nameserver=b nameserver=c",
            b"nameserver=d",
        );
        let all = |name| words.all(name).collect::<Vec<_>>();
        assert_eq!(all("ip"), [b"c"]);
        assert_eq!(all("nameserver"), [b"d"]);
        assert_eq!(all("vlan"), [b"a"]);
        assert_eq!(words.iter().count(), 3);
    }
}
