//! `fetch`: downloads one file, with nothing of the damaged system.
//!
//! | module | what it does |
//! |---|---|
//! | [`arguments`], [`name`] | what was typed; which name the file gets |
//! | [`transfer`] | requests, going on after a break, progress |
//! | [`place`] | the part beside the file, digests, the rename |

mod arguments;
mod error;
mod name;
mod place;
mod transfer;

use std::process::ExitCode;

use kedge_progress::{Progress, bytes, interrupt, seconds, shown_lines};

use arguments::{From, Wish};
use error::{Error, show};
use place::Place;
use transfer::Done;

/// What `kedge help fetch` says.
pub const HELP: &str = "\
usage: fetch URL [-o FILE] [OPTION...]

Downloads one file: http://, https://, or tcp://HOST:PORT (whatever comes
until the other side closes). Only the body of a successful answer is saved,
and under its name only when all of it is there.

  -o FILE        a file, a folder, or - for stdout; otherwise the last part of
                 the URL. What exists is not replaced ...
  --force        ... but with this. A disk is written to from its first byte
  --sha256 HEX   also --md5, --sha1, --sha512: other bytes are not saved
  --resolve HOST:ADDRESS   the address of a name
  --insecure     believes whatever certificate the server shows: whoever is in
                 between can send what he likes (--sha256 proves otherwise)
  --timeout SEC  gives up when nothing comes for so long (60; tcp: never)
  --quiet        only failures

  fetch http://192.0.2.1/libssl3_3.0.17-1_amd64.deb -o /tmp
  fetch https://example.org/a.tar.xz -o - | tar -xJf -
  fetch tcp://192.0.2.1:9000 -o disk.img    there: nc -l -p 9000 < disk.img

Each redirect is shown, with the address that was connected to. A connection
that breaks is made again, and goes on where it broke when the server can tell
that the content is the same; so does the same command after ctrl-C, from
FILE.kedge-part. Authorities of your own: /etc/ssl/kedge/NAME.pem.

Exit status: 0; 1 not fetched; 2 wrong use, or FILE exists; 3 not the bytes
that were named; 130 ctrl-C.
";

/// Runs `fetch`. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    let wish = match arguments::parse(arguments) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("fetch: {why} (kedge help fetch says more)");
            return ExitCode::from(2);
        }
    };
    interrupt::watch();
    match run(&wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch: {}", shown_lines(&error.to_string()));
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(wish: &Wish) -> Result<(), Error> {
    let mut place = Place::open(wish)?;
    if wish.settings.insecure && matches!(&wish.from, From::Web(_)) {
        let proof = match wish.digests.is_empty() {
            true => "nothing proves where these bytes come from (--sha256 would)",
            false => "only the digest proves what these bytes are",
        };
        eprintln!("fetch: --insecure: whoever answers is believed; {proof}");
    }
    let mut progress = Progress::new("fetch");
    let done = match transfer::run(wish, &mut place, &mut progress) {
        Ok(done) => done,
        Err(error) => {
            progress.clear();
            leave(&place);
            return Err(error);
        }
    };
    let name = place.name().map(|path| show(path).to_string());
    place.finish()?;
    if !wish.quiet {
        eprintln!("fetch: {}", report(wish, &done, name.as_deref()));
    }
    Ok(())
}

/// What of it stays.
fn leave(place: &Place) {
    match place.part() {
        Some(part) if place.can_go_on() => eprintln!(
            "fetch: {} are kept in {}; the same command goes on there",
            bytes(place.written()),
            show(part)
        ),
        Some(part) => eprintln!(
            "fetch: {} are kept in {}; the same command starts anew, since there is nothing to \
             compare by",
            bytes(place.written()),
            show(part)
        ),
        // Nothing came.
        None => drop(place.discard()),
    }
}

fn report(wish: &Wish, done: &Done, name: Option<&str>) -> String {
    let mut text = format!(
        "{} in {}",
        bytes(done.length),
        seconds(done.time.as_secs_f64())
    );
    if let Some(name) = name {
        text = format!("{name}: {text}");
    }
    if done.time.as_secs_f64() >= 1.0 {
        let rate = done.came as f64 / done.time.as_secs_f64();
        text += &format!(", {}/s", bytes(rate as u64));
    }
    for digest in &wish.digests {
        text += &format!(", {} as given", digest.algorithm());
    }
    if !done.end_known && wish.digests.is_empty() {
        text += "; nothing tells whether that is all of it (--sha256 would)";
    }
    text
}
