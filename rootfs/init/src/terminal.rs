//! `kedge console TTY`: a login shell on a terminal, in its own session.
//!
//! Init starts one of these for each console. It is a process of its own, because opening and
//! writing to a terminal can block for as long as nobody is there, and PID 1 must not.
//!
//! Exit status: 2 for wrong use, 3 when the terminal cannot be used, 127 when there is no shell;
//! otherwise the shell's own, since it takes this process over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::fs::OFlags;
use rustix::termios::{
    self, ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex,
    Winsize,
};

use crate::consoles;

/// Exit status for a terminal that cannot be used.
const UNUSABLE: u8 = 3;

/// What `kedge help console` says.
pub const HELP: &str = "\
usage: kedge console TTY

Starts a login shell on the terminal /dev/TTY, in a session of its own. Kedge
does so by itself on tty1 to tty4, ttyS0, ttyS1, hvc0 and each console= of the
kernel's command line; this is for one more. A serial port that is no kernel
console is set to 115200 bits per second, 8N1.

  setsid kedge console ttyUSB0 &
";

/// The banner that init had made, for every console to show.
pub(crate) const BANNER: &str = "/run/kedge/banner";

/// What to type first.
pub const NEXT: &str = "Next     type: kedge help\n";

/// The shell.
const SHELL: &str = "/bin/busybox";

/// Runs `kedge console`. `arguments` are those after the tool's name.
pub fn main(arguments: &[String]) -> ExitCode {
    let (name, again) = match arguments {
        [name] => (name, None),
        [name, option, why] if option == "--again" => (name, Some(why.as_str())),
        _ => {
            eprintln!(
                "kedge: usage: kedge console TTY, where TTY is a name in /dev, such as ttyS1"
            );
            return ExitCode::from(2);
        }
    };
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    match console(name, again) {
        Ok(never) => match never {},
        Err(Failure { what, cause, code }) => {
            eprintln!("kedge: {what} {name}: {cause}");
            ExitCode::from(code)
        }
    }
}

struct Failure {
    what: &'static str,
    cause: io::Error,
    code: u8,
}

fn failure<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |cause| Failure {
        what,
        cause: cause.into(),
        code: UNUSABLE,
    }
}

fn console(name: &str, again: Option<&str>) -> Result<std::convert::Infallible, Failure> {
    // Fails only for a process-group leader: one that a shell with job control started.
    rustix::process::setsid().map_err(failure(
        "cannot start a session (try: setsid kedge console) on",
    ))?;
    let mut terminal = open(name).map_err(failure("cannot open"))?;
    rustix::process::ioctl_tiocsctty(&terminal)
        .map_err(failure("cannot become the controlling process of"))?;
    let virtual_terminal = is_virtual(name);
    // A terminal that takes no settings is still better than none.
    let _ = make_sane(&terminal, virtual_terminal, is_kernel_console(name));
    greet(&mut terminal, again).map_err(failure("cannot write to"))?;

    rustix::stdio::dup2_stdin(&terminal).map_err(failure("cannot use"))?;
    rustix::stdio::dup2_stdout(&terminal).map_err(failure("cannot use"))?;
    rustix::stdio::dup2_stderr(&terminal).map_err(failure("cannot use"))?;
    drop(terminal);

    let home = if Path::new("/root").is_dir() {
        "/root"
    } else {
        "/"
    };
    let cause = Command::new(SHELL)
        // The applet's name, and the hyphen that makes it a login shell.
        .arg0("-sh")
        .env_clear()
        .env("HOME", home)
        .env("USER", "root")
        .env("LOGNAME", "root")
        .env("SHELL", "/bin/sh")
        .env("PATH", "/bin")
        .env("TERM", if virtual_terminal { "linux" } else { "vt220" })
        .current_dir(home)
        .exec();
    Err(Failure {
        what: "cannot start the shell /bin/busybox on",
        cause,
        code: 127,
    })
}

