//! What bytes are, by what they begin with. One function a format, each with the source of its numbers; nothing that is
//! read is trusted: it is compared, or shown as printable text.

use kedge_machine::superblock;

use crate::http::Header;
use crate::source::Bytes;

/// What is looked at: the beginning.
const HEAD: usize = 64 << 10;

/// What bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// One word: `elf`, `gzip`, `http`.
    pub name: &'static str,
    /// A line for people.
    pub text: String,
    /// Where the body of an HTTP answer begins.
    pub body: Option<u64>,
}

fn kind(name: &'static str, text: impl Into<String>) -> Option<Kind> {
    Some(Kind {
        name,
        text: text.into(),
        body: None,
    })
}

/// Says what `head` is the beginning of; the whole has `size` bytes.
pub fn identify(head: &[u8], size: u64) -> Kind {
    whole(&head, size, 0)
}

/// The same of what `bytes` has from `offset` on.
pub(crate) fn at(bytes: &impl Bytes, offset: u64) -> Kind {
    whole(bytes, bytes.size().saturating_sub(offset), offset)
}

fn whole(bytes: &impl Bytes, size: u64, offset: u64) -> Kind {
    let head = &bytes.piece(offset, HEAD)[..];
    let found = None
        .or_else(|| (size == 0).then(|| kind("empty", "empty"))?)
        .or_else(|| http(bytes, head, size, offset))
        .or_else(|| elf(head, size))
        .or_else(|| package(head, size))
        .or_else(|| compressed(head))
        .or_else(|| archive(head))
        .or_else(|| boot(head))
        .or_else(|| database(head))
        .or_else(|| picture(head))
        .or_else(|| file_system(bytes, size, offset))
        .or_else(|| partitions(head))
        .or_else(|| text(head, size));
    found.unwrap_or_else(|| {
        let text = match head.first() {
            None => "not readable where it begins".to_string(),
            Some(first) if head.iter().all(|byte| byte == first) => {
                let all = if head.len() as u64 == size {
                    ""
                } else {
                    " to begin with"
                };
                format!("nothing but bytes 0x{first:02x}{all}")
            }
            _ => "of no kind that is known here".to_string(),
        };
        let name = if text.contains("0x00") {
            "zero"
        } else {
            "data"
        };
        Kind {
            name,
            text,
            body: None,
        }
    })
}

/// RFC 9112.
fn http(bytes: &impl Bytes, head: &[u8], size: u64, offset: u64) -> Option<Kind> {
    let header = Header::parse(head)?;
    let body = header.body as u64;
    let inner = match header.chunked {
        true => "in chunks".to_string(),
        // No header of a header: one level is all that is told.
        false if bytes.piece(offset + body, 5) == b"HTTP/" => "one more header".to_string(),
        false => at(bytes, offset + body).text,
    };
    let there = size.saturating_sub(body);
    let length = match header.length {
        Some(length) if length > there => {
            format!("; CUT SHORT: the header says {length} bytes, {there} are there")
        }
        Some(length) if length < there => {
            format!("; {} bytes more than the header says", there - length)
        }
        _ => String::new(),
    };
    let packed = header.packed.map_or(String::new(), |by| {
        format!("; packed for the way by {by}, so it is not the file yet")
    });
    let mut kind = kind(
        "http",
        format!(
            "an HTTP header ({}) in front of a file; the body starts at byte {body}: {inner}{length}{packed}",
            header.status
        ),
    )?;
    kind.body = Some(offset + body);
    Some(kind)
}

fn u16_at(head: &[u8], at: usize, little: bool) -> Option<u16> {
    let bytes = head.get(at..at + 2)?.try_into().ok()?;
    Some(if little {
        u16::from_le_bytes(bytes)
    } else {
        u16::from_be_bytes(bytes)
    })
}

fn u32_at(head: &[u8], at: usize, little: bool) -> Option<u32> {
    let bytes = head.get(at..at + 4)?.try_into().ok()?;
    Some(if little {
        u32::from_le_bytes(bytes)
    } else {
        u32::from_be_bytes(bytes)
    })
}

fn u64_at(head: &[u8], at: usize, little: bool) -> Option<u64> {
    let bytes = head.get(at..at + 8)?.try_into().ok()?;
    Some(if little {
        u64::from_le_bytes(bytes)
    } else {
        u64::from_be_bytes(bytes)
    })
}

