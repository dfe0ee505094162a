//! `cargo xtask bench fetch`: how fast `fetch` downloads from nginx on loopback, and what it takes of memory, beside curl.
//! Prints a Markdown table.
//!
//! Rounds alternate, and the medians count: this computer may be busy with other things. fetch is the image's own program.

#[path = "../scenarios/ssh_host/server.rs"]
#[allow(dead_code, reason = "shared with the scenario, which needs more of it")]
mod server;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kedge_tests::child::{Child, output};
use kedge_tests::{Folder, Memory};
use server::{Loopback, kedge, until};

/// Bytes of one download.
const SIZE: u64 = 512 << 20;
/// How often each is done.
const ROUNDS: usize = 7;
/// nginx's ports, for HTTP and HTTPS.
const PORTS: [u16; 2] = [8080, 8443];
/// How often the memory is looked at.
const GLANCE: Duration = Duration::from_millis(2);

fn main() -> Result<()> {
    let folder = Folder::new("bench.fetch")?;
    let network = Loopback::new()?;
    // In memory: no disk takes part.
    let memory = Memory::new()?;
    let mut zeros = std::io::Read::take(File::open("/dev/zero")?, SIZE);
    std::io::copy(&mut zeros, &mut File::create(memory.path().join("big"))?)?;
    let nginx = nginx(folder.path(), memory.path(), &network)?;
    println!(
        "\n| {} MiB | fetch MB/s | curl MB/s | of curl's | fetch MB | curl MB |",
        SIZE >> 20
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for (scheme, port) in ["http", "https"].into_iter().zip(PORTS) {
        for to in ["/dev/null", "file"] {
            let to = match to {
                "file" => memory.path().join("copy"),
                to => to.into(),
            };
            let url = format!("{scheme}://localhost:{port}/big");
            let mut runs = [Vec::new(), Vec::new()];
            let certificate = folder.path().join("cert.pem");
            for _ in 0..ROUNDS {
                let mut fetch = Command::new(kedge()?);
                fetch
                    .args(["fetch", "--quiet", "--force", &url, "-o"])
                    .arg(&to);
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--show-error", "--fail", &url, "-o"])
                    .arg(&to)
                    .arg("--cacert")
                    .arg(&certificate);
                for (command, runs) in [fetch, curl].iter_mut().zip(&mut runs) {
                    // A new file for each: fetch keeps an old one until the new one is whole, curl empties it first, and
                    // memory that was just freed is quicker than other.
                    if to.is_file() {
                        fs::remove_file(&to)?;
                    }
                    command
                        .env("SSL_CERT_FILE", &certificate)
                        .env("no_proxy", "*");
                    runs.push(run(command, &network)?);
                }
            }
            let [fetch, curl] = runs.map(|runs| {
                let rate = SIZE as f64 / 1e6 / median(runs.iter().map(|r| r.0)).as_secs_f64();
                (rate, runs.iter().map(|r| r.1).max().unwrap_or(0))
            });
            let place = match to == Path::new("/dev/null") {
                true => "nowhere",
                false => "a file in memory",
            };
            println!(
                "| {scheme}, to {place} | {:.0} | {:.0} | {:.0} % | {:.1} | {:.1} |",
                fetch.0,
                curl.0,
                100.0 * fetch.0 / curl.0,
                fetch.1 as f64 / 1024.0,
                curl.1 as f64 / 1024.0
            );
        }
    }
    drop(nginx);
    Ok(())
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// One download: how long it took, and the most that was resident, in KiB.
fn run(command: &mut Command, network: &Loopback) -> Result<(Duration, u64)> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let mut child = Child::spawn_as_is(command, Some(&network.namespaces))?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        // The kernel keeps the peak itself, as long as there is a process.
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        if let Some(status) = child.streams().try_wait()? {
            break status;
        }
        std::thread::sleep(GLANCE);
    };
    let took = started.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    Ok((took, peak))
}

fn nginx(folder: &Path, root: &Path, network: &Loopback) -> Result<Child> {
    output(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args([
                "-keyout", "ca.key", "-out", "cert.pem", "-days", "2", "-subj", "/CN=own",
            ])
            .current_dir(folder),
        None,
    )?;
    fs::write(
        folder.join("ext"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )?;
    output(
        Command::new("openssl")
            .args([
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args([
                "-keyout",
                "key.pem",
                "-out",
                "csr.pem",
                "-subj",
                "/CN=server",
            ])
            .current_dir(folder),
        None,
    )?;
    output(
        Command::new("openssl")
            .args([
                "x509", "-req", "-in", "csr.pem", "-CA", "cert.pem", "-CAkey", "ca.key",
            ])
            .args([
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                "ext",
                "-out",
                "server.pem",
            ])
            .current_dir(folder),
        None,
    )?;
    let (at, root) = (folder.display(), root.display());
    let [plain, tls] = PORTS;
    let text = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
         http {{ access_log off; sendfile on; root {root};\n\
         client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;\n\
         uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
         server {{ listen 127.0.0.1:{plain}; }}\n\
         server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {at}/server.pem;\n\
         ssl_certificate_key {at}/key.pem; }} }}\n"
    );
    let config = folder.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(&config);
    let log = folder.join("nginx.log");
    let mut child = Child::spawn(&mut command, &log, Some(&network.namespaces))?;
    let listens = SocketAddr::from((Ipv4Addr::LOCALHOST, tls));
    until("nginx listens", || {
        child.must_run()?;
        let mut probe = Command::new("curl");
        probe.args([
            "--silent",
            "--insecure",
            "--head",
            &format!("https://{listens}/"),
        ]);
        Ok(output(&mut probe, Some(&network.namespaces)).is_ok())
    })?;
    Ok(child)
}
