//! One line on a terminal that says how far the scan is: redrawn twice a second, and gone at the end.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::scan::Tally;

const REDRAW: Duration = Duration::from_millis(500);

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    total: u64,
    began: Instant,
    drawn: Option<Instant>,
    terminal: bool,
}

impl Line {
    pub(crate) fn new(total: u64) -> Line {
        Line {
            total,
            began: Instant::now(),
            drawn: None,
            terminal: stderr().is_terminal(),
        }
    }

    pub(crate) fn draw(&mut self, tally: &Tally) {
        let now = Instant::now();
        if self.terminal && self.drawn.is_none_or(|drawn| now - drawn >= REDRAW) {
            self.drawn = Some(now);
            let text = text(tally, self.total, now - self.began);
            let _ = write!(stderr(), "\r{text}\x1b[K");
        }
    }

    /// Takes it away, so that something else can be written.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn text(tally: &Tally, total: u64, passed: Duration) -> String {
    let done = tally.done().min(total);
    let share = (done * 100).checked_div(total).unwrap_or(100);
    let bar: String = (0..10)
        .map(|i| if i * 10 < share { '#' } else { '.' })
        .collect();
    let left = match done {
        0 => String::new(),
        _ => {
            let left = passed.as_secs_f64() * (total - done) as f64 / done as f64;
            format!(", {} left", kedge_progress::seconds(left))
        }
    };
    format!(
        "[{bar}] {share:3} %  {done} of {total}, {} with SSH{left}",
        tally.ssh
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_a_terminal() {
        let tally = Tally {
            silent: 4_000_000_000,
            open: 1_000_000,
            ssh: 1_000_000,
            ..Tally::default()
        };
        let line = text(&tally, 1 << 32, Duration::from_secs(8_000_000));
        assert!(line.len() < 80, "{line}");
        let half = Tally {
            silent: 50,
            ..Tally::default()
        };
        assert_eq!(
            text(&half, 100, Duration::from_secs(10)),
            "[#####.....]  50 %  50 of 100, 0 with SSH, 10 s left"
        );
        assert!(text(&Tally::default(), 0, Duration::ZERO).contains("100 %"));
    }
}
