//! The proof that a program which goes into the initramfs is static.
//!
//! Not parsed here: relocations, symbols, anything beyond the program headers and `DT_NEEDED`.

use goblin::elf::Elf;
use goblin::elf::header::{EM_X86_64, ET_DYN, ET_EXEC};

/// Why a file may not go into the image as a static program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an ELF file, or a damaged one.
    #[error("{name} is no ELF file that can be read: {source}")]
    Parse {
        /// The file, as the caller calls it.
        name: String,
        /// Where the parser stopped.
        source: goblin::error::Error,
    },
    /// An object file, a core dump, or for another machine.
    #[error("{name} is no x86-64 program (e_type {e_type}, e_machine {e_machine})")]
    NotAProgram {
        /// The file, as the caller calls it.
        name: String,
        /// `e_type` of the ELF header.
        e_type: u16,
        /// `e_machine` of the ELF header.
        e_machine: u16,
    },
    /// It asks for a dynamic linker (`PT_INTERP`), which the image does not have.
    #[error("{name} is not static: it asks for the dynamic linker {interpreter}")]
    Interpreter {
        /// The file, as the caller calls it.
        name: String,
        /// Path of the dynamic linker.
        interpreter: String,
    },
    /// It asks for shared libraries (`DT_NEEDED`), which the image does not have.
    #[error("{name} is not static: it needs {}", libraries.join(", "))]
    Needed {
        /// The file, as the caller calls it.
        name: String,
        /// The libraries.
        libraries: Vec<String>,
    },
}

/// Proves that `bytes` is an x86-64 program that needs no interpreter and no shared library.
///
/// Position-independent static programs (`ET_DYN` without `PT_INTERP`) count as static.
///
/// # Errors
/// Which of the conditions does not hold; `name` is only for the message.
pub fn prove_static(name: &str, bytes: &[u8]) -> Result<(), Error> {
    let elf = Elf::parse(bytes).map_err(|source| Error::Parse {
        name: name.into(),
        source,
    })?;
    let (e_type, e_machine) = (elf.header.e_type, elf.header.e_machine);
    if !matches!(e_type, ET_EXEC | ET_DYN) || e_machine != EM_X86_64 {
        return Err(Error::NotAProgram {
            name: name.into(),
            e_type,
            e_machine,
        });
    }
    if let Some(interpreter) = elf.interpreter {
        return Err(Error::Interpreter {
            name: name.into(),
            interpreter: interpreter.into(),
        });
    }
    if !elf.libraries.is_empty() {
        let libraries = elf.libraries.iter().map(ToString::to_string).collect();
        return Err(Error::Needed {
            name: name.into(),
            libraries,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_static_busybox_is_static() {
        let bytes = std::fs::read("/bin/busybox").unwrap();
        prove_static("busybox", &bytes).unwrap();
    }

    #[test]
    fn a_dynamic_program_is_refused_and_its_linker_named() {
        let bytes = std::fs::read("/bin/ls").unwrap();
        let error = prove_static("ls", &bytes).unwrap_err();
        assert!(
            error.to_string().contains("ld-linux-x86-64.so.2"),
            "{error}"
        );
    }

    #[test]
    fn an_object_file_and_text_are_refused() {
        assert!(matches!(
            prove_static("text", b"#!/bin/sh\n"),
            Err(Error::Parse { .. })
        ));
        let mut bytes = std::fs::read("/bin/busybox").unwrap();
        bytes[16] = 1; // e_type = ET_REL
        assert!(matches!(
            prove_static("object", &bytes),
            Err(Error::NotAProgram { .. })
        ));
    }

    #[test]
    fn no_truncation_of_a_program_panics() {
        let bytes = std::fs::read("/bin/busybox").unwrap();
        for end in (0..8192).step_by(37) {
            let _ = prove_static("cut", &bytes[..end]);
        }
    }
}
