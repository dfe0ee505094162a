//! The unified kernel image: systemd's EFI stub with sections appended.
//!
//! Layout after the UAPI group's UKI specification and the PE/COFF specification. Sections start
//! at multiples of [`SECTION_ALIGNMENT`] in the file, so that ISO 9660 extents can point at
//! their content. Not done here: signing, PE checksums (firmware checks them for drivers only).

/// Where sections may start in the file: the sector size of ISO 9660.
pub const SECTION_ALIGNMENT: usize = 2048;

/// What every EFI program begins with: the MS-DOS stub's signature.
pub const MAGIC: &[u8] = b"MZ";

// PE/COFF specification, "MS-DOS Stub", "COFF File Header", "Optional Header (PE32+)" and
// "Section Table": offsets relative to the header they are in.
const DOS_PE_OFFSET: usize = 0x3c;
const PE_SIGNATURE: &[u8] = b"PE\0\0";
const COFF_SIZE: usize = 20;
const COFF_NUMBER_OF_SECTIONS: usize = 2;
const COFF_SIZE_OF_OPTIONAL_HEADER: usize = 16;
const OPTIONAL_MAGIC_PE32_PLUS: u16 = 0x20b;
const OPTIONAL_SIZE_OF_INITIALIZED_DATA: usize = 8;
const OPTIONAL_SECTION_ALIGNMENT: usize = 32;
const OPTIONAL_FILE_ALIGNMENT: usize = 36;
const OPTIONAL_SIZE_OF_IMAGE: usize = 56;
const OPTIONAL_SIZE_OF_HEADERS: usize = 60;
const SECTION_HEADER_SIZE: usize = 40;
const SECTION_VIRTUAL_SIZE: usize = 8;
const SECTION_VIRTUAL_ADDRESS: usize = 12;
const SECTION_RAW_SIZE: usize = 16;
const SECTION_RAW_OFFSET: usize = 20;
const SECTION_CHARACTERISTICS: usize = 36;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`.
const READ_ONLY_DATA: u32 = 0x4000_0040;

/// Why a UKI cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stub is not what systemd-boot-efi ships.
    #[error("the EFI stub is no PE32+ image: {0}")]
    Stub(&'static str),
    /// The stub's header has no room for another section.
    #[error("the EFI stub's header has no room for section {0}")]
    HeaderFull(String),
    /// Longer than the 8 bytes that a section header has.
    #[error("section name {0} is longer than 8 bytes")]
    Name(String),
    /// PE's 32-bit offsets end.
    #[error("the image is larger than 4 GiB")]
    TooLarge,
}

/// Where a section's content lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, with the dot.
    pub name: String,
    /// Byte offset in the file; a multiple of [`SECTION_ALIGNMENT`].
    pub offset: usize,
    /// Length in bytes, without padding.
    pub size: usize,
}

/// A finished image.
#[derive(Debug)]
pub struct Uki {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// The appended sections, in the given order.
    pub sections: Vec<Section>,
}

/// Appends `sections` (name and content) to `stub`.
///
/// # Errors
/// A stub that is no PE32+ image, or has no room for as many sections.
pub fn build(stub: &[u8], sections: &[(&str, &[u8])]) -> Result<Uki, Error> {
    let header = Header::parse(stub)?;
    let mut image = stub.to_vec();
    let mut placed = Vec::new();
    let mut address = header.end_of_sections;
    let mut initialized = u32_at(stub, header.optional + OPTIONAL_SIZE_OF_INITIALIZED_DATA)?;

    for (index, (name, content)) in (header.sections..).zip(sections) {
        if name.len() > 8 {
            return Err(Error::Name((*name).into()));
        }
        let entry = header.table + index * SECTION_HEADER_SIZE;
        if entry + SECTION_HEADER_SIZE > header.size_of_headers {
            return Err(Error::HeaderFull((*name).into()));
        }
        let offset = image.len().next_multiple_of(SECTION_ALIGNMENT);
        image.resize(offset, 0);
        image.extend_from_slice(content);
        // Padded to whole sectors, so that an ISO 9660 extent of it holds nothing of the next.
        image.resize(image.len().next_multiple_of(SECTION_ALIGNMENT), 0);

        address = address.next_multiple_of(header.section_alignment);
        let virtual_size = to_u32(content.len())?;
        let raw_size = to_u32(content.len().next_multiple_of(header.file_alignment))?;
        image[entry..entry + SECTION_HEADER_SIZE].fill(0);
        image[entry..entry + name.len()].copy_from_slice(name.as_bytes());
        put_u32(&mut image, entry + SECTION_VIRTUAL_SIZE, virtual_size);
        put_u32(
            &mut image,
            entry + SECTION_VIRTUAL_ADDRESS,
            to_u32(address)?,
        );
        put_u32(&mut image, entry + SECTION_RAW_SIZE, raw_size);
        put_u32(&mut image, entry + SECTION_RAW_OFFSET, to_u32(offset)?);
        put_u32(&mut image, entry + SECTION_CHARACTERISTICS, READ_ONLY_DATA);
        address += content.len();
        initialized = initialized.checked_add(raw_size).ok_or(Error::TooLarge)?;
        placed.push(Section {
            name: (*name).into(),
            offset,
            size: content.len(),
        });
    }

    let count = u16::try_from(header.sections + sections.len()).map_err(|_| Error::TooLarge)?;
    let at = header.coff + COFF_NUMBER_OF_SECTIONS;
    image[at..at + 2].copy_from_slice(&count.to_le_bytes());
    let size_of_image = to_u32(address.next_multiple_of(header.section_alignment))?;
    put_u32(
        &mut image,
        header.optional + OPTIONAL_SIZE_OF_IMAGE,
        size_of_image,
    );
    put_u32(
        &mut image,
        header.optional + OPTIONAL_SIZE_OF_INITIALIZED_DATA,
        initialized,
    );
    Ok(Uki {
        bytes: image,
        sections: placed,
    })
}

/// Where the content of the section called `name` lies in a finished image of `length` bytes that begins
/// with `head`: its headers, at least.
///
/// # Errors
/// When it is no PE32+ image. `None` where it has no such section, or one that lies outside.
pub fn find(head: &[u8], length: usize, name: &str) -> Result<Option<Section>, Error> {
    let header = Header::parse(head)?;
    for index in 0..header.sections {
        let entry = header.table + index * SECTION_HEADER_SIZE;
        let found: [u8; 8] = bytes_at(head, entry)?;
        let end = found
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        if &found[..end] != name.as_bytes() {
            continue;
        }
        let size = u32_at(head, entry + SECTION_VIRTUAL_SIZE)? as usize;
        let offset = u32_at(head, entry + SECTION_RAW_OFFSET)? as usize;
        let inside = offset.checked_add(size).is_some_and(|end| end <= length);
        return Ok(inside.then(|| Section {
            name: name.into(),
            offset,
            size,
        }));
    }
    Ok(None)
}

/// What has to be known of the stub; offsets are into the file.
struct Header {
    coff: usize,
    optional: usize,
    table: usize,
    sections: usize,
    size_of_headers: usize,
    section_alignment: usize,
    file_alignment: usize,
    /// The first virtual address after the stub's own sections.
    end_of_sections: usize,
}

impl Header {
    fn parse(stub: &[u8]) -> Result<Header, Error> {
        if !stub.starts_with(MAGIC) {
            return Err(Error::Stub("it does not start with MZ"));
        }
        let signature = u32_at(stub, DOS_PE_OFFSET)? as usize;
        if stub.get(signature..signature + PE_SIGNATURE.len()) != Some(PE_SIGNATURE) {
            return Err(Error::Stub("no PE signature"));
        }
        let coff = signature + PE_SIGNATURE.len();
        let optional = coff + COFF_SIZE;
        if u16_at(stub, optional)? != OPTIONAL_MAGIC_PE32_PLUS {
            return Err(Error::Stub("its optional header is not PE32+"));
        }
        let sections = usize::from(u16_at(stub, coff + COFF_NUMBER_OF_SECTIONS)?);
        let table = optional + usize::from(u16_at(stub, coff + COFF_SIZE_OF_OPTIONAL_HEADER)?);
        let mut end_of_sections = 0;
        let mut first_content = usize::MAX;
        for index in 0..sections {
            let entry = table + index * SECTION_HEADER_SIZE;
            let address = u32_at(stub, entry + SECTION_VIRTUAL_ADDRESS)? as usize;
            let size = u32_at(stub, entry + SECTION_VIRTUAL_SIZE)? as usize;
            end_of_sections = end_of_sections.max(address + size);
            first_content = first_content.min(u32_at(stub, entry + SECTION_RAW_OFFSET)? as usize);
        }
        let alignment = |field| match u32_at(stub, optional + field)? as usize {
            value if value.is_power_of_two() => Ok(value),
            _ => Err(Error::Stub("an alignment is no power of two")),
        };
        let size_of_headers = u32_at(stub, optional + OPTIONAL_SIZE_OF_HEADERS)? as usize;
        Ok(Header {
            coff,
            optional,
            table,
            sections,
            size_of_headers: size_of_headers.min(first_content).min(stub.len()),
            section_alignment: alignment(OPTIONAL_SECTION_ALIGNMENT)?,
            file_alignment: alignment(OPTIONAL_FILE_ALIGNMENT)?,
            end_of_sections,
        })
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|slice| slice.try_into().ok())
        .ok_or(Error::Stub("it ends in the middle of its headers"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Error> {
    Ok(u16::from_le_bytes(bytes_at(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Error> {
    Ok(u32::from_le_bytes(bytes_at(bytes, at)?))
}

/// `at` lies inside the headers that were parsed before.
fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn to_u32(value: usize) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn stub() -> Vec<u8> {
        std::fs::read(crate::host::EFI_STUB).unwrap()
    }

    #[test]
    fn objcopy_gives_back_what_went_in() {
        let linux: Vec<u8> = (0..100_003u32).map(|i| (i % 251) as u8).collect();
        let initrd = vec![0x5a; 4096];
        let sections: [(&str, &[u8]); 3] = [
            (".cmdline", b"console=ttyS0"),
            (".linux", &linux),
            (".initrd", &initrd),
        ];
        let uki = build(&stub(), &sections).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("image.efi");
        std::fs::write(&file, &uki.bytes).unwrap();
        for (name, content) in sections {
            let dump = scratch.path().join("section");
            let argument = format!("{name}={}", dump.display());
            let status = Command::new("objcopy")
                .args(["--dump-section", &argument])
                .arg(&file)
                .arg(scratch.path().join("copy.efi"))
                .status()
                .unwrap();
            assert!(status.success(), "objcopy on {name}");
            assert_eq!(std::fs::read(dump).unwrap(), content, "{name}");
        }
    }

    #[test]
    fn goblin_finds_the_stub_and_the_sections_apart_from_each_other() {
        let uki = build(
            &stub(),
            &[(".linux", &[1; 5000]), (".initrd", &[2; 70_000])],
        )
        .unwrap();
        let pe = goblin::pe::PE::parse(&uki.bytes).unwrap();
        let mut end = 0;
        for section in &pe.sections {
            assert!(
                section.virtual_address >= end,
                "{section:?} overlaps the one before"
            );
            end = section.virtual_address + section.virtual_size;
            assert!(section.pointer_to_raw_data as usize <= uki.bytes.len());
        }
        let optional = pe.header.optional_header.unwrap();
        assert!(u64::from(optional.windows_fields.size_of_image) >= u64::from(end));
        for section in &uki.sections {
            assert_eq!(section.offset % SECTION_ALIGNMENT, 0, "{section:?}");
            let found = find(&uki.bytes[..4096], uki.bytes.len(), &section.name).unwrap();
            assert_eq!(found.as_ref(), Some(section));
        }
        assert_eq!(find(&uki.bytes, uki.bytes.len(), ".none").unwrap(), None);
    }

    #[test]
    fn a_stub_without_room_is_refused() {
        let sections: Vec<(&str, &[u8])> = vec![(".more", b"x"); 60];
        assert!(matches!(
            build(&stub(), &sections),
            Err(Error::HeaderFull(_))
        ));
    }

    #[test]
    fn no_truncated_stub_panics() {
        let stub = stub();
        for end in 0..2048 {
            let _ = build(&stub[..end], &[(".linux", b"x")]);
            let _ = find(&stub[..end], end, ".sbat");
        }
    }
}