/// elf(5); gABI, chapter 4.
fn elf(head: &[u8], size: u64) -> Option<Kind> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let (wide, little) = (head.get(4) == Some(&2), head.get(5) != Some(&2));
    let what = match u16_at(head, 16, little) {
        Some(1) => "object file",
        Some(2) => "program",
        Some(3) => "program or shared library",
        Some(4) => "core dump",
        _ => "of an unknown type",
    };
    let machine = match u16_at(head, 18, little) {
        Some(3) => "i386",
        Some(8) => "MIPS",
        Some(20 | 21) => "PowerPC",
        Some(22) => "S390",
        Some(40) => "ARM",
        Some(62) => "x86-64",
        Some(183) => "AArch64",
        Some(243) => "RISC-V",
        _ => "an unknown machine",
    };
    let bits = if wide { 64 } else { 32 };
    let mut text = format!("ELF, {bits} bits, {what}, {machine}");
    // The section headers are the last thing in most files.
    let table = if wide {
        (
            u64_at(head, 40, little),
            u16_at(head, 58, little),
            u16_at(head, 60, little),
        )
    } else {
        (
            u32_at(head, 32, little).map(u64::from),
            u16_at(head, 46, little),
            u16_at(head, 48, little),
        )
    };
    if let (Some(at), Some(each), Some(count)) = table {
        let end = at.saturating_add(u64::from(each) * u64::from(count));
        if end > size {
            text += &format!("; CUT SHORT: it must have {end} bytes at least, and has {size}");
        }
    }
    kind("elf", text)
}

/// deb(5), ar(5); rpm's lead (lib/rpmlead.c).
fn package(head: &[u8], _size: u64) -> Option<Kind> {
    if head.starts_with(b"!<arch>\n") {
        return match head.get(8..24) {
            Some(b"debian-binary   ") => kind("deb", "Debian package"),
            _ => kind("ar", "ar archive (static library)"),
        };
    }
    if head.starts_with(b"\xed\xab\xee\xdb") {
        let name = printable(head.get(10..76)?);
        let what = match u16_at(head, 6, false) {
            Some(1) => "source package",
            _ => "package",
        };
        return kind("rpm", format!("RPM {what} {name}"));
    }
    None
}

/// RFC 1952; xz-file-format 2.1.1; RFC 8878; bzip2's source; lz4's frame format.
fn compressed(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"\x1f\x8b\x08") {
        let mut text = "gzip".to_string();
        // FNAME, without FEXTRA in front of it.
        if head.get(3).is_some_and(|flags| flags & 0x0c == 0x08) {
            let name = head[10.min(head.len())..]
                .split(|&b| b == 0)
                .next()
                .unwrap_or_default();
            text += &format!(" of {}", printable(&name[..name.len().min(100)]));
        }
        return kind("gzip", text);
    }
    match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => kind("xz", "xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => kind("zstd", "zstd"),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => kind("bzip2", "bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => kind("lz4", "lz4"),
        [0x5d, 0, 0, _, _, ..] => kind("lzma", "LZMA (of xz-utils before 5)"),
        _ => None,
    }
}

/// cpio(5); POSIX ustar; APPNOTE.TXT 4.3.
fn archive(head: &[u8]) -> Option<Kind> {
    if let Some(magic) = head.get(..6) {
        let form = match magic {
            b"070701" => Some("newc"),
            b"070702" => Some("newc with checksums"),
            b"070707" => Some("odc"),
            _ => None,
        };
        if let Some(form) = form {
            return kind("cpio", format!("cpio archive ({form}; initramfs?)"));
        }
    }
    if head.get(257..262) == Some(b"ustar") {
        let name = head[..100].split(|&b| b == 0).next().unwrap_or_default();
        return kind(
            "tar",
            format!("tar archive, first of all {}", printable(name)),
        );
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return kind("zip", "zip archive");
    }
    None
}

/// PE/COFF specification; linux, Documentation/arch/x86/boot.rst.
fn boot(head: &[u8]) -> Option<Kind> {
    let kernel = head.get(0x202..0x206) == Some(b"HdrS");
    if head.starts_with(b"MZ") {
        let at = u32_at(head, 0x3c, true)? as usize;
        if head.get(at..at.checked_add(4)?) != Some(b"PE\0\0") {
            return kind("dos", "DOS program");
        }
        let machine = match u16_at(head, at + 4, true) {
            Some(0x14c) => "i386",
            Some(0x8664) => "x86-64",
            Some(0xaa64) => "AArch64",
            _ => "an unknown machine",
        };
        let what = match u16_at(head, at + 24 + 68, true) {
            _ if kernel => "Linux kernel (bzImage) with EFI stub",
            Some(10) => "EFI application",
            Some(11 | 12) => "EFI driver",
            _ => "PE program (Windows)",
        };
        return kind("pe", format!("{what}, {machine}"));
    }
    if kernel {
        return kind("bzimage", "Linux kernel (bzImage)");
    }
    None
}

