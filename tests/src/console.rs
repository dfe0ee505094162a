//! A serial console: what comes over it is kept with its time of arrival, written to a file, waited
//! for; commands are run over it and their output and exit status read back.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

/// What the kernel prints when it is lost: no use in waiting on.
const PANIC: &str = "Kernel panic - not syncing";

/// How long a person takes from key to key.
const KEY: Duration = Duration::from_millis(60);

/// Everything received so far, shared with the thread that receives it.
#[derive(Debug, Default)]
pub struct Log {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    data: Vec<u8>,
    /// End offset and time of each piece, in order.
    arrivals: Vec<(usize, SystemTime)>,
    closed: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, piece: &[u8]) {
        let mut state = self.lock();
        state.data.extend_from_slice(piece);
        let end = state.data.len();
        state.arrivals.push((end, SystemTime::now()));
        self.grown.notify_all();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.grown.notify_all();
    }

    /// Everything received, as text, without escape sequences.
    pub fn text(&self) -> String {
        without_escapes(&String::from_utf8_lossy(&self.lock().data))
    }

    /// Everything received from `offset` on, as it came and when.
    fn pieces(&self, offset: usize) -> Vec<(SystemTime, Vec<u8>)> {
        let state = self.lock();
        let mut begin = 0;
        let mut pieces = Vec::new();
        for (end, time) in &state.arrivals {
            if *end > offset {
                pieces.push((*time, state.data[begin.max(offset)..*end].to_vec()));
            }
            begin = *end;
        }
        pieces
    }

    /// When the byte at `offset` arrived.
    fn arrival(&self, offset: usize) -> Option<SystemTime> {
        let state = self.lock();
        state
            .arrivals
            .iter()
            .find(|(end, _)| *end > offset)
            .map(|(_, time)| *time)
    }

    /// Waits until `look` finds something in what was received; gives what it found.
    fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state.data) {
                return Ok(found);
            }
            if state.closed {
                bail!("the machine ended while waiting for {what}");
            }
            if find(&state.data, PANIC.as_bytes()).is_some() {
                bail!("the kernel panicked while waiting for {what}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{what} did not come within {timeout:?}");
            }
            let waited = self.grown.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a command in the guest printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output and error as they came over the line, without the kernel's own messages.
    pub text: String,
    /// The exit status.
    pub status: u8,
}

/// One serial line of a running machine.
#[derive(Debug)]
pub struct Console {
    name: String,
    wire: UnixStream,
    log: Arc<Log>,
    /// What was already waited for lies before this offset.
    seen: usize,
    commands: u32,
}

