//! The test harness: what a scenario under `scenarios/` needs to boot the image and work with it.
//!
//! A scenario is a closure given to [`scenario`]; it builds [`Machine`]s, talks to them over a serial
//! [`Console`], and leaves everything a reader needs afterwards in its own folder:
//!
//! ```text
//! target/scenarios/bios.usb_cd_reaches_a_shell/
//!   cd/qemu.sh       the exact QEMU command
//!   cd/ttyS0.log     what came over the serial line
//!   cd/screen.png    the screen, when the shell was there
//!   cd/n0.pcap       packets, where there is a network
//! ```
//!
//! Networks are made of these pieces; each says in its first lines how it is used:
//!
//! | what | for |
//! |---|---|
//! | [`Network`], [`Segment`] | separate Ethernets in a namespace, with the test's end of each |
//! | [`Neighbour`] | another host on a segment: an address that is taken, a wrong server, a silent /18 |
//! | [`Switch`] | VLANs between segments |
//! | [`Dnsmasq`] | DHCPv4, DHCPv6, router advertisements, DNS |
//! | [`HttpRecorder`], [`DatagramSink`], [`NtpServer`] | what is sent to them is kept, what they answer is chosen |
//! | [`Ssh`], [`SshKey`] | OpenSSH's own clients |
//! | [`Desk`] | a terminal at which somebody types |
//! | [`Victim`], [`Mirror`] | a real Debian to be broken, and where its packages come from |
//! | [`Keyring`] | OpenPGP keys that sign what mirrors have |
//! | [`ImageTool`] | the image's program, on this host |
//! | [`Running::set_link`] | a cable that is pulled |
//! | [`Capture`] | what a card has sent, in words |
//!
//! Whatever is started (QEMU, nbdkit, dnsmasq, httpd, a network namespace) ends with the test, also
//! when the test is killed: see [`child`].

mod addressed;
pub mod boot;
pub mod capture;
pub mod chance;
pub mod chart;
pub mod child;
pub mod command;
pub mod console;
pub mod datagrams;
pub mod desk;
mod dissect;
pub mod dnsmasq;
pub mod elf64;
pub mod film;
pub mod folder;
pub mod frame;
pub mod http;
pub mod image_tool;
pub mod keyring;
pub mod kvm;
pub mod machine;
pub mod media;
pub mod memory;
pub mod mirror;
pub mod namespace;
pub mod network;
pub mod ntp;
pub mod out;
mod qemu_sh;
pub mod qmp;
pub mod readlog;
pub mod recording;
mod records;
pub mod running;
pub mod screen;
pub mod segment;
pub mod sockets;
pub mod ssh;
pub mod ssh_key;
pub mod switch;
pub mod terminal;
pub mod victim;
mod wire;

pub use capture::Capture;
pub use chance::Chance;
pub use command::Finished;
pub use console::{Console, Output};
pub use datagrams::{Datagram, DatagramSink};
pub use desk::Desk;
pub use dnsmasq::{Addresses, Dnsmasq, Server};
pub use folder::{Folder, scenario};
pub use frame::{Frame, Kind, Mac};
pub use http::{HttpRecorder, Request};
pub use image_tool::ImageTool;
pub use keyring::Keyring;
pub use machine::{Controller, Firmware, Machine, Medium, Nic, Source};
pub use media::{Media, Pace};
pub use memory::Memory;
pub use mirror::Mirror;
pub use network::Network;
pub use ntp::{NtpAnswer, NtpServer};
pub use running::Running;
pub use segment::{Neighbour, Segment, Station};
pub use ssh::Ssh;
pub use ssh_key::{SshKey, fingerprint};
pub use switch::{Port, Switch, Switching};
pub use victim::{Disk, Tree, Victim};

use std::time::Duration;

/// How long a boot from fast media may take before a scenario gives up: TCG on a shared machine.
pub const BOOT: Duration = Duration::from_secs(240);

/// How long one command in the guest may take.
pub const COMMAND: Duration = Duration::from_secs(60);
