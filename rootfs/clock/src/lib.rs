//! `clock`: what time it is, who says so, and setting it.
//!
//! The kernel takes the time from the RTC when it starts. Init sees to it that it is not earlier than
//! the build ([`at_least`]), and `clock service` ([`service`]) asks a time server by [`sntp`], if the
//! operator or the network named one.

pub mod measure;
pub mod service;
pub mod sntp;
pub mod state;
pub mod system;
pub mod utc;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use kedge_json::{object, optional, text};
use kedge_settings::Words;

use measure::{Done, Measurement, apply, measure};
use service::Choice;
use state::State;
use system::{Clock, System};
pub use system::{at_least, build_date};
use utc::Utc;

/// What `kedge help clock` says.
pub const HELP: &str = "\
usage: clock [--json]
       clock --from SERVER [--set] [--json]
       clock service

Without an option: the time (UTC), what the RTC says, and which server set it.

  --from SERVER   asks a time server how far off the clock is (SNTP; a name or
                  an address, with :PORT where it is not 123); four samples, of
                  which the quickest counts, when that is over 0.5 s
  --set           and sets the clock: at once when it is over 0.5 s off, else
                  by letting it run faster or slower for a while
  --json          one object; offsets in seconds, positive when behind

  clock --from 192.0.2.1 --set

clock service does so by itself, again every hour. It asks the servers that
kedge.ntp=HOST[,HOST] names on the kernel's command line, else those that DHCP
named, else nobody; kedge.ntp=off stops it. The RTC is never written.

Exit status: 0; 1 no usable answer, or not allowed to set; 2 wrong use.
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Show {
        json: bool,
    },
    Ask {
        server: String,
        set: bool,
        json: bool,
    },
    Service,
}

fn parse(arguments: &[String]) -> Result<Command, String> {
    let (mut server, mut set, mut json, mut service) = (None, false, false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--from" => server = Some(rest.next().ok_or("--from needs a server")?.clone()),
            "--set" => set = true,
            "--json" => json = true,
            "service" => service = true,
            other => return Err(format!("no argument '{}' here", other.escape_debug())),
        }
    }
    match (server, service) {
        (None, true) if !set && !json => Ok(Command::Service),
        (Some(server), false) => Ok(Command::Ask { server, set, json }),
        (None, false) if !set => Ok(Command::Show { json }),
        (None, false) => Err("--set needs --from SERVER".into()),
        _ => Err("service goes with no option".into()),
    }
}

/// Runs `clock`. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    match parse(arguments) {
        Ok(Command::Show { json }) => show(json),
        Ok(Command::Ask { server, set, json }) => ask(&server, set, json),
        Ok(Command::Service) => match Words::here() {
            Ok(words) => {
                service::run(&Choice::of(&words), &mut System, Path::new(state::FILE));
                ExitCode::SUCCESS
            }
            Err(error) => {
                kedge_message::warning!("clock: cannot read the kernel's command line: {error}");
                ExitCode::FAILURE
            }
        },
        Err(why) => {
            eprintln!("clock: {why}; kedge help clock says more");
            ExitCode::from(2)
        }
    }
}

fn show(json: bool) -> ExitCode {
    let now = SystemTime::now();
    let rtc = system::rtc();
    let state = State::read(Path::new(state::FILE));
    print(&if json {
        let time = |time: SystemTime| text(&Utc(time).to_string());
        object(&[
            ("time", time(now)),
            ("unix", Utc(now).unix().to_string()),
            ("rtc", rtc.map_or("null".into(), time)),
            ("build", time(build_date())),
            (
                "set_by",
                state.map_or("null".into(), |state| {
                    object(&[
                        ("server", text(&state.server)),
                        ("offset", format!("{:.9}", state.offset)),
                        ("stepped", state.stepped.to_string()),
                        ("when", time(state.when)),
                    ])
                }),
            ),
        ]) + "\n"
    } else {
        let rtc = rtc.map_or("there is none".into(), |rtc| Utc(rtc).to_string());
        let set_by = match state {
            None => "no server (from the RTC, or by hand)".into(),
            Some(state) => format!(
                "{}, at {}: {:+.3} s {}",
                printable(&state.server),
                Utc(state.when),
                state.offset,
                if state.stepped { "at once" } else { "slowly" }
            ),
        };
        format!(
            "time    {}\nRTC     {rtc}\nbuild   {}\nset by  {set_by}\n",
            Utc(now),
            Utc(build_date())
        )
    })
}

fn ask(server: &str, set: bool, json: bool) -> ExitCode {
    eprintln!("clock: asking {} ...", printable(server));
    let measurement = match measure(server, &System) {
        Ok(measurement) => measurement,
        Err(error) => {
            eprintln!("clock: time server {}: {error}", printable(server));
            return ExitCode::FAILURE;
        }
    };
    let done = if set {
        match apply(measurement.best.offset, &mut System) {
            Ok(done) => Some(done),
            Err(error) => {
                eprintln!("clock: cannot set the clock: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        None
    };
    if let Some(done) = done
        && let Err(error) =
            State::of(&measurement, done, System.now()).write(Path::new(state::FILE))
    {
        eprintln!("clock: cannot write {}: {error}", state::FILE);
    }
    print(&report(&measurement, done, json))
}

fn report(measurement: &Measurement, done: Option<Done>, json: bool) -> String {
    let Measurement {
        server,
        address,
        best,
    } = measurement;
    let (offset, delay) = (best.offset as f64 / 1e9, best.delay as f64 / 1e9);
    let done = done.map(|done| match done {
        Done::Stepped => "stepped",
        Done::Slewed => "slewed",
    });
    if json {
        return object(&[
            ("server", text(server)),
            ("address", text(&address.to_string())),
            ("offset", format!("{offset:.9}")),
            ("delay", format!("{delay:.9}")),
            ("stratum", best.stratum.to_string()),
            ("done", optional(done)),
        ]) + "\n";
    }
    let which = if best.offset < 0 {
        "ahead of"
    } else {
        "behind"
    };
    let then = done.map_or(String::new(), |done| format!("; {done}"));
    format!(
        "the clock is {:.6} s {which} {address} (stratum {}, {delay:.6} s away){then}\n",
        offset.abs(),
        best.stratum
    )
}

fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}

/// Writes to stdout. That nobody reads it to the end is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("clock: cannot write to stdout: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_use_is_told_from_right() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
            super::parse(&words)
        };
        assert_eq!(parse("--json"), Ok(Command::Show { json: true }));
        assert_eq!(parse("service"), Ok(Command::Service));
        assert_eq!(
            parse("--from a --set"),
            Ok(Command::Ask {
                server: "a".into(),
                set: true,
                json: false
            })
        );
        for wrong in ["--set", "--from", "service --json", "--from a service", "x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
