//! Draws what the library reports: a bar with the time left on a terminal, plain lines in a log.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kedge_image::progress::Progress;

/// How often a long stage says in a log how far it is.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Progress on standard error.
#[derive(Default)]
pub(crate) struct Terminal {
    open: Mutex<Option<Open>>,
}

/// The stage under way.
struct Open {
    bar: ProgressBar,
    what: String,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl Terminal {
    /// Runs `change` on the open stage, if there is one.
    fn with_open(&self, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self
            .open
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .as_mut()
        {
            change(open);
        }
    }
}

impl Progress for Terminal {
    fn step(&self, what: &str) {
        eprintln!("{what}");
    }

    fn start(&self, what: &str, total: u64) {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(total)
        } else {
            eprintln!("{what}: {total} to do");
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {pos}/{len}, {elapsed} gone, about {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(what.to_string());
        bar.enable_steady_tick(Duration::from_secs(1));
        let now = Instant::now();
        let open = Open {
            bar,
            what: what.into(),
            total,
            started: now,
            last_line: now,
        };
        *self
            .open
            .lock()
            .unwrap_or_else(|poison| poison.into_inner()) = Some(open);
    }

    fn advance(&self, units: u64) {
        self.with_open(|open| {
            open.bar.inc(units);
            if open.bar.is_hidden() && open.last_line.elapsed() >= LOG_EVERY {
                open.last_line = Instant::now();
                let (done, gone) = (open.bar.position().max(1), open.started.elapsed());
                let left =
                    gone.as_secs_f64() / done as f64 * open.total.saturating_sub(done) as f64;
                eprintln!(
                    "{}: {done} of {}, {:.0} min gone, about {:.0} min left",
                    open.what,
                    open.total,
                    gone.as_secs_f64() / 60.0,
                    left / 60.0
                );
            }
        });
    }

    fn finish(&self) {
        let open = self
            .open
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .take();
        if let Some(open) = open {
            open.bar.finish_and_clear();
            eprintln!(
                "{}: done in {:.0} s",
                open.what,
                open.started.elapsed().as_secs_f64()
            );
        }
    }

    fn note(&self, line: &str) {
        let mut shown = false;
        self.with_open(|open| {
            open.bar.suspend(|| eprintln!("note: {line}"));
            shown = true;
        });
        if !shown {
            eprintln!("note: {line}");
        }
    }
}
