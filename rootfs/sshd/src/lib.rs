//! The SSH server, and `ssh-allow`, which says who may use it.
//!
//! ```text
//! listener ── accepts, limits, starts ──> connection (one process each) ──> shell, command, SFTP
//! ```
//!
//! **A process for each connection**, as OpenSSH has it: one that dies, whatever a client sent it,
//! takes nobody else with it. It costs 3 MB of memory and 2 ms. SFTP is a process more, so a disk that
//! hangs stops one transfer and not the session.
//!
//! **The protocol is our own**, on ring's cryptography, and not russh, which was tried first (0.65 with
//! ring, on loopback next to OpenSSH's sshd, its crates at opt-level 3, the host otherwise idle):
//!
//! | | russh | here |
//! |---|--:|--:|
//! | `ssh host cat FILE`, of OpenSSH's rate | 65 to 74 % | `cargo xtask bench ssh` |
//! | `ssh host 'cat >/dev/null' <FILE` | 47 to 67 % | " |
//! | `ssh host cat <FILE >FILE` | stops for ever after 4 MB | works |
//!
//! The stop is russh's design (warp-tech/russh, pull request 730): it opens the client's window before
//! anybody has taken the data, so all that can hold back a fast client is to read nothing at all from
//! it, including what would let the other direction go on. rsync, and any filter with both ends open,
//! would meet it. What SSH needs from cryptography ring has: X25519, Ed25519, ChaCha20-Poly1305 in
//! OpenSSH's form, AES-GCM, and the signatures of users' keys, RSA among them. Left are parsers, and a
//! state machine short enough to be read in an hour. Likewise russh-sftp takes file names for UTF-8,
//! which on a disk to be repaired they need not be.
//!
//! Keys are exchanged with ML-KEM-768 beside X25519 where the client can: OpenSSH's, from 10.1 on, warns
//! at each login that has nothing against quantum computers.
//!
//! New keys when the client wants them, never of the server's own accord: OpenSSH's client asks after a
//! gigabyte or some, and so do others that move much. One that never does is served for 2^31 packets, 64
//! TiB at 32 KiB each. With ChaCha20 no nonce comes twice in that; with AES-GCM whoever has recorded all
//! of it has one chance in 2^45 to tell it from noise (q^2/2^129 for q = 2^42 blocks), and for 1 TiB, a
//! disk, one in 2^57, which is the margin of TLS (RFC 8446, section 5.5).
//!
//! Not here: AES-CTR, compression, certificates, agents, X11, ECDSA over P-521.

pub mod access;
mod admission;
pub mod allow;
mod arguments;
mod authorized_keys;
mod base64;
mod channel;
mod connection;
mod forward;
mod host_key;
#[cfg(test)]
mod hostile_tests;
mod listener;
mod password;
mod process;
mod protocol;
mod public_key;
mod requests;
mod say;
mod sftp;
mod sources;
mod terminal;

use std::net::TcpStream;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitCode;

use arguments::{Arguments, Part};
use connection::Ends;
use kedge_settings::Words;
use protocol::authentication::Policy;

/// Where SSH is expected.
const PORT: u16 = 22;

/// What `kedge help sshd` says.
pub const HELP: &str = "\
usage: kedge sshd [--port N] [--address A] [--host-key FILE] [--stderr]
                  [--authorized-keys FILE] [--run FOLDER]
                  [--keep-alive SECONDS]

The SSH server, which runs by itself: shells, commands, scp, sftp, rsync, ports
forwarded by -L and -R. It listens as soon as somebody may log in, which
ssh-allow says; the only user is root.

  ssh root@192.0.2.7
  sftp root@192.0.2.7
  ssh root@192.0.2.7 'cat /dev/sda1' >sda1.img
  ssh -L 8080:10.0.0.5:80 root@192.0.2.7

Processes end with their session: hangup when the channel closes or the client
is lost, and are killed 2 s later. What is to live on starts a session of its
own: tmux, or setsid COMMAND. A client that is silent for 3 minutes is lost.
What -R listens on is reachable from this machine only.

Words on the kernel's command line, or in the build's settings:

  kedge.ssh_key=KEY    who may log in: the AAAA... of a .pub file, or base64 of
                       its whole line, or a URL that keys are fetched from
                       (tried until it works); may be there several times
  kedge.ssh_port=N     another port than 22

Without options the files are /etc/ssh/ssh_host_ed25519_key, which is made when
it is not there, /root/.ssh/authorized_keys, and /run/kedge/ssh. On any other
host give all three and a port:

  kedge sshd --stderr --port 2222 --host-key key --authorized-keys keys --run r

Exit status: 1 when it cannot serve, 2 for wrong use.
";

/// Runs `kedge sshd`. Exit status: 1 when it cannot serve, 2 for wrong use.
pub fn main(words: &[String]) -> ExitCode {
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("kedge: {what}; kedge help sshd says more");
            return ExitCode::from(2);
        }
    };
    if arguments.stderr {
        say::to_stderr();
    }
    let result = match arguments.part {
        Part::Listener => listen(arguments),
        Part::Connection => connect(&arguments),
        Part::Sftp => sftp::serve().map_err(|e| format!("sftp: {e}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            say::warning(format_args!("ssh: {what}"));
            ExitCode::FAILURE
        }
    }
}

fn listen(arguments: Arguments) -> Result<(), String> {
    // Without a command line of the kernel's there are no words.
    let words = Words::here().unwrap_or_default();
    let port = arguments
        .port
        .or_else(|| sources::port(&words))
        .unwrap_or(PORT);
    sources::add_all(&words, &arguments.authorized_keys);
    match listener::Listener::new(arguments, port) {
        Ok(listener) => listener.run(),
        Err(e) => Err(e.to_string()),
    }
}

/// Serves the connection on standard input. The listener is told of the login by a byte on standard
/// output.
fn connect(arguments: &Arguments) -> Result<(), String> {
    let what = |e: std::io::Error| e.to_string();
    let socket = take(rustix::stdio::stdin()).map_err(what)?;
    let news = take(rustix::stdio::stdout()).map_err(what)?;
    let socket = TcpStream::from(socket);
    // The client may have gone already.
    let Ok(ends) = Ends::of(&socket) else {
        return Ok(());
    };
    let host_key = host_key::HostKey::load(&arguments.host_key).map_err(|e| e.to_string())?;
    let policy = Policy {
        authorized_keys: arguments.authorized_keys.clone(),
        password: password::Store::new(&arguments.run),
        address: ends.client.ip(),
    };
    // Failed logins are counted by the listener: one line each would fill the log.
    let Ok(connection) = connection::log_in(socket, host_key, &policy, ends, arguments.keep_alive)
    else {
        return Ok(());
    };
    let _ = rustix::io::write(&news, &[1]);
    drop(news);
    let from = ends.client;
    say::info(format_args!(
        "ssh: root logged in from {from} by {}",
        connection.login.by
    ));
    let why = connection.run();
    say::info(format_args!("ssh: the session from {from} ended: {why}"));
    Ok(())
}

/// Moves a standard stream away from its number, which no child shall inherit.
fn take(stream: BorrowedFd<'static>) -> std::io::Result<OwnedFd> {
    let moved = rustix::io::fcntl_dupfd_cloexec(stream, 3)?;
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    if rustix::io::fcntl_getfd(stream).is_ok() {
        use std::os::fd::AsRawFd;
        match stream.as_raw_fd() {
            0 => rustix::stdio::dup2_stdin(&null)?,
            _ => rustix::stdio::dup2_stdout(&null)?,
        }
    }
    Ok(moved)
}