/// A VT of the kernel's, as opposed to a serial line or a hypervisor's console.
fn is_virtual(name: &str) -> bool {
    name.strip_prefix("tty")
        .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

fn is_kernel_console(name: &str) -> bool {
    consoles::kernel_consoles(Path::new("/sys"))
        .iter()
        .any(|console| console == name)
}

/// Opens without waiting for a carrier, which a BMC's serial port need not have.
fn open(name: &str) -> io::Result<File> {
    let path = Path::new("/dev").join(name);
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(&path)?;
    // Only a terminal answers this; a name such as "sda" must not get a shell.
    termios::tcgetattr(&terminal)?;
    let flags = rustix::fs::fcntl_getfl(&terminal)?;
    rustix::fs::fcntl_setfl(&terminal, flags - OFlags::NONBLOCK)?;
    Ok(terminal)
}

/// Puts a terminal in the state that a shell expects, whatever was done to it before.
fn make_sane(
    terminal: &File,
    virtual_terminal: bool,
    kernel_console: bool,
) -> rustix::io::Result<()> {
    let mut settings = termios::tcgetattr(terminal)?;
    settings.input_modes = InputModes::ICRNL | InputModes::IXON;
    if virtual_terminal {
        settings.input_modes |= InputModes::IUTF8;
    }
    settings.output_modes = OutputModes::OPOST | OutputModes::ONLCR;
    settings.local_modes = LocalModes::ISIG
        | LocalModes::ICANON
        | LocalModes::ECHO
        | LocalModes::ECHOE
        | LocalModes::ECHOK
        | LocalModes::ECHOCTL
        | LocalModes::ECHOKE
        | LocalModes::IEXTEN;
    // No carrier is waited for, and none lost ends the session: BMCs drop it on a new viewer.
    settings.control_modes |= ControlModes::CREAD | ControlModes::CLOCAL;
    settings.control_modes -= ControlModes::HUPCL;
    if !virtual_terminal && !kernel_console {
        settings.control_modes -= ControlModes::CSIZE
            | ControlModes::PARENB
            | ControlModes::CSTOPB
            | ControlModes::CRTSCTS;
        settings.control_modes |= ControlModes::CS8;
        // Not for a kernel console, whose speed `console=` has set.
        settings.set_speed(115_200)?;
    }
    let codes = &mut settings.special_codes;
    for (index, code) in [
        (SpecialCodeIndex::VINTR, 0x03),
        (SpecialCodeIndex::VQUIT, 0x1c),
        (SpecialCodeIndex::VERASE, 0x7f),
        (SpecialCodeIndex::VKILL, 0x15),
        (SpecialCodeIndex::VEOF, 0x04),
        (SpecialCodeIndex::VSTART, 0x11),
        (SpecialCodeIndex::VSTOP, 0x13),
        (SpecialCodeIndex::VSUSP, 0x1a),
        (SpecialCodeIndex::VMIN, 1),
        (SpecialCodeIndex::VTIME, 0),
    ] {
        codes[index] = code;
    }
    // Now, not when all output is written: on a line with nobody there that may be never.
    termios::tcsetattr(terminal, OptionalActions::Now, &settings)?;
    // A serial line cannot tell its size: without one, programs that fill the screen guess.
    let size = termios::tcgetwinsize(terminal)?;
    if size.ws_row == 0 || size.ws_col == 0 {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        termios::tcsetwinsize(terminal, size)?;
    }
    Ok(())
}

/// The banner the first time, one line when a shell ended.
fn greet(terminal: &mut File, again: Option<&str>) -> io::Result<()> {
    let text = match again {
        Some(why) => {
            format!("\nkedge: the shell on this console ended ({why}); here is a new one\n")
                .into_bytes()
        }
        None => {
            let machine = fs::read(BANNER).unwrap_or_default();
            [&machine, kedge_access::text().as_bytes(), NEXT.as_bytes()].concat()
        }
    };
    terminal.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_vts_are_virtual() {
        for (name, expected) in [
            ("tty1", true),
            ("ttyS0", false),
            ("hvc0", false),
            ("ttyUSB0", false),
        ] {
            assert_eq!(is_virtual(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        assert!(open("null").is_err());
        assert!(open("nonexistent").is_err());
    }
}
