//! `/run/kedge/clock`: which server set the clock, for whoever shows it. Lines of `name=value`.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::measure::{Done, Measurement};
use crate::utc::Utc;

/// Where it is.
pub const FILE: &str = "/run/kedge/clock";

/// The last time a server was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The server, as it was named.
    pub server: String,
    /// How far the clock was behind, in seconds.
    pub offset: f64,
    /// Whether it was stepped.
    pub stepped: bool,
    /// When that was, by the clock as it was after.
    pub when: SystemTime,
}

impl State {
    pub(crate) fn of(measurement: &Measurement, done: Done, when: SystemTime) -> State {
        State {
            server: measurement.server.clone(),
            offset: measurement.best.offset as f64 / 1e9,
            stepped: done == Done::Stepped,
            when,
        }
    }

    /// Reads it; `None` when no server was heard yet.
    pub fn read(path: &Path) -> Option<State> {
        let text = std::fs::read_to_string(path).ok()?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        Some(State {
            server: value("server")?.into(),
            offset: value("offset")?.parse().ok()?,
            stepped: value("stepped")? == "yes",
            when: UNIX_EPOCH + Duration::from_secs(value("when")?.parse().ok()?),
        })
    }

    /// Writes it in one rename.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        let stepped = if self.stepped { "yes" } else { "no" };
        std::fs::write(
            &new,
            format!(
                "server={}\noffset={:.9}\nstepped={stepped}\nwhen={}\n",
                self.server,
                self.offset,
                Utc(self.when).unix()
            ),
        )?;
        std::fs::rename(new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("kedge-clock-state-{}", std::process::id()));
        assert_eq!(State::read(&path), None);
        let state = State {
            server: "2001:db8::1".into(),
            offset: -1.5,
            stepped: true,
            when: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        };
        state.write(&path).unwrap();
        assert_eq!(State::read(&path), Some(state));
        std::fs::remove_file(path).unwrap();
    }
}
