//! Media behind a link: a file served by nbdkit at a given pace, with a log of every read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::readlog::Reads;

/// How fast a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second, or as fast as it goes.
    pub rate: Option<u64>,
    /// How long each request takes on top.
    pub delay: Duration,
}

impl Pace {
    /// As fast as it goes.
    pub const FAST: Self = Self {
        rate: None,
        delay: Duration::ZERO,
    };

    /// An IPMI virtual medium over a line of `rate` bytes a second and 100 ms.
    pub const fn ipmi(rate: u64) -> Self {
        Self {
            rate: Some(rate),
            delay: Duration::from_millis(100),
        }
    }
}

/// A file that is being served; the server ends when this is dropped.
#[derive(Debug)]
pub struct Media {
    server: Child,
    socket: PathBuf,
    log: PathBuf,
    read_only: bool,
}

impl Media {
    /// Serves `file` read-only; the log of reads, `NAME.reads`, is made in `folder`.
    pub fn serve(folder: &Path, name: &str, file: &Path, pace: Pace) -> Result<Self> {
        Self::start(folder, name, file, pace, true)
    }

    /// Serves `file` as a disk that can be written.
    pub fn serve_disk(folder: &Path, name: &str, file: &Path) -> Result<Self> {
        Self::start(folder, name, file, Pace::FAST, false)
    }

    fn start(folder: &Path, name: &str, file: &Path, pace: Pace, read_only: bool) -> Result<Self> {
        let file = file
            .canonicalize()
            .with_context(|| format!("finding {}", file.display()))?;
        // nbdkit makes the path absolute, and a socket's may have 107 bytes; a checkout's may be longer.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket =
            std::env::temp_dir().join(format!("kedge-{}-{count}.sock", std::process::id()));
        let log = folder.join(format!("{name}.reads"));
        let mut command = Command::new("nbdkit");
        command
            .env("TZ", "UTC")
            .args(["--foreground", "--unix"])
            .arg(&socket);
        if read_only {
            command.arg("--readonly");
        }
        // The first filter is the outermost: the log shows a request when it comes, not when the link
        // is done with it.
        command.arg("--filter=log");
        if pace.rate.is_some() {
            command.arg("--filter=rate");
        }
        if !pace.delay.is_zero() {
            command.arg("--filter=delay");
        }
        command
            .arg("file")
            .arg(&file)
            .arg(format!("logfile={}", log.display()));
        if let Some(rate) = pace.rate {
            // The filter counts bits.
            command.arg(format!("rate={}", rate * 8));
        }
        if !pace.delay.is_zero() {
            command.arg(format!("rdelay={}ms", pace.delay.as_millis()));
        }
        let said = folder.join(format!("{name}.nbdkit.log"));
        let mut server = Child::spawn(&mut command, &said, None)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while !socket.exists() {
            server.must_run()?;
            if Instant::now() > deadline {
                bail!("nbdkit did not make {} within 30 s", socket.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            server,
            socket,
            log,
            read_only,
        })
    }

    /// QEMU's options for a `-drive` that reads from here.
    pub(crate) fn drive(&self) -> String {
        let read_only = if self.read_only { "on" } else { "off" };
        // Doubled commas are QEMU's way to write one in a value.
        let path = self.socket.display().to_string().replace(',', ",,");
        format!(
            "format=raw,readonly={read_only},\
             file.driver=nbd,file.server.type=unix,file.server.path={path}"
        )
    }

    /// What has been read so far.
    pub fn reads(&self) -> Result<Reads> {
        let log = std::fs::read_to_string(&self.log)
            .with_context(|| format!("reading {}", self.log.display()))?;
        Ok(Reads::parse(&log))
    }

    /// The link hangs from now on: requests are neither answered nor refused.
    pub fn hang(&self) -> Result<()> {
        self.server.freeze()
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        // Gone already when nbdkit ended by itself.
        let _ = std::fs::remove_file(&self.socket);
    }
}