/// sqlite.org/fileformat.html, 1.3; Berkeley DB, dbinc/db_page.h; rpm, lib/backend/ndb/rpmpkg.c.
fn database(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"SQLite format 3\0") {
        let page = match u16_at(head, 16, false)? {
            1 => 65536,
            page => u32::from(page),
        };
        let pages = u32_at(head, 28, false)?;
        return kind(
            "sqlite",
            format!("SQLite database, {pages} pages of {page} bytes"),
        );
    }
    if head.starts_with(b"RpmP") {
        return kind("ndb", "rpm database (ndb)");
    }
    match [u32_at(head, 12, true), u32_at(head, 12, false)] {
        [Some(0x0005_3162), _] | [_, Some(0x0005_3162)] => kind("bdb", "Berkeley DB, btree"),
        [Some(0x0006_1561), _] | [_, Some(0x0006_1561)] => kind("bdb", "Berkeley DB, hash"),
        _ => None,
    }
}

/// W3C PNG, 11.2.1; the others by their signatures.
fn picture(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        let (width, height) = (u32_at(head, 16, false)?, u32_at(head, 20, false)?);
        return kind("png", format!("PNG, {width} x {height}"));
    }
    match head {
        [0xff, 0xd8, 0xff, ..] => kind("jpeg", "JPEG"),
        [b'G', b'I', b'F', b'8', ..] => kind("gif", "GIF"),
        [b'%', b'P', b'D', b'F', b'-', ..] => kind("pdf", "PDF"),
        _ => None,
    }
}

fn file_system(bytes: &impl Bytes, size: u64, offset: u64) -> Option<Kind> {
    let pieces = superblock::pieces(size);
    let pieces = pieces
        .into_iter()
        .map(|(at, length)| (at, bytes.piece(offset.saturating_add(at), length)));
    let content = superblock::identify(size, &pieces.collect())?;
    let label = content
        .label
        .map_or(String::new(), |label| format!(" \"{label}\""));
    kind(
        "superblock",
        format!("{}{label}, by its superblock", content.kind),
    )
}

/// UEFI specification, 5.3.2; the boot signature that every BIOS looks for.
fn partitions(head: &[u8]) -> Option<Kind> {
    if head.get(512..520) == Some(b"EFI PART") {
        return kind("gpt", "disk with a GPT");
    }
    if head.get(510..512) != Some(b"\x55\xaa") {
        return None;
    }
    let used = (0..4).filter(|i| head.get(446 + 16 * i + 4).is_some_and(|&kind| kind != 0));
    kind(
        "mbr",
        format!("boot sector, {} MBR partitions", used.count()),
    )
}

fn text(head: &[u8], size: u64) -> Option<Kind> {
    let mut start = head;
    if let [0xef, 0xbb, 0xbf, rest @ ..] = head {
        start = rest;
    }
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character that was cut.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b');
    if valid.is_empty() || !valid.chars().all(plain) {
        return None;
    }
    let first = valid.lines().next().unwrap_or_default();
    let first = printable(&first.as_bytes()[..first.len().min(100)]);
    if valid.starts_with("#!") {
        return kind("script", format!("script: {first}"));
    }
    if let Some(what) = first.strip_prefix("-----BEGIN ") {
        let what = what.trim_end_matches('-');
        return match what.starts_with("PGP ") {
            true => kind("pgp", format!("OpenPGP armour: {what}")),
            false => kind("pem", format!("PEM: {what}")),
        };
    }
    let start = valid
        .trim_start()
        .get(..14)
        .unwrap_or_default()
        .to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return kind(
            "html",
            "a web page (HTML): where a file was expected, an error of the server",
        );
    }
    let (lines, more) = (
        valid.lines().count(),
        if (head.len() as u64) < size {
            " and more"
        } else {
            ""
        },
    );
    kind("text", format!("text, {lines} lines{more}"))
}

/// Up to the first NUL, with what is not printable as dots.
fn printable(bytes: &[u8]) -> String {
    let bytes = bytes.split(|&b| b == 0).next().unwrap_or_default();
    let shown = |&b: &u8| match b {
        b' '..=b'~' => char::from(b),
        _ => '.',
    };
    bytes.iter().map(shown).collect()
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
