//! Packet captures as QEMU's filter-dump writes them: classic pcap with microseconds
//! (draft-ietf-opsawg-pcap), Ethernet. What a card has sent is told in words, so a scenario can say
//! "nothing but these".
//!
//! The file grows as long as the machine runs: a last record that is not whole yet is left out.
//!
//! ```ignore
//! let sent = running.capture(0)?.sent_by(&mac(0));
//! sent.nothing_but(|frame| matches!(frame.kind, Kind::Arp { .. }) || frame.kind.is_neighbour_discovery())?;
//! ensure!(sent.any(|frame| matches!(frame.kind, Kind::Dhcp4 { message: "DISCOVER", .. })), "{sent}");
//! ```

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::frame::Frame;

/// "d4c3b2a1": pcap with microseconds, in the byte order of its writer.
const MAGIC: u32 = 0xa1b2_c3d4;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// The file's header and each record's.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// How many frames are told one by one.
const TOLD: usize = 40;

/// Frames in the order in which they passed.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    /// The frames.
    pub frames: Vec<Frame>,
}

impl Capture {
    /// Reads a capture; one that has no header yet is empty.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Self::from_bytes(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let Some(header) = bytes.get(..FILE_HEADER) else {
            return Ok(Self::default());
        };
        let word: fn([u8; 4]) -> u32 = if u32::from_le_bytes(four(header, 0)) == MAGIC {
            u32::from_le_bytes
        } else if u32::from_be_bytes(four(header, 0)) == MAGIC {
            u32::from_be_bytes
        } else {
            bail!("this is no pcap with microseconds");
        };
        if word(four(header, 20)) != ETHERNET {
            bail!("this is no capture of Ethernet frames");
        }
        let mut frames = Vec::new();
        let mut rest = &bytes[FILE_HEADER..];
        while rest.len() >= RECORD_HEADER {
            let [seconds, micros, captured] = [0, 4, 8].map(|at| word(four(rest, at)));
            let end = RECORD_HEADER + captured as usize;
            // The last one, while it is being written.
            let Some(data) = rest.get(RECORD_HEADER..end) else {
                break;
            };
            let at = Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into());
            frames.push(Frame::new(at, data));
            rest = &rest[end..];
        }
        Ok(Self { frames })
    }

    /// The frames that `choose` takes.
    pub fn filter(&self, mut choose: impl FnMut(&Frame) -> bool) -> Self {
        let chosen = self.frames.iter().filter(|frame| choose(frame));
        Self {
            frames: chosen.cloned().collect(),
        }
    }

    /// What the card with this address ("52:54:00:00:00:00") has sent.
    pub fn sent_by(&self, mac: &str) -> Self {
        self.filter(|frame| frame.source.to_string() == mac)
    }

    /// What has arrived at the card with this address, or could have: sent by another.
    pub fn not_sent_by(&self, mac: &str) -> Self {
        self.filter(|frame| frame.source.to_string() != mac)
    }

    /// Whether there is such a frame.
    pub fn any(&self, is: impl FnMut(&Frame) -> bool) -> bool {
        self.frames.iter().any(is)
    }

    /// How many such frames there are.
    pub fn count(&self, mut is: impl FnMut(&Frame) -> bool) -> usize {
        self.frames.iter().filter(|frame| is(frame)).count()
    }

    /// An error that names each frame that is not `allowed`.
    pub fn nothing_but(&self, mut allowed: impl FnMut(&Frame) -> bool) -> Result<()> {
        let others = self.filter(|frame| !allowed(frame));
        if !others.frames.is_empty() {
            let (others_count, all) = (others.frames.len(), self.frames.len());
            bail!("{others_count} of {all} frames should not have been sent:\n{others}");
        }
        Ok(())
    }
}

impl fmt::Display for Capture {
    /// A line for each frame, with seconds since the first.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.frames.first().map(|frame| frame.at);
        for frame in self.frames.iter().take(TOLD) {
            let after = frame.at.saturating_sub(first.unwrap_or_default());
            writeln!(to, "{:9.3} s  {frame}", after.as_secs_f64())?;
        }
        match self.frames.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => writeln!(to, "… and {more} more"),
        }
    }
}

/// Four bytes at an offset that is inside of a header.
fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Kind;

    /// A capture of `frames`, one a second, written by a machine of either byte order.
    fn pcap(frames: &[&[u8]], word: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut file = Vec::new();
        for value in [MAGIC, 0, 0, 0, 65536, ETHERNET] {
            file.extend(word(value));
        }
        for (second, frame) in frames.iter().enumerate() {
            let length = frame.len() as u32;
            for value in [second as u32, 500, length, length] {
                file.extend(word(value));
            }
            file.extend(*frame);
        }
        file
    }

    const ARP: &[u8] = b"\xff\xff\xff\xff\xff\xff\x52\x54\0\0\0\0\x08\x06\
        \0\x01\x08\0\x06\x04\0\x01\x52\x54\0\0\0\0\xc0\0\x02\x07\0\0\0\0\0\0\xc0\0\x02\x01";
    const UNKNOWN: &[u8] = b"\xff\xff\xff\xff\xff\xff\x52\x54\0\0\0\x01\x88\xb5abc";

    #[test]
    fn both_byte_orders_are_read() -> Result<()> {
        for word in [u32::to_le_bytes, u32::to_be_bytes] {
            let capture = Capture::from_bytes(&pcap(&[ARP, UNKNOWN], word))?;
            assert_eq!(capture.frames.len(), 2);
            assert_eq!(capture.frames[1].at, Duration::from_micros(1_000_500));
            assert!(matches!(capture.frames[0].kind, Kind::Arp { .. }));
        }
        Ok(())
    }

    #[test]
    fn what_is_still_being_written_is_left_out() -> Result<()> {
        let whole = pcap(&[ARP, ARP], u32::to_le_bytes);
        let one = pcap(&[ARP], u32::to_le_bytes).len();
        for length in 0..whole.len() {
            let frames = Capture::from_bytes(&whole[..length])?.frames.len();
            assert_eq!(frames, usize::from(length >= one), "{length}");
        }
        Ok(())
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Capture::from_bytes(&[b'x'; 100]).is_err());
        // Nanoseconds, as some tools write.
        let mut other = pcap(&[ARP], u32::to_le_bytes);
        other[..4].copy_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
        assert!(Capture::from_bytes(&other).is_err());
    }

    #[test]
    fn the_offenders_are_named() -> Result<()> {
        let capture = Capture::from_bytes(&pcap(&[ARP, UNKNOWN, ARP], u32::to_le_bytes))?;
        let arp = |frame: &Frame| matches!(frame.kind, Kind::Arp { .. });
        capture.sent_by("52:54:00:00:00:00").nothing_but(arp)?;
        let error = capture.nothing_but(arp).unwrap_err().to_string();
        assert!(error.contains("1 of 3 frames"), "{error}");
        assert!(error.contains("52:54:00:00:00:01"), "{error}");
        assert!(error.contains("0x88b5"), "{error}");
        assert_eq!(capture.count(arp), 2);
        Ok(())
    }
}
