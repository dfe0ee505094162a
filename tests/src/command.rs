//! A program that is run to its end within a time, whatever its end is.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::child::Child;

/// How a program ended and what it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit status; nothing when a signal ended it.
    pub status: Option<i32>,
    /// What came on standard output.
    pub stdout: Vec<u8>,
    /// What came on standard error.
    pub stderr: String,
    /// Its name, for messages.
    name: String,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// An error with what it said, unless it ended with 0.
    pub fn success(self) -> Result<Self> {
        match self.status {
            Some(0) => Ok(self),
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.stderr.trim()),
            None => bail!("{} was killed: {}", self.name, self.stderr.trim()),
        }
    }
}

/// Waits for the end of a program whose output and error are pipes.
pub fn finish(name: &str, mut child: Child, patience: Duration) -> Result<Finished> {
    let streams = child.streams();
    let stdout = streams.stdout.take().context("a pipe was asked for")?;
    let stderr = streams.stderr.take().context("a pipe was asked for")?;
    // One thread for each, or the program would wait for whoever reads the other.
    let [stdout, stderr] =
        [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)].map(|mut stream| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).map(|_| all)
            })
        });
    let waited = child.wait(patience);
    // Killed now, if it still runs: so the pipes end.
    drop(child);
    let [stdout, stderr] = [stdout, stderr].map(|thread| match thread.join() {
        Ok(read) => read.with_context(|| format!("reading what {name} prints")),
        Err(panic) => std::panic::resume_unwind(panic),
    });
    let stderr = String::from_utf8_lossy(&stderr?).into_owned();
    let status = waited.with_context(|| format!("{name} said: {}", stderr.trim()))?;
    Ok(Finished {
        status: status.code(),
        stdout: stdout?,
        stderr,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn run(script: &str, patience: Duration) -> Result<Finished> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        finish("sh", Child::spawn_as_is(&mut command, None)?, patience)
    }

    #[test]
    fn status_and_both_streams_are_told_however_much_they_are() -> Result<()> {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 7";
        let finished = run(script, Duration::from_secs(60))?;
        assert_eq!(finished.status, Some(7));
        assert_eq!(
            (finished.stdout.len(), finished.stderr.len()),
            (300_000, 300_000)
        );
        assert!(finished.success().is_err());
        Ok(())
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let error = run(
            "echo stuck >&2; exec sleep 1000",
            Duration::from_millis(500),
        );
        let error = format!("{:#}", error.unwrap_err());
        assert!(
            error.contains("stuck") && error.contains("still runs"),
            "{error}"
        );
    }
}
