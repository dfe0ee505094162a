//! A bit that flips on the way is told in plain words on the serial line and on the screen, wherever it is in
//! the compressed kernel or in the initramfs; nothing of the image is started then.
//!
//! Left out, because nothing can tell there:
//!
//! - the kernel file outside of its compressed payload (setup code, unpacking code, EFI stub: about 1.2 % of it):
//!   it runs before anything could be checked;
//! - the raw header of the stamp's area (some 500 bytes): its texts are for people and for `cargo xtask stamp`,
//!   and what the kernel makes of them is nothing that anybody reads.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::{Firmware, Folder, Machine, Medium, out, scenario};

/// A boot without a word for so long hangs; one with words takes some seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// How many bits are flipped in each of kernel and initramfs.
const FLIPS: usize = 26;

/// What the unpacking code says.
const KERNELS_WORDS: &str = "XZ-compressed data is corrupt";
/// What the gate says (image/src/gate.rs).
const GATES_WORDS: &str = "kedge: THIS IMAGE ARRIVED DAMAGED";
/// What the kernel says of an initramfs.
const UNPACKING: &str = "Initramfs unpacking failed";
/// What a system that has come up shows, and a shell that the kernel starts for want of an init.
const STARTED: [&str; 3] = ["kedge help", "built-in shell", "~ #"];

const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";
/// The footer's last bytes.
const XZ_END: &[u8] = b"YZ";
/// The first bytes of the stamp's area: a cpio archive with checksums.
const AREA: &[u8] = b"070702";

/// One bit of a file.
#[derive(Debug, Clone, Copy)]
struct Bit {
    byte: usize,
    bit: u8,
}

/// Bits all over `range`, the same ones each time: one in each of as many equal pieces.
fn spread(range: &Range<usize>, count: usize) -> Vec<Bit> {
    // SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators).
    let mut state = 20_260_101_u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let piece = range.len() / count;
    let in_piece = |n: usize| range.start + n * piece;
    (0..count)
        .map(|n| Bit {
            byte: in_piece(n) + (random() % piece as u64) as usize,
            bit: (random() % 8) as u8,
        })
        .collect()
}

/// A copy of a file with one bit flipped, gone when this is dropped.
struct Flipped(PathBuf);