impl Console {
    /// Takes over the line, copying what comes to `file`.
    pub(crate) fn new(name: &str, wire: UnixStream, file: &Path) -> Result<Self> {
        let mut copy =
            File::create(file).with_context(|| format!("creating {}", file.display()))?;
        let mut reader = wire.try_clone()?;
        let log = Arc::new(Log::default());
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut piece) {
                // The copy is for people; what the test looks at is the log.
                let _ = copy.write_all(&piece[..count]);
                shared.push(&piece[..count]);
            }
            shared.close();
        });
        Ok(Self {
            name: name.to_owned(),
            wire,
            log,
            seen: 0,
            commands: 0,
        })
    }

    /// The log, to look at when the console is gone.
    pub fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// How much has come so far: a place to begin [`Self::since`].
    pub fn now(&self) -> usize {
        self.log.lock().data.len()
    }

    /// What has come since then, piece by piece.
    pub fn since(&self, then: usize) -> Vec<(SystemTime, Vec<u8>)> {
        self.log.pieces(then)
    }

    /// Types a line as a person does, and waits until `prompt` comes again, and nothing behind it. The kernel's messages are
    /// taken out, as by [`Self::try_run`]: a slow host is enough for one.
    pub fn type_line(&mut self, line: &str, prompt: &str, timeout: Duration) -> Result<String> {
        for char in line.chars() {
            self.send(&char.to_string())?;
            std::thread::sleep(KEY);
        }
        let from = self.now();
        self.send("\n")?;
        let what = format!("{prompt:?} after `{line}` on {}", self.name);
        let text = self
            .log
            .wait(&what, timeout, |data| reply(&data[from..], prompt))?;
        self.seen = self.now();
        Ok(text)
    }

    /// Types `text` as it is: a line ends with "\n", ctrl-C is "\x03".
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.wire
            .write_all(text.as_bytes())
            .with_context(|| format!("typing {text:?} on {}", self.name))
    }

    /// Waits for `text` in what came after the last thing waited for; gives its time of arrival.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> Result<SystemTime> {
        let from = self.seen;
        let what = format!("{text:?} on {}", self.name);
        let at = self
            .log
            .wait(&what, timeout, |data| find(&data[from..], text.as_bytes()))?;
        self.seen = from + at + text.len();
        self.log
            .arrival(from + at)
            .context("a byte that was received has a time of arrival")
    }

    /// Waits until there is a shell that answers: the banner, and then a command that runs.
    pub fn wait_for_shell(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        // The banner's last words; what is typed before it might stop a boot loader.
        self.expect("kedge help", timeout)?;
        self.wait_for_prompt(deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until the shell answers: a system that has started may still have to start it.
    pub fn wait_for_prompt(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            // Short, and again: what is typed before the shell has its terminal may be thrown away.
            match self.run_within("true", Duration::from_secs(5)) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                // Of what was typed before, half a line may be left, with a quote that nothing closes.
                Err(_) => self.send("\x03")?,
            }
        }
    }

    /// Runs a command that must succeed; gives what it printed.
    pub fn run(&mut self, command: &str) -> Result<String> {
        let out = self.run_within(command, crate::COMMAND)?;
        if out.status != 0 {
            bail!("`{command}` ended with {}: {}", out.status, out.text);
        }
        Ok(out.text)
    }

    /// Runs a command that may fail. A command for the background goes in braces: `{ sleep 9 & }`.
    ///
    /// The kernel's messages are taken out wherever they fall into the output, so `dmesg` has to be
    /// asked without its brackets: `dmesg | tr -d '['`.
    pub fn try_run(&mut self, command: &str) -> Result<Output> {
        self.run_within(command, crate::COMMAND)
    }

    /// Like [`Self::try_run`], for commands that take longer or shorter than usual.
    pub fn run_within(&mut self, command: &str, timeout: Duration) -> Result<Output> {
        self.commands += 1;
        let n = self.commands;
        let from = self.log.lock().data.len();
        // The quotes keep the echo of what is typed from looking like the answer.
        self.send(&format!(
            "echo @@be''gin{n}; {command}; echo @@e''nd{n}:$?:\n"
        ))?;
        let what = format!("the end of `{command}` on {}", self.name);
        let out = self
            .log
            .wait(&what, timeout, |data| answer(&data[from..], n))?;
        self.seen = self.log.lock().data.len();
        Ok(out)
    }
}

/// What came between the end of the typed line and the next prompt, once that is there.
fn reply(data: &[u8], prompt: &str) -> Option<String> {
    let text = plain(data);
    let (_, after) = text.split_once('\n')?;
    Some(after.strip_suffix(prompt)?.to_owned())
}

/// The answer to command number `n`, once it is whole.
fn answer(data: &[u8], n: u32) -> Option<Output> {
    let text = plain(data);
    let begin = format!("@@begin{n}\n");
    let end = format!("@@end{n}:");
    let body = &text[text.find(&begin)? + begin.len()..];
    let (body, rest) = body.split_once(&end)?;
    let (status, _) = rest.split_once(':')?;
    Some(Output {
        text: body.to_owned(),
        status: status.parse().ok()?,
    })
}

/// Where `needle` begins in `data`.
pub(crate) fn find(data: &[u8], needle: &[u8]) -> Option<usize> {
    data.windows(needle.len())
        .position(|window| window == needle)
}

/// What programs wrote: without escape sequences, and without what the kernel said.
fn plain(data: &[u8]) -> String {
    without_kernel_messages(&without_escapes(&String::from_utf8_lossy(data)))
}

