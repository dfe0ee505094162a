//! What the kernel says about devices that come and go (Documentation/core-api/kobject: uevents),
//! from its netlink socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt,
};

/// The multicast group of the kernel's own events (udev's daemon repeats them on group 2).
const KERNEL: u32 = 1;

/// One event, as far as init cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uevent {
    /// `add`, `remove`, `change` ...
    pub(crate) action: String,
    /// `net`, `tty`, `input`, `block` ...
    pub(crate) subsystem: String,
    /// The last part of the device's path in sysfs, for most devices its name.
    pub(crate) name: String,
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Uevents(OwnedFd);

impl Uevents {
    /// Listens from now on.
    pub(crate) fn open() -> rustix::io::Result<Uevents> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(KOBJECT_UEVENT),
        )?;
        // A server with hundreds of disks makes thousands of events within a second.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 20);
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
        Ok(Uevents(socket))
    }

    /// The next event, `None` when there is none at present. Lost events (ENOBUFS) are an event
    /// of no name, so that the reader looks again at what it watches.
    pub(crate) fn next(&self) -> Option<Uevent> {
        let mut datagram = [0u8; 4096];
        loop {
            match recv(&self.0, &mut datagram[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    if let Some(event) = parse(&datagram[..length.min(4096)]) {
                        return Some(event);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOBUFS) => {
                    return Some(Uevent {
                        action: "add".into(),
                        subsystem: String::new(),
                        name: String::new(),
                    });
                }
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `ACTION@DEVPATH` and then `KEY=value`, each ended by a zero byte.
fn parse(datagram: &[u8]) -> Option<Uevent> {
    let mut parts = datagram
        .split(|&b| b == 0)
        .map(|part| std::str::from_utf8(part).unwrap_or_default());
    let (action, path) = parts.next()?.split_once('@')?;
    let subsystem = parts
        .find_map(|part| part.strip_prefix("SUBSYSTEM="))
        .unwrap_or_default();
    Some(Uevent {
        action: action.to_string(),
        subsystem: subsystem.to_string(),
        name: path.rsplit('/').next().unwrap_or_default().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_kernels() {
        let event = parse(
            b"add@/devices/pci0000:00/0000:00:03.0/net/eth0\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=eth0\0",
        );
        assert_eq!(
            event,
            Some(Uevent {
                action: "add".into(),
                subsystem: "net".into(),
                name: "eth0".into()
            })
        );
    }

    #[test]
    fn garbage_is_no_event() {
        for datagram in [
            &b""[..],
            b"\0",
            b"libudev\0\xfe\xed",
            b"add",
            b"\xff@\xff\0",
        ] {
            if let Some(event) = parse(datagram) {
                assert_eq!(event.subsystem, "");
            }
        }
    }
}
