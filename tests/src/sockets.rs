//! Sockets and taps of the test process itself that are in a namespace, for the small servers in it.
//!
//! A socket stays in the namespace it was made in, whoever holds it. So a child enters the namespace,
//! opens, and hands the descriptor over (unix(7), SCM_RIGHTS); threads of the test need not enter, which
//! in a user's namespaces they could not.

use std::io::{Error, IoSlice, IoSliceMut, Result as IoResult};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, Setter, opcode};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};

use crate::child::enter;
use crate::namespace::Namespace;

/// Listens at this address.
pub fn listen_tcp(namespace: &Namespace, at: SocketAddr) -> Result<TcpListener> {
    let listener = open(namespace, move || {
        let socket = socket(at, SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &at)?;
        rustix::net::listen(&socket, 128)?;
        Ok(socket)
    });
    Ok(listener
        .with_context(|| format!("listening at {at} (TCP)"))?
        .into())
}

/// Receives datagrams at this address; from port 0 it sends only.
pub fn bind_udp(namespace: &Namespace, at: SocketAddr) -> Result<UdpSocket> {
    let socket = open(namespace, move || {
        let socket = socket(at, SocketType::DGRAM)?;
        rustix::net::bind(&socket, &at)?;
        Ok(socket)
    });
    Ok(socket
        .with_context(|| format!("binding {at} (UDP)"))?
        .into())
}

/// Connects to this address; reading and writing may take as long as connecting.
pub fn connect_tcp(namespace: &Namespace, to: SocketAddr, timeout: Duration) -> Result<TcpStream> {
    let stream = open(namespace, move || socket(to, SocketType::STREAM));
    let stream = TcpStream::from(stream.context("making a socket")?);
    // Connecting takes no longer than sending may, socket(7), SO_SNDTIMEO.
    stream.set_write_timeout(Some(timeout))?;
    stream.set_read_timeout(Some(timeout))?;
    rustix::net::connect(&stream, &to).with_context(|| format!("connecting to {to}"))?;
    Ok(stream)
}

/// Waits until a server takes connections at this address.
pub fn wait_for_port(namespace: &Namespace, to: SocketAddr, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Short, and again: where nobody answers ARP yet, the kernel's own patience is long.
        let short = left.clamp(Duration::from_millis(200), Duration::from_secs(3));
        match connect_tcp(namespace, to, short) {
            Ok(_) => return Ok(()),
            Err(error) if left.is_zero() => {
                return Err(error.context(format!("nobody listened within {patience:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Opens the tap `name`, which must exist and be nobody's; frames are read and written as they are.
pub(crate) fn open_tap(namespace: &Namespace, name: &str) -> Result<OwnedFd> {
    /// `struct ifreq` of <linux/if.h>: name and flags, and room for the other members of its union.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    /// TUNSETIFF, IFF_TAP and IFF_NO_PI of <linux/if_tun.h>.
    const SET: ioctl::Opcode = opcode::write::<i32>(b'T', 202);
    const TAP: u16 = 2;
    const WITHOUT_HEADER: u16 = 0x1000;

    let mut device = [0; 16];
    if name.len() >= device.len() {
        bail!("{name} is too long for a device's name");
    }
    device[..name.len()].copy_from_slice(name.as_bytes());
    let tap = open(namespace, move || {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let tap = rustix::fs::open(c"/dev/net/tun", flags, Mode::empty())?;
        let request = Request {
            name: device,
            flags: TAP | WITHOUT_HEADER,
            rest: [0; 22],
        };
        // SAFETY: TUNSETIFF takes a `struct ifreq`, which `Request` is; the kernel keeps no pointer.
        unsafe { ioctl::ioctl(&tap, Setter::<SET, Request>::new(request)) }?;
        Ok(tap)
    });
    tap.with_context(|| format!("opening the tap {name}"))
}

fn socket(family: SocketAddr, kind: SocketType) -> IoResult<OwnedFd> {
    let family = match family {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, kind, flags, None)?)
}

/// Has `make` open something in the namespace. It runs between fork and exec: system calls only, no
/// allocation, no lock.
fn open(
    namespace: &Namespace,
    make: impl Fn() -> IoResult<OwnedFd> + Send + Sync + 'static,
) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let mut command = Command::new("true");
    enter(&mut command, Some(namespace.namespaces()));
    // SAFETY: between fork and exec the closure makes system calls only, as `make` has to.
    unsafe {
        command.pre_exec(move || send(theirs.as_fd(), make()?));
    }
    let status = command.status()?;
    // With its closure goes our copy of the child's end.
    drop(command);
    if !status.success() {
        bail!("`true` ended with {status}");
    }
    receive(ours.as_fd())?.context("the child handed nothing over")
}

fn send(to: std::os::fd::BorrowedFd<'_>, what: OwnedFd) -> IoResult<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    let descriptors = [what.as_fd()];
    if !with.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Error::from(std::io::ErrorKind::OutOfMemory));
    }
    // A message needs a byte to travel with.
    rustix::net::sendmsg(to, &[IoSlice::new(b"!")], &mut with, SendFlags::empty())?;
    Ok(())
}

fn receive(from: std::os::fd::BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut pieces = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(from, &mut pieces, &mut with, RecvFlags::CMSG_CLOEXEC)?;
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            return Ok(descriptors.next());
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::{Folder, Network};

    #[test]
    fn a_listener_is_in_its_network_and_not_in_ours() -> Result<()> {
        let folder = Folder::new("unit.sockets.listener")?;
        let network = Network::new(folder.path())?;
        let at = "192.0.2.1:2222".parse()?;
        let listener = listen_tcp(network.namespace(), at)?;
        assert!(TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_err());
        let guest = network.lan().neighbour(&["192.0.2.9/24"])?;
        wait_for_port(guest.namespace(), at, Duration::from_secs(20))?;
        drop(listener.accept()?);
        let mut stream = connect_tcp(guest.namespace(), at, Duration::from_secs(20))?;
        let (mut accepted, from) = listener.accept()?;
        assert_eq!(from.ip().to_string(), "192.0.2.9");
        accepted.write_all(b"hello")?;
        drop(accepted);
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        assert_eq!(said, "hello");
        Ok(())
    }

    #[test]
    fn a_port_that_nobody_has_is_waited_for_and_named() -> Result<()> {
        let folder = Folder::new("unit.sockets.nobody")?;
        let network = Network::new(folder.path())?;
        let at = "192.0.2.1:2223".parse()?;
        let error = wait_for_port(network.namespace(), at, Duration::from_millis(300));
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("192.0.2.1:2223"), "{error}");
        Ok(())
    }

    #[test]
    fn an_address_that_is_not_there_is_an_error() -> Result<()> {
        let folder = Folder::new("unit.sockets.address")?;
        let network = Network::new(folder.path())?;
        assert!(bind_udp(network.namespace(), "192.0.2.2:53".parse()?).is_err());
        bind_udp(network.namespace(), "192.0.2.1:53".parse()?)?;
        Ok(())
    }
}