/// Takes out control sequences (ECMA-48 CSI) and carriage returns.
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\x1b' && chars.peek() == Some(&'[') {
            chars.next();
            // Parameters and intermediates up to the final byte. Until that is there it is text: who waits for what stands in
            // front of it would go on in the middle of it.
            let is_final = |char| ('\x40'..='\x7e').contains(&char);
            if !chars.any(is_final) {
                plain.push('\x1b');
            }
        } else if char != '\r' {
            plain.push(char);
        }
    }
    plain
}

/// Takes out what the kernel printed ("[    1.234567] text\n"), also from the middle of a line.
fn without_kernel_messages(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if is_kernel_stamp(rest) {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else {
            plain.push('[');
            rest = &rest[1..];
        }
    }
    plain + rest
}

fn is_kernel_stamp(text: &str) -> bool {
    let Some((stamp, _)) = text[1..].split_once("] ") else {
        return false;
    };
    let Some((seconds, micros)) = stamp.split_once('.') else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(seconds.trim_start()) && micros.len() == 6 && digits(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(text: &str) -> Option<Output> {
        answer(text.as_bytes(), 7)
    }

    #[test]
    fn the_echo_is_not_the_answer() {
        assert_eq!(
            answer_to("echo @@be''gin7; ls; echo @@e''nd7:$?:\r\n"),
            None
        );
    }

    #[test]
    fn output_and_status_come_from_between_the_marks() {
        let out = answer_to("/ # echo ...\r\n@@begin7\r\na\r\nb\r\n@@end7:3:\r\n/ # ").unwrap();
        assert_eq!(
            out,
            Output {
                text: "a\nb\n".into(),
                status: 3
            }
        );
    }

    #[test]
    fn a_status_still_on_its_way_is_waited_for() {
        assert_eq!(answer_to("@@begin7\r\n@@end7:1"), None);
    }

    #[test]
    fn kernel_messages_are_taken_out_wherever_they_fall() {
        let out =
            answer_to("@@beg[    1.000001] usb: x\r\nin7\r\na[12.345678] y\r\nb\r\n@@end7:0:")
                .unwrap();
        assert_eq!(
            out,
            Output {
                text: "ab\n".into(),
                status: 0
            }
        );
    }

    #[test]
    fn kernel_messages_are_taken_out_of_what_a_typed_line_gave() {
        let reply = |text: &str| reply(text.as_bytes(), "# ");
        let late = "\r\n[   10.556081] hrtimer: interrupt took 8877673 ns\r\nbroken\r\n";
        assert_eq!(reply(&format!("{late}# ")), Some("broken\n".into()));
        assert_eq!(reply("\r\na\r\n# [    1.000001] x\r\n"), Some("a\n".into()));
        assert_eq!(reply("\r\na\r\n# b"), None);
    }

    #[test]
    fn brackets_that_are_not_the_kernels_stay() {
        assert_eq!(
            without_kernel_messages("[1] Done\n[x.y] z\n["),
            "[1] Done\n[x.y] z\n["
        );
    }

    #[test]
    fn colours_and_cursor_queries_are_taken_out() {
        assert_eq!(without_escapes("\x1b[1;32mok\x1b[0m\x1b[6n\r\n"), "ok\n");
        assert_eq!(reply(b"\r\n# \x1b[6", "# "), None);
        assert_eq!(reply(b"\r\n# \x1b[6n", "# "), Some(String::new()));
    }

    #[test]
    fn pieces_begin_where_they_are_asked_for() {
        let log = Log::default();
        for piece in ["abc", "def", "ghi"] {
            log.push(piece.as_bytes());
        }
        let texts: Vec<_> = log.pieces(4).into_iter().map(|(_, piece)| piece).collect();
        assert_eq!(texts, [b"ef".to_vec(), b"ghi".to_vec()]);
        assert_eq!(log.pieces(9).len(), 0);
    }

    #[test]
    fn a_panic_ends_the_waiting_at_once() {
        let log = Log::default();
        log.push(b"Kernel panic - not syncing: oh");
        let error = log
            .wait("a shell", Duration::from_secs(60), |_| None::<()>)
            .unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
