//! QEMU's control channel: QMP, JSON lines over a unix socket (docs/interop/qmp-spec.txt in QEMU).

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer a command; a screendump on a loaded machine is the slow one.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection on which commands can be given.
#[derive(Debug)]
pub struct Qmp {
    wire: UnixStream,
    lines: Lines,
    events: Vec<Value>,
}

impl Qmp {
    /// Takes QEMU's greeting and opens command mode.
    pub(crate) fn new(wire: UnixStream) -> Result<Self> {
        let mut qmp = Self {
            wire,
            lines: Lines::default(),
            events: Vec::new(),
        };
        let greeting = qmp
            .message(Instant::now() + ANSWER)?
            .context("no greeting from QEMU")?;
        if greeting.get("QMP").is_none() {
            bail!("QEMU's greeting is not QMP's: {greeting}");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a QMP command; gives what it returned.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = format!(
            "{}\n",
            json!({ "execute": command, "arguments": arguments })
        );
        self.wire
            .write_all(line.as_bytes())
            .with_context(|| format!("giving QEMU {command}"))?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let mut message = self
                .message(deadline)?
                .with_context(|| format!("QEMU did not answer {command} within {ANSWER:?}"))?;
            if let Some(error) = message.get("error") {
                bail!("QEMU refused {command} {arguments}: {}", error["desc"]);
            }
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            self.events.push(message);
        }
    }

    /// Runs a command of the human monitor; gives its text.
    pub fn human(&mut self, command: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for an event by its name; those that came before it stay to be waited for.
    pub fn event(&mut self, name: &str, timeout: Duration) -> Result<Value> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
                return Ok(self.events.remove(at));
            }
            match self.message(deadline)? {
                Some(message) => self.events.push(message),
                None => bail!("the event {name} did not come within {timeout:?}"),
            }
        }
    }

    /// The next message, or nothing when the time is over.
    fn message(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            if let Some(line) = self.lines.next() {
                let value = serde_json::from_slice(&line).with_context(|| {
                    format!("reading QEMU's answer {:?}", String::from_utf8_lossy(&line))
                })?;
                return Ok(Some(value));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wire.set_read_timeout(Some(left))?;
            let mut piece = [0; 4096];
            match self.wire.read(&mut piece) {
                Ok(0) => bail!("QEMU closed its control channel"),
                Ok(count) => self.lines.push(&piece[..count]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).context("reading QEMU's control channel"),
            }
        }
    }
}

/// Pieces as they come, lines as they are complete.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        Some(self.0.drain(..=end).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU that says `replies` after its greeting.
    fn qmp_with(replies: &str) -> Result<Qmp> {
        let (ours, mut theirs) = UnixStream::pair()?;
        theirs.write_all(b"{\"QMP\": {}}\r\n{\"return\": {}}\r\n")?;
        theirs.write_all(replies.as_bytes())?;
        let qmp = Qmp::new(ours);
        // Open until the test is over, as QEMU is.
        std::mem::forget(theirs);
        qmp
    }

    #[test]
    fn a_line_in_two_pieces_is_one_message() {
        let mut lines = Lines::default();
        lines.push(b"{\"a\":");
        assert_eq!(lines.next(), None);
        lines.push(b"1}\r\n{");
        assert_eq!(lines.next().as_deref(), Some(&b"{\"a\":1}\r\n"[..]));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn events_before_an_answer_are_kept() -> Result<()> {
        let mut qmp = qmp_with("{\"event\": \"RESET\"}\n{\"return\": 5}\n")?;
        assert_eq!(qmp.execute("query-five", json!({}))?, json!(5));
        assert_eq!(
            qmp.event("RESET", Duration::from_secs(1))?["event"],
            "RESET"
        );
        assert!(qmp.event("RESET", Duration::from_millis(50)).is_err());
        Ok(())
    }

    #[test]
    fn a_refusal_is_an_error_with_its_reason() -> Result<()> {
        let mut qmp = qmp_with("{\"error\": {\"desc\": \"no such device\"}}\n")?;
        let error = qmp.execute("device_del", json!({})).unwrap_err();
        assert!(error.to_string().contains("no such device"), "{error}");
        Ok(())
    }
}
