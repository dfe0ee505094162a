//! What the kernel's command line asks of init: typed, with a complaint for each word that makes
//! no sense.
//!
//! | word | meaning |
//! |---|---|
//! | `console=NAME[,OPTIONS]` | a shell on NAME (the kernel's own word) |
//! | `kedge.hostname=NAME` | the host's name, RFC 1123; default `kedge` |
//!
//! What is for the services (`kedge.ntp=` and others) is only known by name here: they check it. `kedge.early=` is
//! for the code that unpacks the kernel (image/src/boot.rs).

use kedge_settings::cmdline::Argument;
use kedge_settings::{Words, is_hostname};

/// The validated arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The host's name.
    pub(crate) hostname: String,
    /// Terminals named by `console=`, in order; names without `/dev/`, not known to exist.
    pub(crate) consoles: Vec<String>,
    /// One sentence a word that was skipped.
    pub(crate) complaints: Vec<String>,
}

impl Settings {
    /// Reads the words of the build and the command line.
    pub(crate) fn parse(words: &Words) -> Settings {
        let mut settings = Settings {
            hostname: "kedge".into(),
            consoles: Vec::new(),
            complaints: Vec::new(),
        };
        for argument in words.iter() {
            settings.take(argument);
        }
        settings
    }

    fn take(&mut self, argument: &Argument) {
        let name = argument.name.as_slice();
        let value = argument.value.as_deref();
        let reason = match name {
            b"console" => match value.and_then(console_name) {
                Some(Console::Terminal(terminal)) => {
                    if !self.consoles.contains(&terminal) {
                        self.consoles.push(terminal);
                    }
                    return;
                }
                Some(Console::Resolved) => return,
                None => "is not the name of a terminal, such as ttyS0 or tty0",
            },
            b"kedge.hostname" => match value.and_then(hostname) {
                Some(name) => {
                    self.hostname = name;
                    return;
                }
                None => "is not a host name (letters, digits, hyphens, dots; at most 64)",
            },
            // Whose services check them.
            b"kedge.ntp" | b"kedge.ssh_key" | b"kedge.ssh_port" | b"kedge.beacon"
            | b"kedge.pack" | b"kedge.pack_url" | b"kedge.early"
                if value.is_some() =>
            {
                return;
            }
            _ if name.starts_with(b"kedge.") || name == b"kedge" => {
                "is not an argument that kedge knows"
            }
            _ => return,
        };
        let word = match value {
            Some(value) => [name, b"=", value].concat(),
            None => name.to_vec(),
        };
        self.complaints.push(format!(
            "kernel argument '{}' {reason}; skipped",
            word.escape_ascii()
        ));
    }
}

/// What a `console=` says.
enum Console {
    /// A terminal by name.
    Terminal(String),
    /// A word whose terminal only the kernel knows (`uart8250,io,0x3f8`): it is in
    /// `/sys/class/tty/console/active`.
    Resolved,
}

fn console_name(value: &[u8]) -> Option<Console> {
    let device = value.split(|&b| b == b',').next()?;
    let device = std::str::from_utf8(device).ok()?;
    if device.contains(':') || matches!(device, "uart" | "uart8250" | "null" | "ttynull") {
        return Some(Console::Resolved);
    }
    if !device.bytes().all(|b| b.is_ascii_alphanumeric()) || device.len() > 32 {
        return None;
    }
    // The kernel, too, takes a number for a serial port.
    match device.bytes().next()? {
        b'0'..=b'9' => Some(Console::Terminal(format!("ttyS{device}"))),
        _ => Some(Console::Terminal(device.to_string())),
    }
}

/// A host's name, where it is one.
fn hostname(value: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(value).ok()?;
    is_hostname(name).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cmdline: &[u8]) -> Settings {
        Settings::parse(&Words::parse(b"", cmdline))
    }

    #[test]
    fn the_images_own_command_line_is_without_complaint() {
        let settings =
            parse(b"console=ttyS1,115200 console=ttyS0,115200 console=tty0 loglevel=6\n");
        assert_eq!(settings.consoles, ["ttyS1", "ttyS0", "tty0"]);
        assert_eq!(settings.complaints, [""; 0]);
        assert_eq!(settings.hostname, "kedge");
    }

    #[test]
    fn each_word_that_makes_no_sense_is_named_and_skipped() {
        let settings = parse(
            b"kedge.hostname=-x kedge.hostname=good kedge.hostname kedge.hostname= kedge.foo=1 \
              kedge.=2 console= console console=../etc \"kedge.hostname=a b\" kedge.hostname=\xff quiet",
        );
        assert_eq!(settings.hostname, "good");
        assert_eq!(settings.consoles, [""; 0]);
        let words: Vec<&str> = settings
            .complaints
            .iter()
            .map(|c| c.split('\'').nth(1).unwrap())
            .collect();
        assert_eq!(
            words,
            [
                "kedge.hostname=-x",
                "kedge.hostname",
                "kedge.hostname=",
                "kedge.foo=1",
                "kedge.=2",
                "console=",
                "console",
                "console=../etc",
                "kedge.hostname=a b",
                "kedge.hostname=\\xff",
            ]
        );
    }

    #[test]
    fn host_names_follow_rfc_1123() {
        for good in ["a", "3com", "web-1.example.org", &"a".repeat(63)] {
            assert!(hostname(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(hostname(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_kernels_other_ways_to_name_a_console() {
        let settings = parse(b"console=uart8250,io,0x3f8 console=1,9600 console=0000:0.0");
        assert_eq!(settings.consoles, ["ttyS1"]);
        assert_eq!(settings.complaints, [""; 0]);
    }
}
