//! The booted machine is worked on from elsewhere: OpenSSH's clients log in, files go up and down, and a
//! machine that changed its address tells where it is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::{
    BOOT, DatagramSink, Folder, HttpRecorder, Machine, Network, Nic, Running, Ssh, SshKey,
    fingerprint, scenario,
};

const GUEST: &str = "192.0.2.7";
const ADDRESS: &str = "ip=192.0.2.7::192.0.2.1:24::eth0:none";

/// The blob of a public key, as `kedge.ssh_key=` takes it.
fn blob(key: &SshKey) -> Result<&str> {
    key.public()
        .split(' ')
        .nth(1)
        .context("a public key has a blob")
}

fn boot(folder: &Folder, network: &Network, words: &str) -> Result<Running> {
    boot_with(folder, network, words, 512)
}

fn boot_with(folder: &Folder, network: &Network, words: &str, memory: u32) -> Result<Running> {
    let machine = Machine::new(folder, "machine").memory(memory);
    let machine = machine
        .nic_on(network.lan(), Nic::Virtio)
        .without_captures();
    let mut machine = machine.direct(&format!("{ADDRESS} {words}"))?.start()?;
    machine.wait_for_shell()?;
    machine.has_address("eth0", &format!("{GUEST}/24"))?;
    Ok(machine)
}

fn noise(path: &Path, bytes: u64) -> Result<()> {
    use std::io::Read;
    let mut random = fs::File::open("/dev/urandom")?.take(bytes);
    std::io::copy(&mut random, &mut fs::File::create(path)?)?;
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let said = Command::new("sha256sum").arg(path).output()?;
    let said = String::from_utf8(said.stdout)?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn the_banner_has_the_line_to_type_and_the_host_key_that_clients_see() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let key = SshKey::new(folder.path(), "operator")?;
        let words = format!("kedge.ssh_key={}", blob(&key)?);
        let mut machine = boot(folder, &network, &words)?;
        let ssh = Ssh::at(network.lan(), GUEST.parse()?).key(&key);
        ssh.wait(BOOT)?;
        let host_key = ssh.scan()?;
        let banner = machine.run("kedge banner")?;
        ensure!(banner.contains(&fingerprint(&host_key)?), "{banner}");
        ensure!(banner.contains(&format!("ssh root@{GUEST}")), "{banner}");
        // A shell that is started anew greets with the same, on every console; here on the screen.
        machine.press(&["alt", "f3"])?;
        machine.expect_on_screen("host key SHA256:", BOOT)?;
        machine.save_screen("banner.png")?;

        let ssh = ssh.host_key(&host_key)?;
        let ended = ssh.run("hostname; exit 7")?;
        ensure!(
            ended.status == Some(7) && ended.text() == "kedge\n",
            "{ended:?}"
        );
        let shell = ssh.run_on_terminal("", "tty; kedge help | head -3; exit 3\n")?;
        ensure!(
            shell.text().contains("/dev/pts/") && shell.status == Some(3),
            "{shell:?}"
        );
        let wrong = SshKey::new(folder.path(), "stranger")?;
        let refused = Ssh::at(network.lan(), GUEST.parse()?)
            .key(&wrong)
            .run("true")?;
        ensure!(refused.stderr.contains("Permission denied"), "{refused:?}");

        // Nothing but SSH listens.
        let listening = machine
            .run("netstat -ltn | grep -c LISTEN; netstat -lun | grep -c '^udp.*[.:]53 '; true")?;
        let counts: Vec<&str> = listening.split_whitespace().collect();
        ensure!(counts.first() == Some(&"1"), "{listening}");
        ensure!(ssh.run("poweroff")?.status.is_some());
        machine.powered_off(BOOT)
    });
}

#[test]
fn without_a_key_nobody_is_listened_to_and_a_password_from_the_console_works_once() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let mut machine = boot(folder, &network, "")?;
        let banner = machine.run("kedge banner")?;
        ensure!(banner.contains("type: ssh-allow"), "{banner}");
        let listening = machine.run("netstat -ltn | grep -c LISTEN; true")?;
        ensure!(listening.trim() == "0", "{listening}");
        let said = machine.run("ssh-allow --password 2>&1")?;
        let password = said
            .lines()
            .map(str::trim)
            .find(|line| line.split(['-', ' ']).count() == 4 && !line.contains(':'))
            .with_context(|| format!("no password in: {said}"))?
            .to_owned();
        let ssh = Ssh::at(network.lan(), GUEST.parse()?).password(&password)?;
        ssh.wait(BOOT)?;
        let first = ssh.run("echo in")?;
        ensure!(first.text() == "in\n", "{first:?} with {password:?}");
        let second = ssh.run("echo in")?;
        ensure!(
            second.status == Some(255) && second.text().is_empty(),
            "{second:?}"
        );
        machine.power_off()
    });
}

#[test]
fn keys_are_fetched_from_a_url_and_another_port_is_listened_on() {
    scenario(|folder| {
        let mut network = Network::new(&folder.folder("network")?)?;
        let key = SshKey::new(folder.path(), "operator")?;
        let web = folder.folder("web")?;
        fs::write(web.join("me.keys"), format!("{}\n", key.public()))?;
        network.serve_http(&web)?;
        let mut machine = boot(
            folder,
            &network,
            "kedge.ssh_key=http://192.0.2.1/me.keys kedge.ssh_port=2200",
        )?;
        let ssh = Ssh::at(network.lan(), GUEST.parse()?).port(2200).key(&key);
        ssh.wait(BOOT)?;
        let banner = machine.run("kedge banner")?;
        ensure!(
            banner.contains(&format!("ssh -p 2200 root@{GUEST}")),
            "{banner}"
        );
        ensure!(ssh.run("echo in")?.text() == "in\n");
        machine.power_off()
    });
}

