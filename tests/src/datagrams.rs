//! A UDP port that keeps what is sent to it, and answers nothing: for beacons.
//!
//! ```ignore
//! let sink = DatagramSink::start(network.lan(), "192.0.2.1:9999".parse()?)?;
//! // … boot with kedge.beacon=udp://192.0.2.1:9999 …
//! let came = sink.wait_for(1, BOOT)?;
//! ensure!(came[0].from.ip() == guest);
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::records::{GLANCE, Records, Serving};
use crate::segment::Station;
use crate::sockets::bind_udp;

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// When it came.
    pub at: SystemTime,
    /// From whom.
    pub from: SocketAddr,
    /// What was in it.
    pub data: Vec<u8>,
}

/// A port that listens until it is dropped.
#[derive(Debug)]
#[must_use = "the port is closed when this is dropped"]
pub struct DatagramSink {
    came: Arc<Records<Datagram>>,
    _serving: Serving,
}

impl DatagramSink {
    /// Listens at an address of the station's.
    pub fn start(at: &Station, address: SocketAddr) -> Result<Self> {
        let socket = bind_udp(at.namespace(), address)?;
        socket.set_read_timeout(Some(GLANCE))?;
        let came = Arc::new(Records::default());
        let records = Arc::clone(&came);
        let mut buffer = vec![0; 65536];
        let serving = Serving::start(move || {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                records.push(Datagram {
                    at: SystemTime::now(),
                    from,
                    data: buffer[..length].to_owned(),
                });
            }
        });
        Ok(Self {
            came,
            _serving: serving,
        })
    }

    /// What has come so far.
    pub fn datagrams(&self) -> Vec<Datagram> {
        self.came.all()
    }

    /// Waits until `count` datagrams have come; gives all of them.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<Vec<Datagram>> {
        self.came.wait_for("datagrams", count, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Folder, Network};

    #[test]
    fn datagrams_are_kept_with_their_sender() -> Result<()> {
        let folder = Folder::new("unit.datagrams.kept")?;
        let network = Network::new(folder.path())?;
        let at = "192.0.2.1:9999".parse()?;
        let sink = DatagramSink::start(network.lan(), at)?;
        let guest = network.lan().neighbour(&["192.0.2.9/24"])?;
        let socket = bind_udp(guest.namespace(), "192.0.2.9:4000".parse()?)?;
        socket.send_to(b"one", at)?;
        socket.send_to(b"", at)?;
        let came = sink.wait_for(2, Duration::from_secs(20))?;
        assert_eq!(came[0].from.to_string(), "192.0.2.9:4000");
        assert_eq!(
            (&came[0].data[..], &came[1].data[..]),
            (&b"one"[..], &b""[..])
        );
        let error = sink.wait_for(3, Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("2 datagrams of 3"), "{error}");
        Ok(())
    }
}
