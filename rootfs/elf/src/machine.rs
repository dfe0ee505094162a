//! Which relocations the dynamic linker knows on which machine, and what each does. The numbers are those of glibc's elf.h
//! and each machine's psABI; the sets are what glibc's `elf_machine_rel` and `elf_machine_rela` accept.

use goblin::elf::header::{EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64};

/// What a relocation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    None,
    /// Load address plus addend.
    Relative,
    /// What the function at load address plus addend returns.
    Irelative,
    /// A symbol's address plus addend, as wide as an address.
    Absolute,
    /// A symbol's address into the global offset table.
    GlobDat,
    /// A function's address into the procedure linkage table's part of it.
    JumpSlot,
    /// A variable of a library copied into the program.
    Copy,
    /// Thread-local storage.
    Tls,
    /// Known to the dynamic linker; none of the above.
    Other,
}

/// A machine whose relocations we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    I386,
    Aarch64,
    Arm,
    Ppc64,
    S390,
    Riscv,
}

impl Machine {
    pub(crate) fn of(e_machine: u16) -> Option<Machine> {
        Some(match e_machine {
            EM_X86_64 => Machine::X86_64,
            EM_386 => Machine::I386,
            EM_AARCH64 => Machine::Aarch64,
            EM_ARM => Machine::Arm,
            EM_PPC64 => Machine::Ppc64,
            EM_S390 => Machine::S390,
            EM_RISCV => Machine::Riscv,
            _ => return None,
        })
    }

    /// Its relocation tables have addends.
    pub(crate) fn has_addends(self) -> bool {
        !matches!(self, Machine::I386 | Machine::Arm)
    }

    /// Instructions lie at multiples of this.
    pub(crate) fn instruction_alignment(self) -> u64 {
        match self {
            Machine::X86_64 | Machine::I386 => 1,
            Machine::Aarch64 | Machine::Ppc64 => 4,
            // Thumb's lowest bit is set in addresses.
            Machine::Arm => 1,
            Machine::S390 | Machine::Riscv => 2,
        }
    }

    /// The pages that the linker reckons with can be larger than the machine's; none is smaller.
    pub(crate) fn page_size(self) -> u64 {
        4096
    }

    /// None for a type that the dynamic linker dies of.
    pub(crate) fn kind(self, relocation: u32) -> Option<Kind> {
        use Kind::*;
        Some(match (self, relocation) {
            (_, 0) => None,
            (Machine::X86_64, kind) => match kind {
                1 => Absolute,
                5 => Copy,
                6 => GlobDat,
                7 => JumpSlot,
                8 => Relative,
                16..=18 | 36 => Tls,
                37 => Irelative,
                2 | 10 | 32 | 33 | 38 => Other,
                _ => return Option::None,
            },
            (Machine::I386, kind) => match kind {
                1 => Absolute,
                5 => Copy,
                6 => GlobDat,
                7 => JumpSlot,
                8 => Relative,
                14 | 35..=37 | 41 => Tls,
                42 => Irelative,
                2 | 38 => Other,
                _ => return Option::None,
            },
            (Machine::Aarch64, kind) => match kind {
                257 => Absolute,
                1024 => Copy,
                1025 => GlobDat,
                1026 => JumpSlot,
                1027 => Relative,
                1028..=1031 => Tls,
                1032 => Irelative,
                256 | 258 => Other,
                _ => return Option::None,
            },
            (Machine::Arm, kind) => match kind {
                2 => Absolute,
                13 | 17..=19 => Tls,
                20 => Copy,
                21 => GlobDat,
                22 => JumpSlot,
                23 => Relative,
                160 => Irelative,
                1 | 3 | 42 => Other,
                _ => return Option::None,
            },
            (Machine::Ppc64, kind) => match kind {
                19 => Copy,
                20 => GlobDat,
                21 => JumpSlot,
                22 => Relative,
                38 => Absolute,
                67..=107 => Tls,
                247 | 248 => Irelative,
                1..=18 | 23..=37 | 39..=66 | 249..=252 => Other,
                _ => return Option::None,
            },
            (Machine::S390, kind) => match kind {
                9 => Copy,
                10 => GlobDat,
                11 => JumpSlot,
                12 => Relative,
                22 => Absolute,
                54..=56 => Tls,
                61 => Irelative,
                1..=8 | 13..=21 | 23..=26 => Other,
                _ => return Option::None,
            },
            (Machine::Riscv, kind) => match kind {
                2 => Absolute,
                3 => Relative,
                4 => Copy,
                5 => JumpSlot,
                6..=12 => Tls,
                58 => Irelative,
                1 => Other,
                _ => return Option::None,
            },
        })
    }

    /// `R_*_RELATIVE`.
    pub(crate) fn relative(self) -> u32 {
        match self {
            Machine::X86_64 | Machine::I386 => 8,
            Machine::Aarch64 => 1027,
            Machine::Arm => 23,
            Machine::Ppc64 => 22,
            Machine::S390 => 12,
            Machine::Riscv => 3,
        }
    }

    /// As elf.h calls it, for those that people meet.
    pub(crate) fn relocation_name(self, relocation: u32) -> String {
        let prefix = match self {
            Machine::X86_64 => "R_X86_64_",
            Machine::I386 => "R_386_",
            Machine::Aarch64 => "R_AARCH64_",
            Machine::Arm => "R_ARM_",
            Machine::Ppc64 => "R_PPC64_",
            Machine::S390 => "R_390_",
            Machine::Riscv => "R_RISCV_",
        };
        let name = match self.kind(relocation) {
            Some(Kind::None) => "NONE",
            Some(Kind::Relative) => "RELATIVE",
            Some(Kind::Irelative) => "IRELATIVE",
            Some(Kind::GlobDat) => "GLOB_DAT",
            Some(Kind::JumpSlot) => "JUMP_SLOT",
            Some(Kind::Copy) => "COPY",
            _ => return format!("{relocation}"),
        };
        format!("{relocation} ({prefix}{name})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_is_relative() {
        use Machine::*;
        for machine in [X86_64, I386, Aarch64, Arm, Ppc64, S390, Riscv] {
            assert_eq!(machine.kind(machine.relative()), Some(Kind::Relative));
        }
    }
}