/// The cable is pulled in the middle of a download, for longer than the client waits; what was there
/// stays, and the rest is fetched.
#[test]
fn a_transfer_that_was_cut_off_is_resumed() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let key = SshKey::new(folder.path(), "operator")?;
        let words = format!("kedge.ssh_key={}", blob(&key)?);
        let mut machine = boot_with(folder, &network, &words, 1024)?;
        let ssh = Ssh::at(network.lan(), GUEST.parse()?)
            .key(&key)
            .option("ServerAliveInterval=2")
            .option("ServerAliveCountMax=2");
        ssh.wait(BOOT)?;
        machine.run("dd if=/dev/urandom of=/tmp/big bs=1M count=300 2>/dev/null")?;
        let here = folder.path().join("big");
        let batch = format!("get /tmp/big {}\n", here.display());
        let mut download = ssh.start_sftp(&batch)?;
        let there = |least: u64| fs::metadata(&here).is_ok_and(|file| file.len() >= least);
        let began = std::time::Instant::now();
        while !there(8 << 20) {
            ensure!(began.elapsed() < BOOT, "the download did not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        machine.set_link(0, false)?;
        let status = download.wait(BOOT)?;
        ensure!(!status.success(), "the client did not notice: {status}");
        let half = fs::metadata(&here)?.len();
        ensure!(
            half < 300 << 20,
            "the cable was pulled too late: all is there"
        );
        machine.set_link(0, true)?;
        ssh.wait(BOOT)?;
        ssh.sftp(&batch.replace("get ", "reget "))?.success()?;
        let expected = machine.run("sha256sum /tmp/big")?;
        ensure!(expected.starts_with(&sha256(&here)?), "{expected}");
        // The session that was cut off, and what it ran, is gone.
        machine.until("[ $(ps | grep -c '[s]shd --connection') = 0 ]", BOOT)?;
        machine.power_off()
    });
}

fn up_and_down(bytes: u64) {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let key = SshKey::new(folder.path(), "operator")?;
        let words = format!("kedge.ssh_key={}", blob(&key)?);
        let memory = 512 + (bytes >> 20) as u32 * 2;
        let mut machine = boot_with(folder, &network, &words, memory)?;
        let ssh = Ssh::at(network.lan(), GUEST.parse()?)
            .key(&key)
            .within(Duration::from_secs(1500));
        ssh.wait(BOOT)?;
        machine.run("mkdir /tmp/x && mount -t tmpfs -o size=90% none /tmp/x")?;
        let (up, down) = (folder.path().join("up"), folder.path().join("down"));
        noise(&up, bytes)?;
        let batch = format!(
            "put {} /tmp/x/big\nget /tmp/x/big {}\n",
            up.display(),
            down.display()
        );
        ssh.sftp(&batch)?.success()?;
        ensure!(
            sha256(&up)? == sha256(&down)?,
            "what came back is not what went"
        );
        ensure!(
            ssh.run("sha256sum /tmp/x/big")?
                .text()
                .starts_with(&sha256(&up)?)
        );
        for file in [up, down] {
            fs::remove_file(file)?;
        }
        machine.power_off()
    });
}

#[test]
fn files_go_up_and_down_unharmed() {
    up_and_down(64 << 20);
}

#[test]
#[cfg_attr(
    not(feature = "slow"),
    ignore = "a gigabyte under TCG; cargo xtask test --slow"
)]
fn a_gigabyte_goes_up_and_down_unharmed() {
    up_and_down(1 << 30);
}

#[test]
fn a_beacon_tells_of_the_new_address() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let key = SshKey::new(folder.path(), "operator")?;
        let web = HttpRecorder::start(network.lan(), "192.0.2.1:8080".parse()?)?;
        let sink = DatagramSink::start(network.lan(), "192.0.2.1:9000".parse()?)?;
        let words = format!(
            "kedge.ssh_key={} kedge.beacon=http://192.0.2.1:8080/here kedge.beacon=udp://192.0.2.1:9000 \
             kedge.beacon=http://192.0.2.99/nobody",
            blob(&key)?
        );
        let mut machine = boot(folder, &network, &words)?;
        let first = web.wait_for(1, BOOT)?;
        let told = first[0].json()?;
        ensure!(told["serial"] == "SN-0042", "{told}");
        ensure!(told.to_string().contains(GUEST), "{told}");
        let ssh = Ssh::at(network.lan(), GUEST.parse()?);
        ssh.wait(BOOT)?;
        let host_key = fingerprint(&ssh.scan()?)?;
        sink.wait_for(1, BOOT)?;
        let before = web.requests().len();
        machine.run("net up eth0 --address 192.0.2.44/24 2>&1; net down eth0 2>&1; net up eth0 --address 192.0.2.44/24 2>&1")?;
        let all = web.wait_for(before + 1, BOOT)?;
        let last = all.last().context("nothing")?.json()?.to_string();
        ensure!(last.contains("192.0.2.44"), "{last}");
        ensure!(
            last.contains(&host_key) && last.contains("52:54:00:00:00:00"),
            "{last}"
        );
        machine.power_off()
    });
}
