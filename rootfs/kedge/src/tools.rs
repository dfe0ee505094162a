//! The table of tools.

use std::process::ExitCode;

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
pub(crate) const TOOLS: [Tool; 4] = [
    Tool {
        name: "banner",
        summary: "what this machine is: links, disks and what is on them",
        help: kedge_machine::HELP,
        run: kedge_machine::main,
    },
    Tool {
        name: "console",
        summary: "a login shell on one more terminal",
        help: kedge_init::terminal::HELP,
        run: kedge_init::terminal::main,
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
];

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
        for tool in &TOOLS {
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
