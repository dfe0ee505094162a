//! `beacon`: tells those whom the operator named where this machine is, so that it is found again when
//! its addresses change.
//!
//! [`whereabouts`] knows the addresses, [`payload`] what is told, [`destination`] whom and how
//! ([`dyndns2`], [`prefix`]), [`service`] when.

pub mod destination;
pub mod dyndns2;
pub mod payload;
pub mod prefix;
pub mod service;
pub mod whereabouts;

use std::io::{self, Write};
use std::process::ExitCode;

use kedge_json::{array, object, optional, text};
use kedge_settings::Words;

use destination::Destination;
use payload::Facts;
use whereabouts::links;

/// What `kedge help beacon` says.
pub const HELP: &str = "\
usage: beacon [URL...]
       beacon --show [--json] [URL...]
       beacon --once [--json] [URL...]

Tells each URL where this machine is: when an address appears or changes, and
every 10 minutes. Without a URL those of kedge.beacon= on the kernel's command
line, for which init starts it. What fails is tried again, after 1 s to 10 min.

  https://, http://   POST of JSON: addresses, MACs, serial, SSH fingerprint
  udp://HOST:PORT     the same in one datagram of at most 1400 bytes
  dyndns2://USER:TOKEN@HOST[/PATH]?hostname=NAME[,NAME]
                      a dynamic DNS update by https (dyndns2+http:// without
                      TLS), on changes and once a day; PATH: /nic/update
    &v4=off &v6=off   do not tell A, or AAAA; &v6=myipv6 in its own parameter
    &prefix=64:nas=::1:2:3:4,tv=00:11:22:33:44:55
                      hosts that share the first 64 bits of this machine's IPv6
                      address and have that end, or that MAC (EUI-64)

  --show   prints what would be told, and sends nothing; --json: the object
  --once   tells once, and says who was reached

  beacon --show udp://192.0.2.1:9000
  beacon --once https://user:token@example.org/beacon

Exit status: 0; 1 somebody could not be told (--once); 2 wrong use.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Service,
    Show,
    Once,
}

/// Runs `beacon`. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("beacon: {why}; kedge help beacon says more");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let (mut mode, mut json, mut urls) = (Mode::Service, false, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "--show" => mode = Mode::Show,
            "--once" => mode = Mode::Once,
            "--json" => json = true,
            option if option.starts_with('-') => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            url => urls.push(url.to_string()),
        }
    }
    if json && mode == Mode::Service {
        return Err("--json goes with --show and --once".into());
    }
    let given = !urls.is_empty();
    if !given && let Ok(words) = Words::here() {
        urls = words
            .all("kedge.beacon")
            .map(|url| String::from_utf8_lossy(url).into_owned())
            .collect();
    }
    let mut destinations = Vec::new();
    for url in &urls {
        match Destination::parse(url) {
            Ok(parsed) => destinations.extend(parsed),
            Err(why) if given => return Err(why),
            // The others are told all the same.
            Err(why) => kedge_message::warning!("kedge.beacon: {why}; it is left out"),
        }
    }
    match mode {
        Mode::Show => show(&destinations, json),
        _ if destinations.is_empty() => Err(
            "nobody to tell: give a URL, or kedge.beacon=URL on the kernel's command line".into(),
        ),
        Mode::Once => once(&destinations, json),
        Mode::Service => match service::run(destinations) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                kedge_message::warning!("beacon: cannot start: {error}");
                Ok(ExitCode::FAILURE)
            }
        },
    }
}

fn show(destinations: &[Destination], json: bool) -> Result<ExitCode, String> {
    let links = links().map_err(|error| format!("cannot read the addresses: {error}"))?;
    if json || destinations.is_empty() {
        return Ok(print(&(Facts::of(links).json() + "\n")));
    }
    Ok(print(
        &destinations
            .iter()
            .map(|destination| destination.show(&links))
            .collect::<String>(),
    ))
}

fn once(destinations: &[Destination], json: bool) -> Result<ExitCode, String> {
    let links = links().map_err(|error| format!("cannot read the addresses: {error}"))?;
    // Together: one who hangs must not keep the others waiting.
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = destinations
            .iter()
            .map(|destination| scope.spawn(|| destination.tell(&links)))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut all_told = true;
    let mut objects = Vec::new();
    for (destination, result) in destinations.iter().zip(results) {
        let why = match result {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure.why),
            Err(_) => Some("an error in kedge itself".into()),
        };
        all_told &= why.is_none();
        if json {
            objects.push(object(&[
                ("destination", text(&destination.to_string())),
                ("told", why.is_none().to_string()),
                ("problem", optional(why.as_deref())),
            ]));
        } else {
            match why {
                None => eprintln!("beacon: {destination} was told"),
                Some(why) => eprintln!("beacon: {destination}: {why}"),
            }
        }
    }
    if json {
        print(&(array(objects.into_iter()) + "\n"));
    }
    Ok(if all_told {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes to stdout. That nobody reads it to the end is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("beacon: cannot write to stdout: {e}");
            ExitCode::FAILURE
        }
    }
}