impl Flipped {
    fn new(folder: &Folder, file: &[u8], bit: Bit) -> Result<Self> {
        let path = folder.path().join(format!("{}.{}", bit.byte, bit.bit));
        let mut file = file.to_vec();
        file[bit.byte] ^= 1 << bit.bit;
        std::fs::write(&path, file).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Flipped {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The xz stream in the kernel file: payload_offset and payload_length of Documentation/arch/x86/boot.rst. Behind
/// it, still in the payload, the build leaves the unpacked size, which nothing reads.
fn payload(kernel: &[u8]) -> Result<Range<usize>> {
    let field = |at: usize| {
        let bytes = kernel.get(at..at + 4).context("no bzImage")?;
        Ok::<_, anyhow::Error>(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let setup = (usize::from(kernel[0x1f1]) + 1) * 512;
    let start = setup + field(0x248)?;
    let end = start + field(0x24c)? - 4;
    ensure!(kernel[start..].starts_with(XZ_MAGIC), "no xz stream");
    ensure!(kernel[..end].ends_with(XZ_END), "an xz stream without end");
    Ok(start..end)
}

/// The streams in the initramfs: everything, and the link; and the stamp's area behind them.
fn streams(initramfs: &[u8]) -> Result<[Range<usize>; 3]> {
    let find = |from: usize, what: &[u8]| {
        let rest = &initramfs[from..];
        let at = rest.windows(what.len()).position(|bytes| bytes == what);
        at.map(|at| from + at)
            .with_context(|| format!("{what:?} is not in the initramfs"))
    };
    let link = find(1, &[XZ_END, XZ_MAGIC].concat())? + XZ_END.len();
    let area = find(link, AREA)?;
    Ok([0..link, link..area, area..initramfs.len()])
}

/// Boots with that bit of the kernel flipped.
fn kernel_with(folder: &Folder, kernel: &[u8], bit: Bit) -> Result<()> {
    let name = format!("kernel-{}.{}", bit.byte, bit.bit);
    let flipped = Flipped::new(folder, kernel, bit)?;
    let initramfs = out::artefact("netboot/initramfs.cpio.xz")?;
    tells(folder, &name, &flipped.0, &initramfs, KERNELS_WORDS)
}

/// Boots with that bit of the initramfs flipped.
fn initramfs_with(folder: &Folder, initramfs: &[u8], bit: Bit, words: &str) -> Result<()> {
    let name = format!("initramfs-{}.{}", bit.byte, bit.bit);
    let flipped = Flipped::new(folder, initramfs, bit)?;
    let kernel = out::artefact("netboot/vmlinuz")?;
    tells(folder, &name, &kernel, &flipped.0, words)
}

/// Boots, and waits for the words on both consoles.
fn tells(folder: &Folder, name: &str, kernel: &Path, initramfs: &Path, words: &str) -> Result<()> {
    let machine = Machine::new(folder, name).memory(256);
    let mut machine = machine.load(kernel, initramfs, "").start()?;
    let log = machine.console()?.log();
    let told = machine.console()?.expect(words, PATIENCE);
    told.with_context(|| name.to_owned())?;
    if words == GATES_WORDS || words == KERNELS_WORDS {
        machine.expect_on_screen(words, PATIENCE)?;
    }
    let text = log.text();
    for started in STARTED {
        ensure!(!text.contains(started), "{name}: it was started:\n{text}");
    }
    println!("{name}: told");
    Ok(())
}

#[test]
fn a_flipped_bit_in_the_kernel_is_told() {
    scenario(|folder| {
        let kernel = out::read("netboot/vmlinuz")?;
        for bit in spread(&payload(&kernel)?, FLIPS) {
            kernel_with(folder, &kernel, bit)?;
        }
        Ok(())
    });
}

/// Half of the places: two tests, so that two processors have work.
fn in_the_initramfs(folder: &Folder, half: usize) -> Result<()> {
    let initramfs = out::read("netboot/initramfs.cpio.xz")?;
    let [everything, ..] = streams(&initramfs)?;
    // The gate's own bytes, where the kernel's words are all there is, are another test's.
    let behind_the_gate = 2048..everything.end;
    let bits = spread(&behind_the_gate, FLIPS);
    for bit in bits.into_iter().skip(half).step_by(2) {
        initramfs_with(folder, &initramfs, bit, GATES_WORDS)?;
    }
    Ok(())
}

#[test]
fn a_flipped_bit_in_the_initramfs_is_told() {
    scenario(|folder| in_the_initramfs(folder, 0));
}

#[test]
fn a_flipped_bit_in_the_rest_of_the_initramfs_is_told() {
    scenario(|folder| in_the_initramfs(folder, 1));
}

/// The last bytes of the archive's stream are its checksums; the link's stream and the stamp's area follow, with
/// the archive already whole.
#[test]
fn what_is_checked_last_is_told_as_well() {
    scenario(|folder| {
        let initramfs = out::read("netboot/initramfs.cpio.xz")?;
        let [everything, link, area] = streams(&initramfs)?;
        let index = everything.end - 40..everything.end;
        // Behind the area's raw header, of less than 1 KiB, there are zeros, where nothing is stamped.
        let room = area.start + 1024..area.end;
        let bits = [(index, 3), (link, 4), (room, 2)].map(|(range, count)| spread(&range, count));
        for bit in bits.into_iter().flatten() {
            initramfs_with(folder, &initramfs, bit, GATES_WORDS)?;
        }
        Ok(())
    });
}

/// The kernel's own words for a stamped image stand at its very end, with a checksum of their own.
#[test]
fn a_flipped_bit_in_the_kernels_stamped_words_is_told() {
    scenario(|folder| {
        let mut initramfs = out::read("netboot/initramfs.cpio.xz")?;
        // Documentation/admin-guide/bootconfig.rst: words, size, sum of the bytes, magic.
        let words = b"kernel.nomodeset\n\0\0\0";
        let sum: u32 = words.iter().map(|byte| u32::from(*byte)).sum();
        let mut bootconfig = words.to_vec();
        bootconfig.extend((words.len() as u32).to_le_bytes());
        bootconfig.extend(sum.to_le_bytes());
        bootconfig.extend(b"#BOOTCONFIG\n");
        let start = initramfs.len() - bootconfig.len();
        initramfs[start..].copy_from_slice(&bootconfig);
        // In the words, the sum, and the magic.
        for at in [3, 25, 30] {
            let byte = start + at;
            initramfs_with(folder, &initramfs, Bit { byte, bit: 2 }, GATES_WORDS)?;
        }
        Ok(())
    });
}

/// With `earlyprintk=` for the kernel itself it would print its first lines twice.
#[test]
fn the_word_for_the_unpacking_code_is_not_heeded_by_the_kernel() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "whole").direct("")?.start()?;
        machine.wait_for_shell()?;
        let text = machine.console()?.log().text();
        let lines = text.matches("Linux version").count();
        ensure!(lines == 1, "the kernel's first line came {lines} times");
        ensure!(!text.contains("is not an argument"), "a word is reported");
        Ok(())
    });
}

/// Where the gate itself is hurt, it cannot speak: the kernel does, and gives up.
#[test]
fn a_flipped_bit_in_the_gate_is_told_by_the_kernel() {
    scenario(|folder| {
        let initramfs = out::read("netboot/initramfs.cpio.xz")?;
        // The stream's header and the gate's first entries.
        for bit in spread(&(0..120), 3) {
            initramfs_with(folder, &initramfs, bit, UNPACKING)?;
        }
        Ok(())
    });
}

/// Boots a copy of kedge.iso in which a bit of that file on it is flipped.
fn iso_with(folder: &Folder, firmware: Firmware, file: &str, words: &str) -> Result<()> {
    let (iso, part) = (out::read("kedge.iso")?, out::read(file)?);
    let inside = part.len() / 2;
    let needle = &part[inside..inside + 64];
    let byte = iso
        .windows(needle.len())
        .position(|bytes| bytes == needle)
        .with_context(|| format!("{file} is not in kedge.iso"))?;
    let flipped = Flipped::new(folder, &iso, Bit { byte, bit: 5 })?;
    let name = format!("{firmware:?}-{}", file.replace('/', "-"));
    let machine = Machine::new(folder, &name).firmware(firmware);
    let mut machine = machine.medium(Medium::UsbStick, &flipped.0).start()?;
    let log = machine.console()?.log();
    machine.console()?.expect(words, PATIENCE)?;
    let text = log.text();
    for started in STARTED {
        ensure!(!text.contains(started), "{name}: it was started:\n{text}");
    }
    Ok(())
}

#[test]
fn a_damaged_medium_is_told_under_bios_and_uefi() {
    scenario(|folder| {
        iso_with(folder, Firmware::Bios, "netboot/vmlinuz", KERNELS_WORDS)?;
        // The EFI stub unpacks the kernel there, and says it in the firmware's console.
        iso_with(folder, Firmware::Uefi, "netboot/vmlinuz", KERNELS_WORDS)?;
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            iso_with(folder, firmware, "netboot/initramfs.cpio.xz", GATES_WORDS)?;
        }
        Ok(())
    });
}
