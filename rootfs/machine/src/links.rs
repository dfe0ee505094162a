//! Network links: name, MAC, driver, and whether there is somebody at the other end.

use crate::tree::{Tree, attribute, link_name, names, number};

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name: `eth0`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// The driver of its hardware; `None` for a link without any (a bridge, a VLAN).
    pub driver: Option<String>,
    /// Whether it carries.
    pub state: State,
}

/// A link's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody is at the other end.
    Up {
        /// Megabits per second, where the driver knows.
        speed: Option<u32>,
    },
    /// It is switched on, but nobody is there.
    NoCarrier,
    /// It is not switched on.
    Down,
}

/// `IFF_UP` (linux/if.h).
const IFF_UP: u32 = 1;

/// All links but loopback.
pub fn links(tree: &Tree) -> Vec<Link> {
    let class = tree.sys.join("class/net");
    names(&class)
        .into_iter()
        .filter(|name| name != "lo")
        .filter_map(|name| {
            let path = class.join(&name);
            // bonding_masters is a file in here that is no link.
            let flags = attribute(&path.join("flags"))?;
            let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
            let state = if flags & IFF_UP == 0 {
                State::Down
            } else if number::<u8>(&path.join("carrier")) == Some(1) {
                // -1 stands for unknown.
                let speed = number::<u32>(&path.join("speed"))
                    .filter(|&speed| speed > 0 && speed != u32::MAX);
                State::Up { speed }
            } else {
                State::NoCarrier
            };
            Some(Link {
                mac: attribute(&path.join("address")).unwrap_or_default(),
                driver: path
                    .join("device")
                    .exists()
                    .then(|| link_name(&path.join("device/driver")).unwrap_or_else(|| "?".into())),
                name: crate::text::printable(name.as_bytes()),
                state,
            })
        })
        .collect()
}

impl Link {
    /// Whether there is hardware behind it.
    pub fn is_physical(&self) -> bool {
        self.driver.is_some()
    }
}

impl State {
    /// In words, at most 13 characters.
    pub fn words(self) -> String {
        match self {
            State::Up { speed: None } => "up".into(),
            State::Up { speed: Some(speed) } if speed < 1000 => format!("up {speed} Mb/s"),
            State::Up { speed: Some(speed) } => format!("up {} Gb/s", f64::from(speed) / 1000.0),
            State::NoCarrier => "no carrier".into(),
            State::Down => "down".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_in_words() {
        for (state, words) in [
            (State::Up { speed: Some(10) }, "up 10 Mb/s"),
            (State::Up { speed: Some(1000) }, "up 1 Gb/s"),
            (State::Up { speed: Some(2500) }, "up 2.5 Gb/s"),
            (
                State::Up {
                    speed: Some(400_000),
                },
                "up 400 Gb/s",
            ),
            (State::NoCarrier, "no carrier"),
        ] {
            assert_eq!(state.words(), words);
            assert!(words.len() <= 13);
        }
    }
}
