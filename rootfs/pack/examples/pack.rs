//! `pack` for a system in a folder: `pack ROOT WORDS ARGUMENT...`, where WORDS are those of a kernel's command
//! line. Devices are looked for in ROOT/sys and ROOT/dev.

use std::process::ExitCode;

use kedge_pack::Place;
use kedge_settings::Words;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, words, arguments @ ..] = arguments.as_slice() else {
        eprintln!("usage: pack ROOT WORDS ARGUMENT...");
        return ExitCode::from(2);
    };
    let root = std::path::PathBuf::from(root);
    let place = Place {
        sys: root.join("sys"),
        proc: root.join("proc"),
        dev: root.join("dev"),
        root,
    };
    let words = Words::parse(b"", words.as_bytes());
    match arguments {
        [missing, name] if missing == "--missing" => {
            kedge_pack::offer_at(&place, &words, name).unwrap_or(ExitCode::SUCCESS)
        }
        _ => kedge_pack::run(&place, &words, arguments),
    }
}
