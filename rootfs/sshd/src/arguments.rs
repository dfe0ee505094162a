//! The command line of `sshd`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::access;

/// What a process of the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The one that listens.
    Listener,
    /// One connection, on standard input.
    Connection,
    /// One SFTP session, on standard input and output.
    Sftp,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) part: Part,
    /// From the command line; otherwise `kedge.ssh_port=` counts, or 22.
    pub(crate) port: Option<u16>,
    /// All addresses, when there is none.
    pub(crate) address: Option<IpAddr>,
    pub(crate) host_key: PathBuf,
    pub(crate) authorized_keys: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) stderr: bool,
    pub(crate) keep_alive: Option<Duration>,
}

impl Arguments {
    /// Reads the words after the tool's name. An error is one sentence.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let mut arguments = Self {
            part: Part::Listener,
            port: None,
            address: None,
            host_key: access::HOST_KEY.into(),
            authorized_keys: access::AUTHORIZED_KEYS.into(),
            run: access::RUN.into(),
            stderr: false,
            keep_alive: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| format!("{word} needs a value behind it"))
            };
            match word.as_str() {
                "--connection" => arguments.part = Part::Connection,
                "--sftp" => arguments.part = Part::Sftp,
                "--stderr" => arguments.stderr = true,
                "--port" => {
                    let text = value()?;
                    let port = text.parse().ok().filter(|&port| port > 0);
                    arguments.port =
                        Some(port.ok_or_else(|| format!("'{text}' is no port, 1 to 65535"))?);
                }
                "--address" => {
                    let text = value()?;
                    let address = text.parse();
                    arguments.address =
                        Some(address.map_err(|_| format!("'{text}' is no IP address"))?);
                }
                "--host-key" => arguments.host_key = value()?.into(),
                "--authorized-keys" => arguments.authorized_keys = value()?.into(),
                "--run" => arguments.run = value()?.into(),
                "--keep-alive" => {
                    let text = value()?;
                    let seconds = text
                        .parse()
                        .ok()
                        .filter(|seconds| (1..=86_400).contains(seconds));
                    let seconds = seconds
                        .ok_or_else(|| format!("'{text}' is no number of seconds, 1 to 86400"))?;
                    arguments.keep_alive = Some(Duration::from_secs(seconds));
                }
                other => return Err(format!("sshd does not take '{}'", other.escape_debug())),
            }
        }
        Ok(arguments)
    }

    /// The command line of the process that serves one connection.
    pub(crate) fn for_connection(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["sshd".into(), "--connection".into()];
        for (name, path) in [
            ("--host-key", &self.host_key),
            ("--authorized-keys", &self.authorized_keys),
            ("--run", &self.run),
        ] {
            words.push(name.into());
            words.push(path.into());
        }
        if self.stderr {
            words.push("--stderr".into());
        }
        if let Some(time) = self.keep_alive {
            words.push("--keep-alive".into());
            words.push(time.as_secs().to_string().into());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn a_connection_gets_what_the_listener_was_given() {
        let line = "--port 2222 --address ::1 --host-key k --authorized-keys a --run r \
                    --keep-alive 5 --stderr";
        let listener = parse(line).unwrap();
        assert_eq!(listener.port, Some(2222));
        let words: Vec<String> = listener
            .for_connection()
            .iter()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let connection = Arguments::parse(&words).unwrap();
        let expected = Arguments {
            part: Part::Connection,
            port: None,
            address: None,
            ..listener
        };
        assert_eq!(connection, expected);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, said) in [
            ("--port 0", "'0' is no port"),
            ("--port 65536", "no port"),
            ("--port", "needs a value"),
            ("--address x", "no IP address"),
            ("--keep-alive 0", "no number of seconds"),
            ("--keep-alive 86401", "no number of seconds"),
            ("--keep-alive 18446744073709551615", "no number of seconds"),
            ("-p 22", "does not take '-p'"),
        ] {
            assert!(parse(line).unwrap_err().contains(said), "{line}");
        }
    }
}
