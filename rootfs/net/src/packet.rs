//! A packet socket on one link (packet(7)): whole Ethernet frames, for what comes before an address.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};

/// Frames of one protocol on one link.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// ARP (linux/if_ether.h).
pub(crate) const ETH_P_ARP: u16 = 0x0806;
/// IPv6.
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;

impl PacketSocket {
    /// Opens it for frames of `protocol` on the link of number `index`.
    pub(crate) fn open(index: u32, protocol: u16) -> io::Result<PacketSocket> {
        let protocol = protocol.to_be();
        // SAFETY: a system call without pointers.
        let socket = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                // Of no protocol yet: until it is bound it would hear every link.
                0,
            )
        };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given it to us, and to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index as i32;
        // SAFETY: the pointer is to a sockaddr_ll, and its size is given.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(PacketSocket(socket))
    }

    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.0, frame, SendFlags::empty())?;
        Ok(())
    }

    /// The next frame, `None` when none came until `deadline`.
    pub(crate) fn receive(&self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            let mut frame = vec![0; 2048];
            let (_, length) = rustix::net::recv(&self.0, &mut frame, RecvFlags::TRUNC)?;
            frame.truncate(length);
            return Ok(Some(frame));
        }
    }
}
