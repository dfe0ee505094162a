//! A recording of a terminal: what came over a serial line, and when. Kept as an asciicast of version 2 (docs.asciinema.org, "asciicast
//! v2"), which asciinema and its web player show.
//!
//! The one in README is really made, by `cargo xtask bench story`. [`film`](crate::film) makes a picture of it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Where somebody only waits, a player goes on after so long.
pub const IDLE: Duration = Duration::from_secs(3);

/// A piece of what was shown, and when.
pub type Piece = (SystemTime, Vec<u8>);

/// What was on another terminal, behind what was shown before: the screen is cleared, and a line says whose it is. Empty lines at its
/// beginning are left out, and nothing else.
pub fn scene(caption: &str, mut pieces: Vec<Piece>) -> Vec<Piece> {
    for (_, piece) in &mut pieces {
        let empty = piece.iter().take_while(|byte| b"\r\n".contains(byte));
        let empty = empty.count();
        piece.drain(..empty);
        if !piece.is_empty() {
            break;
        }
    }
    let at = pieces
        .first()
        .map_or(SystemTime::UNIX_EPOCH, |piece| piece.0);
    let caption = format!("\x1b[H\x1b[2J~~~ {caption} ~~~\r\n\r\n");
    pieces.insert(0, (at, caption.into_bytes()));
    pieces
}

/// What was shown, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// What it is called.
    pub title: String,
    /// When it was begun.
    pub at: SystemTime,
    /// Text, and how long after the beginning it came.
    pub events: Vec<(Duration, String)>,
}

impl Recording {
    /// Of pieces as they came; one may end in the middle of a character.
    pub fn new(width: usize, height: usize, title: &str, pieces: &[Piece]) -> Result<Self> {
        let at = pieces.first().context("nothing was recorded")?.0;
        let mut events: Vec<(Duration, String)> = Vec::new();
        let mut rest = Vec::new();
        for (time, piece) in pieces {
            rest.extend_from_slice(piece);
            let whole = match std::str::from_utf8(&rest) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => rest.len(),
            };
            let text = String::from_utf8_lossy(&rest[..whole]).into_owned();
            rest.drain(..whole);
            if !text.is_empty() {
                events.push((time.duration_since(at).unwrap_or_default(), text));
            }
        }
        Ok(Self {
            width,
            height,
            title: title.to_owned(),
            at,
            events,
        })
    }

    /// As the file has it.
    pub fn asciicast(&self) -> Result<String> {
        let timestamp = self.at.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let header = json!({
            "version": 2,
            "width": self.width,
            "height": self.height,
            "timestamp": timestamp,
            "idle_time_limit": IDLE.as_secs_f64(),
            "title": self.title,
        });
        let mut text = format!("{header}\n");
        for (after, shown) in &self.events {
            let seconds = (after.as_secs_f64() * 1e3).round() / 1e3;
            writeln!(text, "{}", json!([seconds, "o", shown]))?;
        }
        Ok(text)
    }

    /// Reads such a file.
    pub fn read(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().context("the file is empty")?)?;
        ensure!(header["version"] == 2, "this is no asciicast of version 2");
        let number = |name: &str| {
            header[name]
                .as_u64()
                .with_context(|| format!("there is no {name}"))
        };
        let event = |line: &str| {
            let (seconds, kind, shown): (f64, String, String) = serde_json::from_str(line)?;
            ensure!(kind == "o", "an event of kind {kind:?} is not known");
            Ok((Duration::try_from_secs_f64(seconds)?, shown))
        };
        Ok(Self {
            width: usize::try_from(number("width")?)?,
            height: usize::try_from(number("height")?)?,
            title: header["title"].as_str().unwrap_or_default().to_owned(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(number("timestamp")?),
            events: lines.map(event).collect::<Result<_>>()?,
        })
    }

    /// Text and time as a player shows them: nobody waits for longer than [`IDLE`].
    pub fn played(&self) -> Vec<(Duration, &str)> {
        let (mut now, mut before) = (Duration::ZERO, Duration::ZERO);
        let mut played = Vec::new();
        for (after, shown) in &self.events {
            now += after.saturating_sub(before).min(IDLE);
            before = *after;
            played.push((now, shown.as_str()));
        }
        played
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Result<Recording> {
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let pieces = [
            (0, &b"a \xe2\x80"[..]),
            (1500, b"\x93 b\r\n"),
            (9500, b"\x1b[Kc\""),
        ];
        let pieces =
            pieces.map(|(after, bytes)| (begin + Duration::from_millis(after), bytes.to_vec()));
        Recording::new(80, 24, "a \"title\"", &pieces)
    }

    #[test]
    fn what_was_written_is_read_again() -> Result<()> {
        let recording = recording()?;
        assert_eq!(Recording::read(&recording.asciicast()?)?, recording);
        Ok(())
    }

    #[test]
    fn a_character_in_two_pieces_is_shown_whole() -> Result<()> {
        let recording = recording()?;
        let shown: Vec<_> = recording
            .events
            .iter()
            .map(|(_, shown)| shown.as_str())
            .collect();
        assert_eq!(shown, ["a ", "– b\r\n", "\u{1b}[Kc\""]);
        Ok(())
    }

    #[test]
    fn a_scene_begins_when_its_first_piece_comes() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        let pieces = scene("here", vec![(at, b"\r".to_vec()), (at, b"\na\n".to_vec())]);
        let shown = b"\x1b[H\x1b[2J~~~ here ~~~\r\n\r\n".to_vec();
        let after = [(at, Vec::new()), (at, b"a\n".to_vec())];
        assert_eq!(pieces[0], (at, shown));
        assert_eq!(pieces[1..], after);
    }

    #[test]
    fn nobody_waits_long() -> Result<()> {
        let recording = recording()?;
        let times: Vec<_> = recording
            .played()
            .iter()
            .map(|(time, _)| time.as_millis())
            .collect();
        assert_eq!(times, [0, 1500, 4500]);
        Ok(())
    }
}
