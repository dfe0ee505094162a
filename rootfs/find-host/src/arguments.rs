//! The command line, checked.

use std::time::Duration;

use crate::scan::Pace;
use crate::targets::Targets;
use crate::wanted::Wanted;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) targets: Targets,
    pub(crate) wanted: Wanted,
    pub(crate) port: u16,
    pub(crate) pace: Pace,
    pub(crate) all: bool,
    pub(crate) json: bool,
}

impl Arguments {
    /// The text of an error goes on "find-host: ".
    pub(crate) fn parse(arguments: &[String]) -> Result<Arguments, String> {
        let (mut networks, mut keys) = (Vec::new(), Vec::new());
        let (mut port, mut rate, mut timeout) = (22, 500, Duration::from_secs(2));
        let (mut all, mut json) = (false, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            // --name VALUE and --name=VALUE.
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value)),
                _ => (argument.as_str(), None),
            };
            let mut value = || match attached {
                Some(value) => Ok(value),
                None => rest
                    .next()
                    .map(String::as_str)
                    .ok_or(format!("{name} needs a value")),
            };
            match name {
                "--host-key" => keys.push(value()?),
                "--port" => port = number(name, value()?, 1, u16::MAX.into())? as u16,
                "--rate" => rate = number(name, value()?, 1, 1_000_000)?,
                "--timeout" => timeout = seconds(value()?)?,
                "--all" if attached.is_none() => all = true,
                "--json" if attached.is_none() => json = true,
                _ if name.starts_with('-') => {
                    return Err(format!("no option '{}' here", argument.escape_debug()));
                }
                network => networks.push(network),
            }
        }
        if networks.is_empty() {
            return Err("which network? Such as 192.0.2.0/24".into());
        }
        Ok(Arguments {
            targets: Targets::parse(networks.into_iter()).map_err(|e| e.to_string())?,
            wanted: Wanted::parse(keys.into_iter()).map_err(|e| e.to_string())?,
            port,
            pace: Pace { rate, timeout },
            all,
            json,
        })
    }
}

fn number(name: &str, text: &str, least: u32, most: u32) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            let text = text.escape_debug();
            format!("{name} takes a number from {least} to {most}, not '{text}'")
        })
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=60.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            let text = text.escape_debug();
            format!("--timeout takes seconds from 0.1 to 60, not '{text}'")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn options_are_understood_in_both_forms() {
        let expected = parse("192.0.2.0/24 --port 2222 --rate 5000 --timeout 0.5 --all").unwrap();
        let attached = parse("--port=2222 --all --rate=5000 --timeout=0.5 192.0.2.0/24").unwrap();
        assert_eq!(expected, attached);
        assert_eq!((expected.port, expected.pace.rate), (2222, 5000));
        let plain = parse("192.0.2.1").unwrap();
        assert_eq!((plain.port, plain.pace.rate), (22, 500));
    }

    #[test]
    fn wrong_use_is_refused() {
        for wrong in [
            "",
            "--all",
            "192.0.2.1 --port",
            "192.0.2.1 --port 0",
            "192.0.2.1 --port 65536",
            "192.0.2.1 --rate 0",
            "192.0.2.1 --rate -1",
            "192.0.2.1 --timeout 0",
            "192.0.2.1 --timeout nan",
            "192.0.2.1 --timeout inf",
            "192.0.2.1 --json=x",
            "192.0.2.1 --nonsense",
            "192.0.2.1 --host-key x",
            "192.0.2.300",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
