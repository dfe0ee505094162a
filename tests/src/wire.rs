//! Unix sockets between a test and QEMU: the test listens and QEMU connects, so nothing the guest says
//! first is lost, and nothing has to be polled for.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;

/// A socket `name` in `folder` that QEMU, started in that folder, is going to connect to.
pub(crate) fn listen(folder: &Path, name: &str) -> Result<UnixListener> {
    // A socket's path may have 107 bytes; a checkout's may have more. The folder's descriptor is short.
    let at =
        std::fs::File::open(folder).with_context(|| format!("opening {}", folder.display()))?;
    let path = format!("/proc/self/fd/{}/{name}", at.as_raw_fd());
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("making the socket {}", folder.join(name).display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Waits for QEMU's connection.
pub(crate) fn accept(listener: &UnixListener, qemu: &mut Child) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("accepting QEMU's connection"),
        }
        qemu.must_run()?;
        if Instant::now() > deadline {
            bail!("QEMU did not connect to its console within 30 s");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
