//! The table of tools.

use std::process::ExitCode;

use kedge_init::power;

use crate::help;

/// One tool.
pub(crate) struct Tool {
    /// The name that it is called by.
    pub(crate) name: &'static str,
    /// What it is for, in at most 60 characters.
    pub(crate) summary: &'static str,
    /// What `kedge help NAME` says: usage, and examples.
    pub(crate) help: &'static str,
    /// Runs it with the arguments that follow its name.
    pub(crate) run: fn(&[String]) -> ExitCode,
}

/// All of them, in the order in which help lists them.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "banner",
        summary: "what this machine is: links, disks and what is on them",
        help: kedge_machine::HELP,
        run: banner,
    },
    Tool {
        name: "beacon",
        summary: "tells others where this machine is",
        help: kedge_beacon::HELP,
        run: kedge_beacon::main,
    },
    Tool {
        name: "clock",
        summary: "the time, who says so, and setting it by a time server",
        help: kedge_clock::HELP,
        run: kedge_clock::main,
    },
    Tool {
        name: "console",
        summary: "a login shell on one more terminal",
        help: kedge_init::terminal::HELP,
        run: kedge_init::terminal::main,
    },
    Tool {
        name: "doctor",
        summary: "what is broken in an installed system, and why",
        help: kedge_doctor::HELP,
        run: kedge_doctor::main,
    },
    Tool {
        name: "fetch",
        summary: "downloads one file: http, https, tcp",
        help: kedge_fetch::HELP,
        run: kedge_fetch::main,
    },
    Tool {
        name: "find-host",
        summary: "finds a machine in a network by its SSH host key",
        help: kedge_find_host::HELP,
        run: kedge_find_host::main,
    },
    Tool {
        name: "halt",
        summary: "unmounts all and stops, switched on",
        help: power::HALT_HELP,
        run: power::halt,
    },
    Tool {
        name: "help",
        summary: "this list; help TOOL says more",
        help: help::HELP,
        run: help::run,
    },
    Tool {
        name: "init",
        summary: "process 1; init 0 powers off, init 6 reboots",
        help: kedge_init::HELP,
        run: kedge_init::main,
    },
    Tool {
        name: "net",
        summary: "addresses: status, setup, up, down, test",
        help: kedge_net::HELP,
        run: kedge_net::main,
    },
    Tool {
        name: "pack",
        summary: "programs that are not here yet: list, load",
        help: kedge_pack::HELP,
        run: kedge_pack::main,
    },
    Tool {
        name: "peek",
        summary: "bytes in hex and text, what they are, two files compared",
        help: kedge_peek::HELP,
        run: kedge_peek::main,
    },
    Tool {
        name: "poweroff",
        summary: "unmounts all and switches off",
        help: power::POWEROFF_HELP,
        run: power::poweroff,
    },
    Tool {
        name: "reboot",
        summary: "unmounts all and restarts",
        help: power::REBOOT_HELP,
        run: power::reboot,
    },
    Tool {
        name: "repair",
        summary: "puts a damaged file of a package back as it was",
        help: kedge_repair::HELP,
        run: kedge_repair::main,
    },
    Tool {
        name: "ssh-allow",
        summary: "says who may log in: a key, a URL, a one-time password",
        help: kedge_sshd::allow::HELP,
        run: kedge_sshd::allow::main,
    },
    Tool {
        name: "sshd",
        summary: "lets you in by SSH, with SFTP; runs by itself",
        help: kedge_sshd::HELP,
        run: kedge_sshd::main,
    },
    Tool {
        name: "verify",
        summary: "every file of every package against the database",
        help: kedge_doctor::verify::HELP,
        run: kedge_doctor::verify::main,
    },
];

/// What this machine is, and (unless that is all that is wanted) how to get in.
fn banner(arguments: &[String]) -> ExitCode {
    match arguments {
        [only] if only == "--machine" => kedge_machine::main(&[]),
        [] | [_] if arguments.iter().all(|argument| argument == "--all") => {
            let code = kedge_machine::main(arguments);
            crate::print(&(kedge_access::text() + kedge_init::terminal::NEXT));
            code
        }
        _ => kedge_machine::main(arguments),
    }
}

/// The tool of that name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_fits_a_terminal() {
        assert!(TOOLS.is_sorted_by_key(|tool| tool.name));
        for tool in TOOLS {
            assert!(tool.summary.len() <= 60, "{}", tool.name);
            assert!(tool.help.ends_with('\n'), "{}", tool.name);
            assert!(
                tool.help.lines().all(|l| l.is_ascii() && l.len() < 80),
                "{}",
                tool.name
            );
        }
    }
}
