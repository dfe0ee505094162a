//! Found again: the tools of the image on a Linux host, in networks of the test's own.
//!
//! The program is the one in the image, taken out of the initramfs: that it is static, finds names without
//! a C library beside it, and runs on any Linux host is part of what must hold. No QEMU is needed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::child::{Child, output};
use kedge_tests::segment::Neighbour;
use kedge_tests::{Folder, Network, out, scenario, sockets};
use serde_json::Value;

/// How long anything may take that takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// kedge as the image has it.
fn kedge(folder: &Folder) -> Result<PathBuf> {
    let initramfs = out::artefact("netboot/initramfs.cpio.xz")?;
    let script = "xz -dc --single-stream \"$1\" | cpio --quiet -i --to-stdout bin/kedge > kedge && chmod +x kedge";
    output(
        Command::new("sh")
            .args(["-e", "-c", script, "sh"])
            .arg(initramfs)
            .current_dir(folder.path()),
        None,
    )?;
    Ok(folder.path().join("kedge"))
}

/// A command that sees the links of the namespace that it is started in: sysfs shows those of whoever
/// mounted it.
fn with_own_sysfs(program: &Path) -> Command {
    let script = "mount -t sysfs sysfs /sys && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(program);
    command
}

fn json(bytes: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text).with_context(|| format!("reading {text}"))
}

/// OpenSSH's server on every address of a neighbour, with a key of each kind; gives their fingerprints.
fn sshd(folder: &Path, at: &Neighbour) -> Result<(Child, Vec<String>)> {
    let mut fingerprints = Vec::new();
    let mut config = String::from("UsePAM no\nPidFile none\nStrictModes no\n");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = folder.join(format!("host_{kind}"));
        output(
            Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-N", "", "-f"])
                .arg(&key),
            None,
        )?;
        let line = output(
            Command::new("ssh-keygen")
                .arg("-lf")
                .arg(key.with_extension("pub")),
            None,
        )?;
        let line = String::from_utf8(line)?;
        fingerprints.push(line.split(' ').nth(1).context("a fingerprint")?.to_string());
        config.push_str(&format!("HostKey {}\n", key.display()));
    }
    let path = folder.join("sshd_config");
    std::fs::write(&path, config)?;
    // Debian's sshd refuses to start without /run/sshd; this one has a /run of its own.
    let script = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd \"$@\"";
    let server = at.namespace().spawn(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh", "-D", "-e", "-f"])
            .arg(&path),
        &folder.join("sshd.log"),
    )?;
    Ok((server, fingerprints))
}

#[test]
fn a_host_is_found_in_a_silent_18_behind_a_router() {
    scenario(|folder| {
        let kedge = kedge(folder)?;
        let network = Network::new(&folder.folder("network")?)?;
        // It answers for itself and for one address behind it; everything else there it drops.
        let router = network.lan().neighbour(&["192.0.2.254/24"])?;
        let live: SocketAddr = "198.18.37.201:22".parse()?;
        router.namespace().ip("link set lo up")?;
        router
            .namespace()
            .ip(&format!("address add {}/32 dev lo", live.ip()))?;
        router.namespace().ip("route add blackhole 198.18.0.0/18")?;
        network
            .namespace()
            .ip("route add 198.18.0.0/18 via 192.0.2.254")?;
        let (_sshd, fingerprints) = sshd(folder.path(), &router)?;
        sockets::wait_for_port(network.namespace(), live, PATIENCE)?;

        let find = |arguments: &[&str]| -> Result<Value> {
            json(
                &network.run(
                    Command::new(&kedge)
                        .arg("find-host")
                        .arg("--json")
                        .args(arguments),
                )?,
            )
        };
        // Each of its keys finds it, also those that it does not show by itself.
        for fingerprint in &fingerprints {
            let found = find(&["198.18.37.192/28", "--host-key", fingerprint])?;
            ensure!(found["hosts"][0]["address"] == "198.18.37.201", "{found}");
        }
        // All of the network, each address once, and no faster than asked for.
        let whole = find(&[
            "198.18.0.0/18",
            "--all",
            "--rate",
            "5000",
            "--host-key",
            &fingerprints[0],
        ])?;
        println!("rate 5000: {}", whole["scan"]);
        ensure!(
            whole["hosts"].as_array().map(Vec::len) == Some(1),
            "{whole}"
        );
        ensure!(whole["scan"]["tried"] == 16384, "{whole}");
        ensure!(whole["scan"]["silent"] == 16383, "{whole}");
        polite(&whole["scan"], 5000.0)?;
        let default = find(&["198.18.0.0/21", "198.18.37.201", "--all"])?;
        println!("default rate: {}", default["scan"]);
        ensure!(
            default["hosts"][0]["keys"].as_array().map(Vec::len) == Some(3),
            "{default}"
        );
        polite(&default["scan"], 500.0)?;

        // Another key is not found, and that is another exit status.
        let other = "SHA256:CDbKTkvfF8UN3IEmz0UQ2qOrnJjgcXOlhmeBeSUPt88";
        let status = network.run(
            Command::new("sh")
                .args(["-c", "\"$@\"; echo $?", "sh"])
                .arg(&kedge)
                .args(["find-host", "198.18.37.201", "--host-key", other]),
        )?;
        ensure!(status == b"1\n", "{}", String::from_utf8_lossy(&status));
        Ok(())
    });
}

