//! Pseudo-terminals, and the modes that a client asks for (RFC 4254, section 8).

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
    Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

use kedge_ssh_wire::{Malformed, Reader};

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `TERM`.
    pub(crate) term: String,
    pub(crate) size: Winsize,
    /// Opcodes and values.
    modes: Vec<(u8, u32)>,
}

impl Request {
    /// Reads what follows the name of a `pty-req` (RFC 4254, section 6.2).
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let term = reader.text()?.to_string();
        let size = size(reader)?;
        let mut encoded = Reader::new(reader.string()?);
        let mut modes = Vec::new();
        // 0 ends the list, and from 160 on nobody knows how long a value is.
        while let Ok(opcode @ 1..=159) = encoded.byte() {
            modes.push((opcode, encoded.u32()?));
        }
        Ok(Self { term, size, modes })
    }
}

/// Columns, rows, width and height, as `pty-req` and `window-change` have them.
pub(crate) fn size(reader: &mut Reader<'_>) -> Result<Winsize, Malformed> {
    let mut next = || reader.u32().map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    Ok(Winsize {
        ws_col: next()?,
        ws_row: next()?,
        ws_xpixel: next()?,
        ws_ypixel: next()?,
    })
}

/// Our end, and the one that a program gets.
pub(crate) struct Pair {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
    /// `/dev/pts/N`.
    pub(crate) name: String,
}

/// Opens a terminal in the state that was asked for.
pub(crate) fn open(request: &Request) -> io::Result<Pair> {
    let master =
        rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?
        .to_string_lossy()
        .into_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_str(), flags, Mode::empty())?;
    // A terminal without a size makes programs guess: 0 columns are none.
    tcsetwinsize(&master, request.size)?;
    let mut settings = tcgetattr(&slave)?;
    for &(opcode, value) in &request.modes {
        apply(&mut settings, opcode, value);
    }
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    Ok(Pair {
        master,
        slave,
        name,
    })
}

/// Sets one mode. What Linux does not have is left alone, and so are speeds: they mean nothing here.
fn apply(settings: &mut Termios, opcode: u8, value: u32) {
    use SpecialCodeIndex as Code;
    let code = match opcode {
        1 => Some(Code::VINTR),
        2 => Some(Code::VQUIT),
        3 => Some(Code::VERASE),
        4 => Some(Code::VKILL),
        5 => Some(Code::VEOF),
        6 => Some(Code::VEOL),
        7 => Some(Code::VEOL2),
        8 => Some(Code::VSTART),
        9 => Some(Code::VSTOP),
        10 => Some(Code::VSUSP),
        12 => Some(Code::VREPRINT),
        13 => Some(Code::VWERASE),
        14 => Some(Code::VLNEXT),
        18 => Some(Code::VDISCARD),
        _ => None,
    };
    if let Some(code) = code {
        // 255 switches a character off; Linux does that by 0 (_POSIX_VDISABLE).
        let value = u8::try_from(value).unwrap_or(u8::MAX);
        settings.special_codes[code] = if value == u8::MAX { 0 } else { value };
        return;
    }
    let on = value != 0;
    match opcode {
        30 => settings.input_modes.set(InputModes::IGNPAR, on),
        31 => settings.input_modes.set(InputModes::PARMRK, on),
        32 => settings.input_modes.set(InputModes::INPCK, on),
        33 => settings.input_modes.set(InputModes::ISTRIP, on),
        34 => settings.input_modes.set(InputModes::INLCR, on),
        35 => settings.input_modes.set(InputModes::IGNCR, on),
        36 => settings.input_modes.set(InputModes::ICRNL, on),
        37 => settings.input_modes.set(InputModes::IUCLC, on),
        38 => settings.input_modes.set(InputModes::IXON, on),
        39 => settings.input_modes.set(InputModes::IXANY, on),
        40 => settings.input_modes.set(InputModes::IXOFF, on),
        41 => settings.input_modes.set(InputModes::IMAXBEL, on),
        // RFC 8160.
        42 => settings.input_modes.set(InputModes::IUTF8, on),
        50 => settings.local_modes.set(LocalModes::ISIG, on),
        51 => settings.local_modes.set(LocalModes::ICANON, on),
        52 => settings.local_modes.set(LocalModes::XCASE, on),
        53 => settings.local_modes.set(LocalModes::ECHO, on),
        54 => settings.local_modes.set(LocalModes::ECHOE, on),
        55 => settings.local_modes.set(LocalModes::ECHOK, on),
        56 => settings.local_modes.set(LocalModes::ECHONL, on),
        57 => settings.local_modes.set(LocalModes::NOFLSH, on),
        58 => settings.local_modes.set(LocalModes::TOSTOP, on),
        59 => settings.local_modes.set(LocalModes::IEXTEN, on),
        60 => settings.local_modes.set(LocalModes::ECHOCTL, on),
        61 => settings.local_modes.set(LocalModes::ECHOKE, on),
        62 => settings.local_modes.set(LocalModes::PENDIN, on),
        70 => settings.output_modes.set(OutputModes::OPOST, on),
        71 => settings.output_modes.set(OutputModes::OLCUC, on),
        72 => settings.output_modes.set(OutputModes::ONLCR, on),
        73 => settings.output_modes.set(OutputModes::OCRNL, on),
        74 => settings.output_modes.set(OutputModes::ONOCR, on),
        75 => settings.output_modes.set(OutputModes::ONLRET, on),
        90 if on => {
            settings.control_modes -= ControlModes::CSIZE;
            settings.control_modes |= ControlModes::CS7;
        }
        91 if on => {
            settings.control_modes -= ControlModes::CSIZE;
            settings.control_modes |= ControlModes::CS8;
        }
        92 => settings.control_modes.set(ControlModes::PARENB, on),
        93 => settings.control_modes.set(ControlModes::PARODD, on),
        _ => {}
    }
}
