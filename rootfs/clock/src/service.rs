//! `clock service`: keeps the clock right for as long as there is a server that somebody named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kedge_message::{info, notice, warning};
use kedge_settings::Words;

use crate::measure::{Done, Measurement, apply, measure};
use crate::state::State;
use crate::system::Clock;
use crate::utc::Utc;

/// Servers that DHCP named, one a line. May appear, change and go at any time.
pub const FROM_DHCP: &str = "/run/kedge/net/ntp";

/// After a success.
const AGAIN: Duration = Duration::from_secs(3600);
/// After the first failure; then double.
const RETRY: Duration = Duration::from_secs(1);
/// The longest between tries: NTP's own shortest interval.
const RETRY_MAX: Duration = Duration::from_secs(64);
/// How often it is looked whether the servers changed.
const LOOK: Duration = Duration::from_secs(1);
/// A step by more than this concerns the operator: certificates, logs, file times.
const CONSIDERABLE: u64 = 60_000_000_000;
/// Servers that are listened to; a hostile DHCP server may name many.
const SERVERS: usize = 8;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody: `kedge.ntp=off`.
    Off,
    /// Those that the operator named.
    Named(Vec<String>),
    /// Those in this file.
    File(PathBuf),
}

impl Choice {
    /// What `kedge.ntp=` asks for.
    pub fn of(words: &Words) -> Choice {
        let names: Vec<String> = words
            .all("kedge.ntp")
            .flat_map(|value| {
                String::from_utf8_lossy(value)
                    .split(',')
                    .map(|name| name.trim().to_string())
                    .collect::<Vec<_>>()
            })
            .filter(|name| !name.is_empty())
            .collect();
        if names.iter().any(|name| name == "off") {
            Choice::Off
        } else if names.is_empty() {
            Choice::File(FROM_DHCP.into())
        } else {
            Choice::Named(names)
        }
    }

    fn servers(&self) -> Vec<String> {
        match self {
            Choice::Off => Vec::new(),
            Choice::Named(names) => names.clone(),
            Choice::File(path) => std::fs::read_to_string(path)
                .unwrap_or_default()
                .lines()
                .map(|line| line.trim().to_string())
                .filter(|line| !line.is_empty())
                .take(SERVERS)
                .collect(),
        }
    }
}

/// Runs until the system ends; returns at once when it is switched off.
pub fn run(choice: &Choice, clock: &mut impl Clock, state: &Path) {
    if *choice == Choice::Off {
        info!("clock: kedge.ntp=off, so no time server is asked");
        return;
    }
    let mut service = Service {
        clock,
        state,
        said: BTreeMap::new(),
    };
    loop {
        let servers = choice.servers();
        let wait = if servers.is_empty() {
            None
        } else {
            Some(service.keep_trying(choice, &servers))
        };
        // An hour, or until others are named.
        let began = Instant::now();
        while wait.is_none_or(|wait| began.elapsed() < wait) && choice.servers() == servers {
            std::thread::sleep(LOOK);
        }
    }
}

struct Service<'a, C> {
    clock: &'a mut C,
    state: &'a Path,
    /// What was last said of each server, to say it once.
    said: BTreeMap<String, String>,
}

impl<C: Clock> Service<'_, C> {
    /// Asks until one answers or others are named. Says how long that is good for.
    fn keep_trying(&mut self, choice: &Choice, servers: &[String]) -> Duration {
        let mut retry = RETRY;
        loop {
            if servers.iter().any(|server| self.try_one(server)) {
                return AGAIN;
            }
            let began = Instant::now();
            while began.elapsed() < retry {
                std::thread::sleep(LOOK.min(retry));
                if choice.servers() != servers {
                    return Duration::ZERO;
                }
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn try_one(&mut self, server: &str) -> bool {
        let outcome = measure(server, self.clock)
            .map_err(|error| error.to_string())
            .and_then(|measurement| self.set(&measurement));
        match outcome {
            Ok(()) => {
                self.said.remove(server);
                true
            }
            Err(why) => {
                if self.said.get(server) != Some(&why) {
                    info!("clock: time server {server}: {why}; it is tried again");
                    self.said.insert(server.into(), why);
                }
                false
            }
        }
    }

    fn set(&mut self, measurement: &Measurement) -> Result<(), String> {
        let offset = measurement.best.offset;
        let done =
            apply(offset, self.clock).map_err(|error| format!("cannot set the clock: {error}"))?;
        let now = self.clock.now();
        let (server, seconds) = (&measurement.server, offset as f64 / 1e9);
        match done {
            Done::Stepped if offset.unsigned_abs() > CONSIDERABLE => notice!(
                "clock: it was {seconds:+.0} s off; set to {} by {server}",
                Utc(now)
            ),
            Done::Stepped => info!("clock: stepped by {seconds:+.3} s, by {server}"),
            Done::Slewed => info!("clock: {seconds:+.6} s off, by {server}"),
        }
        if let Err(error) = State::of(measurement, done, now).write(self.state) {
            warning!("clock: cannot write {}: {error}", self.state.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_were_named_are_asked() {
        let choice = |cmdline: &str| Choice::of(&Words::parse(b"", cmdline.as_bytes()));
        assert_eq!(choice("quiet"), Choice::File(FROM_DHCP.into()));
        assert_eq!(choice("kedge.ntp=off"), Choice::Off);
        assert_eq!(choice("kedge.ntp=a.example kedge.ntp=off"), Choice::Off);
        assert_eq!(
            choice("kedge.ntp=a.example,192.0.2.1 kedge.ntp=b"),
            Choice::Named(vec!["a.example".into(), "192.0.2.1".into(), "b".into()])
        );
        let absent = Choice::File("/nonexistent/ntp".into());
        assert!(absent.servers().is_empty());
    }
}