/// That a scan took at least as long as its rate says. (The first connections may be two ticks early.)
fn polite(scan: &Value, rate: f64) -> Result<()> {
    let (tried, seconds) = (scan["tried"].as_f64(), scan["seconds"].as_f64());
    let (tried, seconds) = (tried.context("tried")?, seconds.context("seconds")?);
    ensure!(tried <= rate * (seconds + 0.1), "{scan}");
    Ok(())
}

#[test]
fn a_host_on_this_link_is_not_missed_among_neighbours_that_are_not_there() {
    scenario(|folder| {
        let kedge = kedge(folder)?;
        let network = Network::new(&folder.folder("network")?)?;
        // Four times as many as the kernel's table of neighbours takes.
        let wide = network.segment("wide", &["198.18.0.1/20"])?;
        let host = wide.neighbour(&["198.18.11.77/20"])?;
        let (_sshd, fingerprints) = sshd(folder.path(), &host)?;
        sockets::wait_for_port(network.namespace(), "198.18.11.77:22".parse()?, PATIENCE)?;
        network.namespace().ip("neighbour flush dev wide")?;
        let found = json(&network.run(Command::new(&kedge).args([
            "find-host",
            "198.18.0.0/20",
            "--json",
            "--all",
            "--rate",
            "5000",
            "--host-key",
            &fingerprints[0],
        ]))?)?;
        println!("on this link: {}", found["scan"]);
        ensure!(found["hosts"][0]["address"] == "198.18.11.77", "{found}");
        ensure!(found["scan"]["tried"] == 4096, "{found}");
        Ok(())
    });
}

