//! `kedge help [TOOL]`: what is here and what to type.

use std::process::ExitCode;

use crate::tools::{TOOLS, find};
use crate::{no_such_tool, print};

/// What `kedge help help` says.
pub(crate) const HELP: &str = "\
usage: kedge help [TOOL]

Without TOOL: what is here, with examples.
";

const INTRODUCTION: &str = "\
This is kedge, a rescue system. It runs from memory alone: the medium that it
came from can be taken away, and nothing on this machine's disks was changed.

Its own tools (kedge TOOL, or just TOOL; kedge help TOOL says more):
";

/// What runs by itself, or has a name that says all: in one line, so that the list fits a screen.
const PLAIN: [&str; 6] = ["console", "halt", "help", "init", "poweroff", "reboot"];

const REST: &str = "
Everything else is busybox: busybox --list names its tools, TOOL --help says
what each takes.

  dmesg | tail, less /var/log/messages   what the kernel and kedge had to say
  mount -o ro,norecovery /dev/sda2 /mnt  look at XFS or ext4, write nothing
  doctor /mnt                            what is broken on it, and why
  chroot /mnt                            work in the system that is on it
  net                                    links and addresses; net setup asks
  resize                                 tell a serial line its window's size

Shells are on every console: Alt-F1 to Alt-F4, the serial ports, hvc0.
";

/// Runs `kedge help`. Exit status: 0, or 127 when there is no such tool.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match arguments.first() {
        None => print(&overview()),
        Some(name) => match find(name) {
            Some(tool) => print(tool.help),
            None => no_such_tool(name),
        },
    }
}

fn overview() -> String {
    let mut text = String::from(INTRODUCTION);
    for tool in TOOLS.iter().filter(|tool| !PLAIN.contains(&tool.name)) {
        text.push_str(&format!("  {:<10} {}\n", tool.name, tool.summary));
    }
    text + "  " + &PLAIN.join(", ") + "\n" + REST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_tools_are_tools() {
        assert!(PLAIN.iter().all(|name| find(name).is_some()));
    }

    #[test]
    fn help_fits_a_serial_console_and_names_every_tool() {
        let text = overview();
        assert!(text.lines().count() <= 31);
        for line in text.lines() {
            assert!(line.is_ascii() && line.len() < 80, "{line}");
        }
        for tool in TOOLS {
            assert!(
                PLAIN.contains(&tool.name) || text.contains(&format!("  {} ", tool.name)),
                "{}",
                tool.name
            );
        }
    }
}
