//! Brings up each Ethernet link, so that whether there is a carrier can be told, without sending
//! a single packet: who asked for help did not ask for an address, or for neighbours to notice.
//!
//! The kernel by itself would: a link that comes up gets an IPv6 link-local address, which is
//! checked for duplicates, announced to multicast routers, and used to ask for a router.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use kedge_message::{info, warning};

/// `ARPHRD_ETHER` (linux/if_arp.h). InfiniBand, for one, joins groups over the wire when it comes
/// up.
const ETHERNET: &str = "1";

/// IPv6 settings that keep a link silent until somebody gives it an address.
const SILENT: [(&str, &str); 3] = [
    // No link-local address (IN6_ADDR_GEN_MODE_NONE).
    ("addr_gen_mode", "1"),
    // No address because some router says so, and no asking for one.
    ("accept_ra", "0"),
    ("autoconf", "0"),
];

/// Makes links silent that appear from now on. To be called before any is brought up.
pub(crate) fn silence() {
    for which in ["all", "default"] {
        silence_one(which);
    }
    remember_neighbours();
}

/// Room for the neighbours of a whole /18, which find-host may ask for: the kernel's table is for 1024,
/// and forgets silently when it is full (neigh/default/gc_thresh, Documentation/networking/ip-sysctl.rst).
fn remember_neighbours() {
    for (name, value) in [
        ("gc_thresh3", "32768"),
        ("gc_thresh2", "16384"),
        ("gc_thresh1", "8192"),
    ] {
        let path = Path::new("/proc/sys/net/ipv4/neigh/default").join(name);
        if let Err(e) = fs::write(&path, value) {
            info!("cannot write {}: {e}", path.display());
        }
    }
}

fn silence_one(which: &str) -> bool {
    let directory = Path::new("/proc/sys/net/ipv6/conf");
    if !directory.exists() {
        return true;
    }
    let mut fine = true;
    for (name, value) in SILENT {
        let path = directory.join(which).join(name);
        if let Err(e) = fs::write(&path, value) {
            warning!("cannot write {}: {e}", path.display());
            fine = false;
        }
    }
    fine
}

/// Ethernet links with hardware behind them.
pub(crate) fn physical(sys: &Path) -> Vec<String> {
    let Ok(links) = fs::read_dir(sys.join("class/net")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = links
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_physical(sys, name))
        .collect();
    names.sort();
    names
}

/// Whether `name` is an Ethernet link with hardware behind it.
pub(crate) fn is_physical(sys: &Path, name: &str) -> bool {
    let link = sys.join("class/net").join(name);
    link.join("device").exists()
        && !link.join("phy80211").exists()
        && fs::read_to_string(link.join("type")).is_ok_and(|kind| kind.trim() == ETHERNET)
}

/// Whether every physical link is known to have a carrier: waiting longer tells nothing new.
pub(crate) fn all_have_carrier(sys: &Path) -> bool {
    physical(sys).iter().all(|name| {
        fs::read_to_string(sys.join("class/net").join(name).join("carrier"))
            .is_ok_and(|carrier| carrier.trim() == "1")
    })
}

/// Brings up the loopback link.
pub(crate) fn loopback_up() {
    if let Err(e) = set_up("lo") {
        warning!("cannot bring up the loopback link: {e}");
    }
}

/// Brings links up. A driver may take seconds for each, so this is not for PID 1's own loop.
pub(crate) fn bring_up(names: &[String]) {
    for name in names {
        if !silence_one(name) {
            warning!("{name} stays down: it could not be kept from sending by itself");
            continue;
        }
        match set_up(name) {
            Ok(()) => info!("{name} is up, without an address"),
            Err(e) => warning!("cannot bring up {name}: {e}"),
        }
    }
}

fn set_up(name: &str) -> io::Result<()> {
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: both requests take a pointer to an ifreq with a name that ends in a zero byte;
    // ifru_flags is what SIOCGIFFLAGS fills in.
    unsafe {
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
