//! The ACPI power button: an input device that can send KEY_POWER.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// linux/input-event-codes.h.
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const KEY_POWER2: u16 = 0x164;
/// Bytes of a bit map of all keys: KEY_MAX is 0x2ff.
const KEY_BYTES: usize = 0x300 / 8;
/// `struct input_event` on 64 bit: two longs of time, type, code, value.
const EVENT: usize = 24;

/// One device that has the key.
#[derive(Debug)]
pub(crate) struct Button {
    file: File,
    path: PathBuf,
}

/// What came from a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Press {
    /// It was pressed.
    Pressed,
    /// Nothing that matters.
    Nothing,
    /// The device is gone.
    Gone,
}

/// Opens each power button that is not among `buttons` yet.
pub(crate) fn find(buttons: &mut Vec<Button>) {
    let Ok(entries) = fs::read_dir("/dev/input") else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_event = entry.file_name().to_string_lossy().starts_with("event");
        if is_event
            && !buttons.iter().any(|button| button.path == path)
            && let Ok(Some(button)) = open(&path)
        {
            buttons.push(button);
        }
    }
}

fn open(path: &Path) -> io::Result<Option<Button>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let mut keys = [0u8; KEY_BYTES];
    // EVIOCGBIT(EV_KEY, len): _IOC(_IOC_READ, 'E', 0x20 + ev, len), asm-generic/ioctl.h.
    let request: libc::c_ulong =
        (2 << 30) | ((KEY_BYTES as libc::c_ulong) << 16) | ((b'E' as libc::c_ulong) << 8) | 0x21;
    // SAFETY: the kernel writes at most the number of bytes that is part of the request.
    if unsafe { libc::ioctl(file.as_raw_fd(), request as _, keys.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let has = |key: u16| keys[usize::from(key / 8)] & (1 << (key % 8)) != 0;
    Ok((has(KEY_POWER) || has(KEY_POWER2)).then(|| Button {
        file,
        path: path.to_path_buf(),
    }))
}

impl Button {
    /// Takes what the device has to say, without waiting.
    pub(crate) fn read(&mut self) -> Press {
        let mut events = [0u8; EVENT * 64];
        let mut press = Press::Nothing;
        loop {
            match self.file.read(&mut events) {
                Ok(0) => return Press::Gone,
                Ok(length) => {
                    if events[..length].as_chunks::<EVENT>().0.iter().any(is_press) {
                        press = Press::Pressed;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return press,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Press::Gone,
            }
        }
    }
}

impl AsFd for Button {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether an event is a press (not a release, not a repeat) of the power key.
fn is_press(event: &[u8; EVENT]) -> bool {
    let kind = u16::from_ne_bytes([event[16], event[17]]);
    let code = u16::from_ne_bytes([event[18], event[19]]);
    let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
    kind == EV_KEY && matches!(code, KEY_POWER | KEY_POWER2) && value == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> [u8; EVENT] {
        let mut event = [0; EVENT];
        event[16..18].copy_from_slice(&kind.to_ne_bytes());
        event[18..20].copy_from_slice(&code.to_ne_bytes());
        event[20..].copy_from_slice(&value.to_ne_bytes());
        event
    }

    #[test]
    fn only_a_press_of_the_power_key_counts() {
        assert!(is_press(&event(1, 116, 1)));
        assert!(!is_press(&event(1, 116, 0)), "release");
        assert!(!is_press(&event(1, 116, 2)), "repeat");
        assert!(!is_press(&event(1, 30, 1)), "another key");
        assert!(!is_press(&event(0, 116, 1)), "no key event");
    }
}
