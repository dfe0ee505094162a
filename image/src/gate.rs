//! The gate: what makes an initramfs that arrived damaged say so, and do nothing else.
//!
//! The kernel unpacks an initramfs piece by piece, stops where it is not whole ("Initramfs unpacking failed",
//! init/initramfs.c), and then runs whatever /init or /bin/sh there is by then: half a rescue system. So the
//! initramfs is two xz streams, each with its CRC32:
//!
//! 1. the gate, a program of a few hundred bytes, as /init, and then everything else;
//! 2. a link, /whole, to the real init.
//!
//! The gate executes /whole. The kernel makes it only after the CRC32 of all that stands before it was right;
//! without it the gate says in the kernel's log, on every kernel console and again and again (for who looks
//! later), what happened and what to do. Nothing else runs then: no half of a rescue system writes to disks.
//! That the gate stands first is why it is there when what follows is damaged. Damage in its own few hundred
//! bytes is told by the kernel's words alone, and its panic.
//!
//! What follows the link (a stamp) is for init to judge: rootfs/init/src/wholeness.rs, which comes back here by
//! removing /whole.

use std::io;

use crate::initramfs::{self, Node, Tree};
use crate::xz;

/// What the gate executes, when it is there.
const WHOLE: &str = "whole";
/// What it is a link to.
const INIT: &str = "bin/kedge";

/// What is said. One record of the kernel's log, at most 1 KiB (`PRINTKRB_RECORD_MAX`), at level 0, which every
/// `loglevel=` shows; each line begins with a stamp of 15 characters on the screen.
const WORDS: &str = "<0>\
kedge: THIS IMAGE ARRIVED DAMAGED, and nothing of it is started.\n\
kedge: Nothing was written to any disk of this machine.\n\
kedge: Load the image again: ctrl-alt-del restarts.\n\
kedge: If that does not help, compare the file with SHA256SUMS,\n\
kedge: and try another medium. The kernel's reason stands above,\n\
kedge: after \"Initramfs unpacking failed\". Is it \"write error\",\n\
kedge: the machine has too little memory for this image.\n";

/// How long until it is said again, in seconds.
const PAUSE: u64 = 30;

/// Why there is no initramfs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree is none.
    #[error(transparent)]
    Tree(#[from] initramfs::Error),
    /// liblzma's word.
    #[error("cannot compress the initramfs: {0}")]
    Xz(io::Error),
}

/// The initramfs of `tree`: gate and tree in one stream, the link in another. Every entry carries `mtime`.
///
/// # Errors
/// As [`Tree::to_cpio`].
pub fn initramfs(tree: &Tree, mtime: u32) -> Result<Vec<u8>, Error> {
    let mut gate = Tree::default();
    gate.add("init", Node::File(0o755, program()))?;
    gate.add("dev/kmsg", Node::CharDevice(0o600, 1, 11))?;
    let mut archive = gate.to_cpio_without_trailer(mtime)?;
    archive.extend(tree.to_cpio(mtime)?);
    let mut link = Tree::default();
    link.add(WHOLE, Node::Symlink(INIT.into()))?;
    // The length of an xz stream is a multiple of 4, as the kernel wants its pieces.
    let mut packed = xz::compress(&archive).map_err(Error::Xz)?;
    packed.extend(xz::compress(&link.to_cpio(mtime)?).map_err(Error::Xz)?);
    Ok(packed)
}

/// Where the program is loaded, as the linker does it for programs that are not relocated.
const BASE: u64 = 0x40_0000;
/// Sizes of the ELF header and of one program header (elf(5)).
const EHSIZE: usize = 64;
const PHENTSIZE: usize = 56;

/// Numbers of arch/x86/entry/syscalls/syscall_64.tbl.
const WRITE: u32 = 1;
const OPEN: u32 = 2;
const NANOSLEEP: u32 = 35;
const EXECVE: u32 = 59;

/// The program: an ELF file of one segment, machine code and what it refers to.
fn program() -> Vec<u8> {
    let mut data = Vec::new();
    let mut place = |bytes: &[u8]| {
        let at = data.len();
        data.extend_from_slice(bytes);
        at
    };
    // struct timespec of nanosleep(2)
    let pause = place(&[PAUSE.to_le_bytes(), [0; 8]].concat());
    let whole = place(format!("/{WHOLE}\0").as_bytes());
    let kmsg = place(b"/dev/kmsg\0");
    let words = place(WORDS.as_bytes());

    let mut code = Code::default();
    // The kernel leaves argc, argv, NULL, envp, NULL on the stack.
    code.bytes(&[0x48, 0x8d, 0x74, 0x24, 0x08]); // lea rsi, [rsp + 8]           argv
    code.bytes(&[0x48, 0x8b, 0x04, 0x24]); // mov rax, [rsp]
    code.bytes(&[0x48, 0x8d, 0x54, 0xc4, 0x10]); // lea rdx, [rsp + rax * 8 + 16]  envp
    code.address([0x48, 0x8d, 0x3d], whole); // lea rdi, [whole]
    code.call(EXECVE);
    // Still here: there is no /whole.
    code.address([0x48, 0x8d, 0x3d], kmsg); // lea rdi, [kmsg]
    code.bytes(&[0xbe, 0x01, 0x00, 0x00, 0x00]); // mov esi, O_WRONLY
    code.call(OPEN);
    code.bytes(&[0x89, 0xc3]); // mov ebx, eax
    code.bytes(&[0x85, 0xc0]); // test eax, eax
    code.bytes(&[0x79, 0x05]); // jns over the next
    code.bytes(&[0xbb, 0x02, 0x00, 0x00, 0x00]); // mov ebx, 2        standard error is /dev/console
    let again = code.0.len();
    code.bytes(&[0x89, 0xdf]); // mov edi, ebx
    code.address([0x48, 0x8d, 0x35], words); // lea rsi, [words]
    code.bytes(&[0xba]); // mov edx, length
    code.bytes(&(WORDS.len() as u32).to_le_bytes());
    code.call(WRITE);
    code.address([0x48, 0x8d, 0x3d], pause); // lea rdi, [pause]
    code.bytes(&[0x31, 0xf6]); // xor esi, esi
    code.call(NANOSLEEP);
    let back = again as isize - (code.0.len() + 2) as isize;
    code.bytes(&[0xeb, back as i8 as u8]); // jmp again

    elf(&code.link(), &data)
}

