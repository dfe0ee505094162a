//! Fetches a URL to stdout: to try a server, or a static build of this crate.

use std::io::Write;
use std::time::Duration;

fn main() {
    let url = std::env::args().nth(1).unwrap_or_default();
    match kedge_web::get(&url, 1 << 30, Duration::from_secs(60)) {
        Ok(body) => {
            let _ = std::io::stdout().write_all(&body);
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
