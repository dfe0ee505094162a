//! `net test`: does the network do what it should? From the link outwards, so that the first line that
//! fails is the one to look at.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, SystemTime};

use kedge_json::{array, object, text};

use crate::links::Link;
use crate::neighbour::who_has;
use crate::status::Status;

/// Answers everybody with [`EXPECTED`], so that who gets something else knows that somebody stands in
/// between: Debian's, which NetworkManager asks there. Only `net test` asks, or another with --url.
pub(crate) const WORLD: &str = "http://network-test.debian.org/nm";
const EXPECTED: &[u8] = b"NetworkManager is online";
const PATIENCE: Duration = Duration::from_secs(15);
/// More, and certificates seem to be of another time.
const CLOCK: i64 = 60;

/// What one step found.
#[derive(Debug)]
struct Step {
    what: &'static str,
    fine: bool,
    found: String,
}

/// Tests, and tells each step as it is done. `Ok(false)`: something failed.
pub(crate) fn test(url: &str, json: bool) -> Result<bool, String> {
    let mut steps = Vec::new();
    let mut done = |step: Step| {
        if !json {
            let verdict = if step.fine { "ok    " } else { "FAILED" };
            println!("{verdict} {:<8} {}", step.what, step.found);
        }
        steps.push(step);
    };
    let status = Status::look().map_err(|e| format!("the kernel does not answer: {e}"))?;
    let used: Vec<&Link> = status
        .links
        .iter()
        .filter(|link| status.addresses_of(link).any(|a| a.global))
        .collect();
    done(addresses(&status, &used));
    for link in &used {
        for ipv6 in [false, true] {
            if let Some(gateway) = status.gateway(link, ipv6) {
                done(gateway_answers(&status, link, gateway));
            }
        }
    }
    if used
        .iter()
        .all(|link| status.gateway(link, false).is_none() && status.gateway(link, true).is_none())
    {
        done(Step {
            what: "gateway",
            fine: false,
            found: "none: nobody outside of the link can be reached".into(),
        });
    }
    let host = host_of(url);
    done(resolves(&status, host));
    let (world, date) = world(url);
    done(world);
    if let Some(date) = date {
        done(clock(date));
    }
    let fine = steps.iter().all(|step| step.fine);
    if json {
        let steps = steps.iter().map(|step| {
            object(&[
                ("what", text(step.what)),
                ("fine", step.fine.to_string()),
                ("found", text(&step.found)),
            ])
        });
        println!(
            "{}",
            object(&[("fine", fine.to_string()), ("steps", array(steps))])
        );
    }
    Ok(fine)
}

fn addresses(status: &Status, used: &[&Link]) -> Step {
    let mut found: Vec<String> = Vec::new();
    for link in used {
        for address in status.addresses_of(link).filter(|a| a.global) {
            found.push(format!("{} {}", link.name, address.prefix));
        }
    }
    if !found.is_empty() {
        return Step {
            what: "address",
            fine: true,
            found: found.join(", "),
        };
    }
    let carry = status.links.iter().filter(|link| link.carrier).count();
    Step {
        what: "address",
        fine: false,
        found: match (status.links.len(), carry) {
            (0, _) => "no link: no network hardware that this kernel knows".into(),
            (_, 0) => "no link has a carrier: cable, or the switch's port?".into(),
            _ => "none; nobody gave one yet: net setup takes a fixed one".into(),
        },
    }
}

fn gateway_answers(status: &Status, link: &Link, gateway: IpAddr) -> Step {
    let own = status
        .addresses_of(link)
        .map(|address| address.prefix.address)
        .find(|own| own.is_ipv4() == gateway.is_ipv4() && !own.is_loopback());
    let (fine, found) = match who_has(link, gateway, own) {
        Ok(Some(mac)) => (true, format!("{gateway} answers on {} ({mac})", link.name)),
        Ok(None) => (
            false,
            format!(
                "{gateway} does not answer on {}: right address, link, VLAN?",
                link.name
            ),
        ),
        Err(e) => (
            false,
            format!("{gateway} cannot be asked on {}: {e}", link.name),
        ),
    };
    Step {
        what: "gateway",
        fine,
        found,
    }
}

/// `http://HOST[:PORT]/...`
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host,
    }
}

fn resolves(status: &Status, host: &str) -> Step {
    let servers: Vec<String> = status
        .nameservers
        .iter()
        .map(|(ip, _)| ip.to_string())
        .collect();
    let host = crate::prefix::unbracketed(host);
    let (fine, found) = if host.parse::<IpAddr>().is_ok() {
        (true, format!("{host} is an address: not asked"))
    } else if servers.is_empty() {
        (
            false,
            "no server known: net up LINK ... --dns ADDRESS".into(),
        )
    } else {
        match (host, 80).to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => (true, format!("{host} is {}", address.ip())),
            Ok(None) => (false, format!("{host} has no address")),
            Err(_) => (
                false,
                format!(
                    "{host} is not found by {}: do they answer?",
                    servers.join(", ")
                ),
            ),
        }
    };
    Step {
        what: "DNS",
        fine,
        found,
    }
}

/// Whether the world can be reached, and what time it has.
fn world(url: &str) -> (Step, Option<SystemTime>) {
    let step = |fine, found| Step {
        what: "world",
        fine,
        found,
    };
    match kedge_web::get_whatever(url, 64 << 10, PATIENCE) {
        Err(e) => (step(false, e.to_string()), None),
        Ok(answer) => {
            let as_expected =
                answer.status == 200 && (url != WORLD || answer.body.starts_with(EXPECTED));
            let date = answer.date;
            let found = match as_expected {
                true => format!("{} answers", kedge_web::shown(url)),
                false => format!(
                    "{} is answered by somebody else (status {}): a captive portal or a proxy",
                    kedge_web::shown(url),
                    answer.status
                ),
            };
            (step(as_expected, found), date.filter(|_| as_expected))
        }
    }
}

fn clock(date: SystemTime) -> Step {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs() as i64)
    };
    let ahead = seconds(SystemTime::now()) - seconds(date);
    let found = match ahead {
        _ if ahead.abs() <= CLOCK => "right, to the minute".into(),
        1.. => format!("{ahead} s ahead: clock --from SERVER --set, or date -s"),
        _ => format!("{} s behind: clock --from SERVER --set, or date -s", -ahead),
    };
    Step {
        what: "clock",
        fine: ahead.abs() <= CLOCK,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url() {
        for (url, host) in [
            (WORLD, "network-test.debian.org"),
            ("http://192.0.2.1:8080/x", "192.0.2.1"),
            ("https://user:token@example.org", "example.org"),
            ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        assert!(clock(SystemTime::now()).fine);
        let behind = clock(SystemTime::now() + Duration::from_secs(4000));
        assert!(
            !behind.fine && behind.found.contains("behind"),
            "{behind:?}"
        );
    }
}