/// Machine code whose references to the data behind it are filled in when its length is known.
#[derive(Debug, Default)]
struct Code(Vec<u8>, Vec<(usize, usize)>);

impl Code {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// An instruction with a 32-bit displacement from its end to `target` in the data.
    fn address(&mut self, instruction: [u8; 3], target: usize) {
        self.bytes(&instruction);
        self.1.push((self.0.len(), target));
        self.bytes(&[0; 4]);
    }

    /// `mov eax, number; syscall`
    fn call(&mut self, number: u32) {
        self.bytes(&[0xb8]);
        self.bytes(&number.to_le_bytes());
        self.bytes(&[0x0f, 0x05]);
    }

    fn link(self) -> Vec<u8> {
        let Code(mut code, references) = self;
        let end = code.len();
        for (at, target) in references {
            let displacement = (end + target - (at + 4)) as u32;
            code[at..at + 4].copy_from_slice(&displacement.to_le_bytes());
        }
        code
    }
}

/// An executable ELF file (elf(5)) with one segment, which is all of the file.
fn elf(code: &[u8], data: &[u8]) -> Vec<u8> {
    const HEADERS: usize = EHSIZE + PHENTSIZE;
    let size = (HEADERS + code.len() + data.len()) as u64;
    let entry = BASE + HEADERS as u64;
    let mut file = Vec::new();
    // ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV
    file.extend(*b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0");
    file.extend(2u16.to_le_bytes()); // ET_EXEC
    file.extend(62u16.to_le_bytes()); // EM_X86_64
    file.extend(1u32.to_le_bytes());
    file.extend(entry.to_le_bytes());
    file.extend((EHSIZE as u64).to_le_bytes()); // program headers
    file.extend(0u64.to_le_bytes()); // no section headers
    file.extend(0u32.to_le_bytes());
    for field in [EHSIZE, PHENTSIZE, 1, 0, 0, 0] {
        file.extend((field as u16).to_le_bytes());
    }
    file.extend(1u32.to_le_bytes()); // PT_LOAD
    file.extend(5u32.to_le_bytes()); // PF_R | PF_X
    for field in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(field.to_le_bytes());
    }
    file.extend(code);
    file.extend(data);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};

    /// The gate in a root of its own, as the current user's root.
    fn run(root: &std::path::Path) -> Command {
        std::fs::write(root.join("init"), program()).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(root.join("init"), executable).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--root"]);
        command.arg(root).args(["/init", "one", "two"]);
        command
    }

    #[test]
    fn without_the_link_it_speaks_and_stays() {
        let root = tempfile::tempdir().unwrap();
        // No /dev/kmsg there: it says it on the console instead.
        let mut child = run(root.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = vec![0; WORDS.len()];
        child.stderr.take().unwrap().read_exact(&mut said).unwrap();
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), WORDS);
        assert_eq!(ended, None);
    }

    #[test]
    fn with_the_link_it_hands_over_arguments_and_environment() {
        let root = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/busybox", root.path().join("busybox")).unwrap();
        symlink("busybox", root.path().join(WHOLE)).unwrap();
        // busybox is what argv[0] says: the gate hands that on as well.
        run(root.path());
        std::fs::rename(root.path().join("init"), root.path().join("sh")).unwrap();
        let out = Command::new("unshare")
            .args(["--user", "--map-root-user", "--root"])
            .arg(root.path())
            .args(["/sh", "-c", "echo $KEDGE_GATE $0", "two"])
            .env("KEDGE_GATE", "open")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "open two\n");
        assert!(out.status.success());
    }

    #[test]
    fn the_words_fit_a_record_and_the_screen() {
        assert!(WORDS.len() < 1024, "{}", WORDS.len());
        let text = WORDS.strip_prefix("<0>").unwrap();
        for line in text.lines() {
            assert!(line.starts_with("kedge: ") && line.is_ascii() && line.len() + 15 <= 80);
        }
    }

    #[test]
    fn the_gate_is_first_and_the_link_comes_after_the_archives_checksum() {
        let mut tree = Tree::default();
        tree.add("bin/kedge", Node::File(0o755, vec![7; 5]))
            .unwrap();
        let packed = initramfs(&tree, 0).unwrap();
        let (archive, length) = xz::decompress_first(&packed, 1 << 20).unwrap();
        assert_eq!(
            names(&archive),
            ["dev", "dev/kmsg", "init", "bin", "bin/kedge"]
        );
        assert_eq!(length % 4, 0);
        let link = xz::decompress(&packed[length..], 1 << 20).unwrap();
        assert_eq!(names(&link), ["whole"]);
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, archive).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let list = Command::new("cpio")
            .args(["-t", "--quiet"])
            .stdin(file)
            .output()
            .unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        list.lines().map(str::to_owned).collect()
    }
}