/// A web server that takes everything, and gives its requests: head and body.
fn web(network: &Network, at: &str, answer: &'static str) -> Result<Receiver<String>> {
    let listener = sockets::listen_tcp(network.namespace(), at.parse()?)?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(request) = stream.map_err(Into::into).and_then(|s| request(s, answer)) else {
                continue;
            };
            if send.send(request).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

fn request(stream: std::net::TcpStream, answer: &str) -> Result<String> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let before = request.len();
        stream.read_line(&mut request)?;
        let line = request[before..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.push_str(&String::from_utf8(body)?);
    let length = answer.len();
    write!(
        stream.get_mut(),
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
    )?;
    Ok(request)
}

/// The body of the next request.
fn next(requests: &Receiver<String>) -> Result<(String, String)> {
    let request = requests.recv_timeout(PATIENCE).context("nothing came")?;
    let (head, body) = request.split_once("\r\n\r\n").context("no end of a head")?;
    Ok((head.to_string(), body.to_string()))
}

#[test]
fn a_beacon_tells_of_every_change_of_address() {
    scenario(|folder| {
        let kedge = kedge(folder)?;
        let network = Network::new(&folder.folder("network")?)?;
        let posts = web(&network, "192.0.2.1:8080", "")?;
        let updates = web(&network, "192.0.2.1:8081", "good")?;
        let refused = web(&network, "192.0.2.1:8082", "badauth")?;
        // It takes connections, and never says a word.
        let _hangs = sockets::listen_tcp(network.namespace(), "192.0.2.1:8083".parse()?)?;
        let datagrams = sockets::bind_udp(network.namespace(), "192.0.2.1:9000".parse()?)?;
        datagrams.set_read_timeout(Some(PATIENCE))?;

        let machine = network
            .lan()
            .neighbour(&["192.0.2.7/24", "2001:db8:7::7/64"])?;
        let log = folder.path().join("beacon.log");
        let mut command = with_own_sysfs(&kedge);
        command.args([
            "beacon",
            "http://192.0.2.1:8083/hangs",
            "http://me:t0ken@192.0.2.1:8080/beacon?t0ken",
            "udp://192.0.2.1:9000",
            "dyndns2+http://me:t0ken@192.0.2.1:8081/?hostname=a.example&prefix=64:nas=::9",
            "dyndns2+http://me:t0ken@192.0.2.1:8082/?hostname=b.example",
        ]);
        // Its messages go to the kernel's log, where there is one.
        let mut beacon = machine.namespace().spawn(&mut command, &log)?;

        let (head, body) = next(&posts)?;
        ensure!(head.starts_with("POST /beacon?t0ken HTTP/1.1"), "{head}");
        ensure!(head.contains("Basic bWU6dDBrZW4="), "{head}");
        ensure!(
            addresses(&body)? == ["192.0.2.7", "2001:db8:7::7"],
            "{body}"
        );
        let links = json(body.as_bytes())?;
        ensure!(links["links"][0]["mac"] == machine.mac(), "{body}");
        let mut buffer = [0; 2000];
        let length = datagrams.recv(&mut buffer).context("no datagram came")?;
        ensure!(length <= 1400, "{length}");
        let datagram = String::from_utf8_lossy(&buffer[..length]).into_owned();
        ensure!(addresses(&datagram)? == addresses(&body)?, "{datagram}");
        let mut first: Vec<String> = (0..2)
            .map(|_| {
                Ok(next(&updates)?
                    .0
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_string())
            })
            .collect::<Result<_>>()?;
        first.sort();
        ensure!(
            first
                == [
                    "GET /nic/update?hostname=a.example&myip=192.0.2.7,2001:db8:7::7 HTTP/1.1",
                    "GET /nic/update?hostname=nas&myip=2001:db8:7::9 HTTP/1.1"
                ],
            "{first:?}"
        );
        ensure!(next(&refused)?.0.contains("hostname=b.example"));

        // The provider hands out another prefix.
        machine
            .namespace()
            .ip("address add 2001:db8:8::7/64 dev eth0 nodad")?;
        machine
            .namespace()
            .ip("address del 2001:db8:7::7/64 dev eth0")?;
        let (_, body) = next(&posts)?;
        ensure!(
            addresses(&body)? == ["192.0.2.7", "2001:db8:8::7"],
            "{body}"
        );
        let changed: Vec<String> = (0..2)
            .map(|_| Ok(next(&updates)?.0))
            .collect::<Result<_>>()?;
        ensure!(
            changed
                .iter()
                .any(|head| head.contains("hostname=nas&myip=2001:db8:8::9 ")),
            "{changed:?}"
        );
        // Who said that the token is wrong is left alone: by the time that all others were told of one
        // more change, it would have been asked again for the last one.
        machine
            .namespace()
            .ip("address add 192.0.2.8/24 dev eth0")?;
        let (_, body) = next(&posts)?;
        ensure!(addresses(&body)?.len() == 3, "{body}");
        ensure!(refused.try_recv().is_err(), "a wrong token was sent again");
        beacon.must_run()?;
        Ok(())
    });
}

/// All addresses of a beacon.
fn addresses(body: &str) -> Result<Vec<String>> {
    let object = json(body.as_bytes())?;
    let links = object["links"].as_array().context("links")?;
    Ok(links
        .iter()
        .filter_map(|link| link["addresses"].as_array())
        .flatten()
        .filter_map(|address| Some(address.as_str()?.to_string()))
        .collect())
}

/// An authority, `ca.pem`, and a certificate of it for 192.0.2.1, `cert.pem`.
fn certificates(folder: &Path) -> Result<()> {
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    std::fs::write(folder.join("ext"), "subjectAltName=IP:192.0.2.1\n")?;
    for words in [
        format!("{new} -x509 -keyout ca.key -out ca.pem -days 30 -subj /CN=authority"),
        format!("{new} -keyout key.pem -out csr.pem -subj /CN=server"),
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext \
         -out cert.pem"
            .into(),
    ] {
        output(
            Command::new("openssl")
                .args(words.split_whitespace())
                .current_dir(folder),
            None,
        )?;
    }
    Ok(())
}

#[test]
fn a_beacon_by_https_reaches_nginx_and_trusts_nobody_else() {
    scenario(|folder| {
        let kedge = kedge(folder)?;
        let network = Network::new(&folder.folder("network")?)?;
        let path = folder.path();
        certificates(path)?;
        let dir = path.display();
        std::fs::write(
            path.join("nginx.conf"),
            format!(
                "daemon off; master_process off; user root; pid {dir}/nginx.pid;\n\
                 error_log stderr; events {{}}\n\
                 http {{ log_format beacon escape=none '$ssl_protocol $request_body';\n\
                 client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
                 fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
                 server {{ listen 192.0.2.1:443 ssl; ssl_protocols TLSv1.3; access_log {dir}/access.log beacon;\n\
                 ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;\n\
                 location / {{ proxy_pass http://192.0.2.1:8080; }} }}\n\
                 server {{ listen 192.0.2.1:8080; access_log off; location / {{ return 204; }} }} }}\n"
            ),
        )?;
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(path.join("nginx.conf"));
        let _nginx = network
            .namespace()
            .spawn(&mut nginx, &path.join("nginx.log"))?;
        sockets::wait_for_port(network.namespace(), "192.0.2.1:443".parse()?, PATIENCE)?;

        let authority = path.join("ca.pem").display().to_string();
        // With an /etc/ssl of its own, where one's own authorities have their place.
        let once = |variable: &str, own: &str| -> Result<Value> {
            let script = "mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /etc/ssl &&
                mkdir /etc/ssl/kedge && { test -z \"$1\" || cp \"$1\" /etc/ssl/kedge/own.pem; } &&
                shift && { \"$@\" || true; }";
            let told = network.run(
                Command::new("unshare")
                    .args(["--mount", "sh", "-c", script, "sh", own])
                    .arg(&kedge)
                    .args(["beacon", "--once", "--json", "https://192.0.2.1/beacon"])
                    .env("SSL_CERT_FILE", variable),
            )?;
            json(&told)
        };
        let told = once("", "")?;
        let why = told[0]["problem"].as_str().unwrap_or_default();
        ensure!(why.contains("signed by nobody known here"), "{told}");
        for told in [once(&authority, "")?, once("", &authority)?] {
            ensure!(told[0]["told"] == true, "{told}");
        }
        let log = std::fs::read_to_string(path.join("access.log"))?;
        ensure!(log.lines().count() == 2, "{log}");
        let first = log.lines().next().unwrap_or_default();
        let (protocol, body) = first.split_once(' ').context("no line in the log")?;
        ensure!(protocol == "TLSv1.3", "{log}");
        ensure!(addresses(body)? == ["192.0.2.1"], "{log}");
        Ok(())
    });
}

#[test]
fn the_clock_is_asked_of_a_real_server_by_its_name() {
    scenario(|folder| {
        let kedge = kedge(folder)?;
        let network = Network::new(&folder.folder("network")?)?;
        let path = folder.path();
        let dir = path.display();
        std::fs::write(
            path.join("chrony.conf"),
            format!(
                "local stratum 3\nallow all\nbindaddress 192.0.2.1\ncmdport 0\nbindcmdaddress /\n\
                 driftfile {dir}/drift\npidfile {dir}/chrony.pid\n"
            ),
        )?;
        // -x: it never touches this host's clock.
        let mut chrony = Command::new("/usr/sbin/chronyd");
        chrony
            .args(["-d", "-x", "-u", "root", "-f"])
            .arg(path.join("chrony.conf"));
        let mut chrony = network
            .namespace()
            .spawn(&mut chrony, &path.join("chrony.log"))?;
        let mut dns = Command::new("dnsmasq");
        dns.args([
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--log-facility=-",
        ])
        .args([
            "--user=root",
            "--group=root",
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
        ])
        .args([
            "--listen-address=192.0.2.1",
            "--bind-interfaces",
            "--log-queries",
        ])
        .arg("--address=/ntp.kedge.test/192.0.2.1");
        let dns_log = path.join("dns.log");
        let _dns = network.namespace().spawn(&mut dns, &dns_log)?;
        sockets::wait_for_port(network.namespace(), "192.0.2.1:53".parse()?, PATIENCE)?;
        std::fs::write(path.join("resolv.conf"), "nameserver 192.0.2.1\n")?;

        // A file system namespace, for a resolv.conf of its own.
        let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        let clock = network.run(
            Command::new("unshare")
                .args(["--mount", "sh", "-c", script, "sh"])
                .arg(path.join("resolv.conf"))
                .arg(&kedge)
                .args(["clock", "--from", "ntp.kedge.test", "--json"]),
        )?;
        chrony.must_run()?;
        let clock = json(&clock)?;
        println!("{clock}");
        ensure!(clock["address"] == "192.0.2.1:123", "{clock}");
        ensure!(clock["stratum"] == 3, "{clock}");
        // It is the same clock.
        let offset = clock["offset"].as_f64().context("offset")?;
        ensure!(offset.abs() < 0.5, "{clock}");
        let asked = std::fs::read_to_string(dns_log)?;
        ensure!(asked.contains("query[A] ntp.kedge.test"), "{asked}");
        Ok(())
    });
}
