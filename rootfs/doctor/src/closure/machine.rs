//! For which processor a file is, and what dynamic linkers call that.

/// For which processor a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// `ELFCLASS64`.
    pub(super) is_64: bool,
    /// `e_machine`.
    pub(super) number: u16,
}

impl Machine {
    /// Out of the first 20 bytes of an ELF file; `None` when it is none, or says nothing that there is.
    pub(super) fn of(header: &[u8]) -> Option<Machine> {
        if !kedge_elf::is_elf(header) {
            return None;
        }
        let number = <[u8; 2]>::try_from(header.get(18..20)?).ok()?;
        Some(Machine {
            is_64: match header[4] {
                1 => false,
                2 => true,
                _ => return None,
            },
            number: match header[5] {
                1 => u16::from_le_bytes(number),
                2 => u16::from_be_bytes(number),
                _ => return None,
            },
        })
    }

    pub(super) fn is_x86_64(self) -> bool {
        self.number == 62
    }

    /// Debian's name of it.
    pub(super) fn triplet(self) -> Option<&'static str> {
        Some(match (self.number, self.is_64) {
            (62, true) => "x86_64-linux-gnu",
            (3, false) => "i386-linux-gnu",
            (183, true) => "aarch64-linux-gnu",
            (40, false) => "arm-linux-gnueabihf",
            (21, true) => "powerpc64le-linux-gnu",
            (22, true) => "s390x-linux-gnu",
            (243, true) => "riscv64-linux-gnu",
            _ => return None,
        })
    }

    /// `AT_PLATFORM`.
    pub(super) fn platform(self) -> &'static str {
        match self.number {
            62 => "x86_64",
            3 => "i686",
            183 => "aarch64",
            _ => "",
        }
    }
}
