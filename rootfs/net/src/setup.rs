//! `net setup`: asks for what a link needs, one thing after the other, with an answer to each that Enter
//! takes. Fit for a serial line: nothing but lines of text.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;

use crate::advice::{advise, usual_gateways};
use crate::config::ip::Fixed;
use crate::links;
use crate::status::Status;
use crate::up::{self, Wish};

/// Nobody answers any more.
const ENDED: &str = "nothing was changed";

/// Asks on stderr, reads from `input`, and does it.
pub(crate) fn setup(input: &mut impl BufRead) -> Result<(), String> {
    let status = Status::look().map_err(|e| format!("the kernel does not answer: {e}"))?;
    eprint!("{}", status.words());
    let legless = status.links.iter().filter(|link| link.master.is_none());
    let default = legless
        .clone()
        .find(|link| link.carrier)
        .or_else(|| legless.clone().next())
        .ok_or("there is no Ethernet link to set up")?;
    let mut wish = ask_all(input, &default.name)?;
    loop {
        eprintln!("\n  {}\n", line(&wish));
        match question(input, "Do this? (y, n, or e to edit)", "y")?.as_str() {
            "y" | "Y" | "yes" => break,
            "e" | "E" | "edit" => wish = ask_all(input, &wish.link)?,
            _ => return Err(ENDED.into()),
        }
    }
    match up::up(&wish) {
        Err(e) if e.contains("--force") => {
            eprintln!("{e}");
            match question(input, "Insist?", "n")?.as_str() {
                "y" | "Y" | "yes" => {
                    wish.force = true;
                    up::up(&wish)
                }
                _ => Err(ENDED.into()),
            }
        }
        result => result,
    }
}

fn ask_all(input: &mut impl BufRead, link: &str) -> Result<Wish, String> {
    let mut wish = Wish {
        link: until(input, "Link", link, |answer| {
            links::link(answer)
                .map(|link| link.name)
                .ok_or_else(|| "there is no such Ethernet link".into())
        })?,
        ..Wish::default()
    };
    let automatic = question(input, "Ask DHCP servers and routers? (y or n)", "n")?;
    if matches!(automatic.as_str(), "y" | "Y" | "yes") {
        return Ok(wish);
    }
    let address = until(
        input,
        "Address with prefix, such as 192.0.2.7/24",
        "",
        |text| {
            up::address(text).and_then(|address| {
                let fixed = Fixed {
                    address,
                    peer: None,
                    gateway: None,
                };
                match advise(&fixed).into_iter().find(|advice| advice.fatal) {
                    Some(advice) => Err(advice.text),
                    None => Ok(address),
                }
            })
        },
    )?;
    wish.address = Some(address);
    let usual = usual_gateways(address)
        .first()
        .map_or("none".into(), IpAddr::to_string);
    wish.gateway = until(input, "Gateway, or none", &usual, |text| match text {
        "none" => Ok(None),
        text => {
            let gateway: IpAddr = text.parse().map_err(|_| "that is no IP address")?;
            if gateway.is_ipv4() != address.address.is_ipv4() {
                return Err(format!("{gateway} is not of the same family as {address}"));
            }
            let fixed = Fixed {
                address,
                peer: None,
                gateway: Some(gateway),
            };
            for advice in advise(&fixed) {
                if advice.fatal {
                    return Err(advice.text);
                }
                eprintln!("note: {}", advice.text);
            }
            Ok(Some(gateway))
        }
    })?;
    wish.nameservers = until(input, "DNS servers, or none", "none", |text| match text {
        "none" => Ok(Vec::new()),
        text => text
            .split([',', ' '])
            .filter(|word| !word.is_empty())
            .map(|word| word.parse().map_err(|_| format!("{word} is no IP address")))
            .collect(),
    })?;
    Ok(wish)
}

/// Asks until the answer makes sense.
fn until<T>(
    input: &mut impl BufRead,
    text: &str,
    default: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    loop {
        match parse(&question(input, text, default)?) {
            Ok(value) => return Ok(value),
            Err(why) => eprintln!("{why}"),
        }
    }
}

fn question(input: &mut impl BufRead, text: &str, default: &str) -> Result<String, String> {
    match default {
        "" => eprint!("{text}: "),
        default => eprint!("{text} [{default}]: "),
    }
    let _ = io::stderr().flush();
    let mut answer = String::new();
    match input.read_line(&mut answer) {
        Ok(0) => {
            eprintln!();
            Err(ENDED.into())
        }
        Ok(_) => Ok(match answer.trim() {
            "" => default.to_owned(),
            answer => answer.to_owned(),
        }),
        Err(e) => Err(format!("cannot read an answer: {e}; {ENDED}")),
    }
}

/// What to type for the same the next time.
fn line(wish: &Wish) -> String {
    let mut line = format!("net up {}", wish.link);
    if let Some(address) = wish.address {
        line.push_str(&format!(" --address {address}"));
    }
    if let Some(gateway) = wish.gateway {
        line.push_str(&format!(" --gateway {gateway}"));
    }
    if !wish.nameservers.is_empty() {
        let servers: Vec<String> = wish.nameservers.iter().map(IpAddr::to_string).collect();
        line.push_str(&format!(" --dns {}", servers.join(",")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_type_is_what_net_up_reads() {
        let words = "eth0 --address 192.0.2.7/24 --gateway 192.0.2.1 --dns 192.0.2.53,::1";
        let arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let wish = up::parse(&arguments).unwrap();
        assert_eq!(line(&wish), format!("net up {words}"));
    }

    #[test]
    fn wrong_answers_are_asked_for_again_and_an_end_changes_nothing() {
        let mut input = &b"\n\n192.0.2.0/24\n192.0.2.7\n192.0.2.7/24\n192.0.2.7\n\nx\nnone\n"[..];
        // The first link of this machine stands for any.
        let Some(link) = links::links().first().map(|link| link.name.clone()) else {
            return;
        };
        let wish = ask_all(&mut input, &link).unwrap();
        assert_eq!(wish.address, "192.0.2.7/24".parse().ok());
        assert_eq!(wish.gateway, "192.0.2.1".parse().ok());
        assert_eq!(ask_all(&mut input, &link), Err(ENDED.into()));
    }
}
