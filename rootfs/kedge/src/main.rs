//! The multicall binary: one static program, many tools, told apart by the name it is called by
//! (`banner`), or by its first argument (`kedge banner`). Each tool is a crate of its own; this
//! one only dispatches.
//!
//! Programs of packs that are not loaded are links to this one too: it says how to get them.
//!
//! Exit status: the tool's; 127 when there is no such tool, as a shell says it.

mod help;
mod tools;

use std::io::{self, Write};
use std::process::ExitCode;

use tools::{TOOLS, Tool};

/// The name that is no tool's, but everybody's.
const SELF: &str = "kedge";

fn main() -> ExitCode {
    // Bytes that are no text can only be wrong, and are then shown as such.
    let mut arguments = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
    let called = arguments.next().unwrap_or_default();
    let called = called.rsplit('/').next().unwrap_or_default();
    // A login shell's name starts with a hyphen.
    let called = called.strip_prefix('-').unwrap_or(called);
    let arguments: Vec<String> = arguments.collect();
    if let Some(tool) = tools::find(called) {
        return run(tool, &arguments);
    }
    if called != SELF
        && let Some(code) = kedge_pack::offer(called)
    {
        return code;
    }
    match arguments.split_first() {
        None => help::run(&[]),
        Some((first, rest)) => match first.as_str() {
            "--list" => print(
                &TOOLS
                    .iter()
                    .map(|tool| format!("{}\n", tool.name))
                    .collect::<String>(),
            ),
            "--version" | "-V" => print(&format!("{SELF} {}\n", env!("CARGO_PKG_VERSION"))),
            "--help" | "-h" => help::run(rest),
            name => match tools::find(name) {
                Some(tool) => run(tool, rest),
                None => no_such_tool(name),
            },
        },
    }
}

/// Runs a tool, or says how. Not init: what the kernel did not know of its command line is handed
/// to process 1, which must not end for a word there.
fn run(tool: &Tool, arguments: &[String]) -> ExitCode {
    match arguments {
        [help] if help == "--help" && tool.name != "init" => print(tool.help),
        _ => (tool.run)(arguments),
    }
}

/// One line on stderr, and the status of a command that was not found.
fn no_such_tool(name: &str) -> ExitCode {
    if let Some(code) = kedge_pack::offer(name) {
        return code;
    }
    eprintln!(
        "{SELF}: no tool '{}' here; {SELF} help lists those there are",
        name.escape_debug()
    );
    ExitCode::from(127)
}

/// Writes to stdout. That nobody reads it to the end (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{SELF}: cannot write to stdout: {e}");
            ExitCode::FAILURE
        }
    }
}
