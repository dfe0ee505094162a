//! How far something is: a line that is redrawn on a terminal, a line now and then elsewhere, the system's log
//! when nobody looks. Nothing for what takes less than a second.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::{bytes, seconds, shown_lines};

const FIRST: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(500);
const NEXT_LINE: Duration = Duration::from_secs(10);

/// Whom to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    Terminal,
    Stderr,
    Log,
}

/// The line.
#[derive(Debug)]
pub struct Progress {
    tool: &'static str,
    listener: Listener,
    began: Instant,
    said: Option<Instant>,
    drawn: bool,
    total: Option<u64>,
    done: u64,
    /// What was there already when this began.
    before: u64,
}

impl Progress {
    /// For whoever typed the command; `tool` is its name, in front of lines that stay.
    pub fn new(tool: &'static str) -> Progress {
        let terminal = stderr().is_terminal();
        let listener = if terminal {
            Listener::Terminal
        } else {
            Listener::Stderr
        };
        Progress::to(tool, listener)
    }

    /// For a service.
    pub fn logged(tool: &'static str) -> Progress {
        Progress::to(tool, Listener::Log)
    }

    fn to(tool: &'static str, listener: Listener) -> Progress {
        Progress {
            tool,
            listener,
            began: Instant::now(),
            said: None,
            drawn: false,
            total: Some(0),
            done: 0,
            before: 0,
        }
    }

    /// Begins with `total` bytes to come.
    pub fn begin(&mut self, total: u64) {
        self.go_on(0, Some(total));
    }

    /// Goes on where `before` bytes are there already; what the whole is may not be known.
    pub fn go_on(&mut self, before: u64, total: Option<u64>) {
        (self.total, self.done, self.before) = (total, before, before);
        self.began = Instant::now();
    }

    /// It turns out that there are `total` bytes in all.
    pub fn expect(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// More has come, or some of it is to come again.
    pub fn set(&mut self, done: u64) {
        self.done = done;
        self.draw();
    }

    /// Draws the line when it is time.
    pub fn draw(&mut self) {
        let now = Instant::now();
        let (first, next) = match self.listener {
            Listener::Terminal => (FIRST, REDRAW),
            Listener::Stderr => (NEXT_LINE, NEXT_LINE),
            Listener::Log => return,
        };
        if now < self.began + first || self.said.is_some_and(|said| now < said + next) {
            return;
        }
        self.said = Some(now);
        let text = text(self.done, self.total, self.before, now - self.began);
        if self.listener == Listener::Terminal {
            self.drawn = true;
            let _ = write!(stderr(), "\r{text}\x1b[K");
        } else {
            let _ = writeln!(stderr(), "{}: {text}", self.tool);
        }
    }

    /// Says something that has to be known. It may hold words of anybody's: of a mirror, of a disk.
    pub fn note(&mut self, text: &str) {
        self.clear();
        let text = message(self.tool, text);
        match self.listener {
            Listener::Log => kedge_message::info!("{text}"),
            _ => {
                let _ = writeln!(stderr(), "{text}");
            }
        }
    }

    /// Takes the line away, so that something else can be written.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn message(tool: &str, text: &str) -> String {
    format!("{tool}: {}", shown_lines(text))
}

fn text(done: u64, total: Option<u64>, before: u64, passed: Duration) -> String {
    let come = done.saturating_sub(before);
    let rate = come as f64 / passed.as_secs_f64().max(0.001);
    let Some(total) = total else {
        return format!("{}, {}/s", bytes(done), bytes(rate as u64));
    };
    let done = done.min(total);
    let share = (done * 100).checked_div(total).unwrap_or(100);
    let bar: String = (0..20)
        .map(|i| if i * 5 < share { '#' } else { '.' })
        .collect();
    let mut text = format!("[{bar}] {share:3} %  {} of {}", bytes(done), bytes(total));
    if come > 0 {
        let left = (total - done) as f64 / rate;
        text += &format!(", {}/s, {} left", bytes(rate as u64), seconds(left));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_a_terminal() {
        assert_eq!(
            text(500_000, Some(1_000_000), 0, Duration::from_secs(2)),
            "[##########..........]  50 %  500 kB of 1.0 MB, 250 kB/s, 2 s left"
        );
        for (done, total, passed) in [(0, 0, 0), (1, 4 << 30, 8_000_000), (9, 4, 1)] {
            let line = text(done, Some(total), 0, Duration::from_secs(passed));
            assert!(line.len() < 80, "{line}");
        }
    }

    #[test]
    fn a_mirror_writes_no_line_of_ours() {
        assert_eq!(
            message(
                "repair",
                "asking http://m/\x1b[2J (\u{61c}base)\nrepair: all is well"
            ),
            "repair: asking http://m/\\u{1b}[2J (\\u{61c}base)\n  repair: all is well"
        );
    }

    #[test]
    fn what_was_there_before_is_not_counted_as_fast() {
        let line = text(900_000, Some(1_000_000), 800_000, Duration::from_secs(1));
        assert!(
            line.ends_with("900 kB of 1.0 MB, 100 kB/s, 1 s left"),
            "{line}"
        );
        let line = text(900_000, None, 800_000, Duration::from_secs(1));
        assert_eq!(line, "900 kB, 100 kB/s");
    }
}
