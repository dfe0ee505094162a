//! `fetch` as a program of its own: for the tests, and to try it on any Linux.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    kedge_fetch::main(&arguments)
}
