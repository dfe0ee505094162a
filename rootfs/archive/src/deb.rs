//! `.deb` (deb(5)): an ar archive of `debian-binary`, `control.tar.*`, `data.tar.*`, in this order, and perhaps members
//! behind them that nobody here knows.

use std::io::{self, BufRead, Read};

use kedge_packages::{Family, Package};

use crate::tar::Tar;
use crate::unpack::{buffered, unpack};
use crate::{Each, Error, Packed, damaged};

/// How an ar archive begins.
pub(crate) const MAGIC: &[u8] = b"!<arch>\n";
/// Of one member's header.
const HEADER: usize = 60;
/// More than any control file is, and more than it unpacks to with all that stands beside it: checksums, scripts.
const MOST_CONTROL: u64 = 4 << 20;
const MOST_UNPACKED: u64 = 64 << 20;

/// As [`crate::read`]. Without `each`, only as far as to know which package it is.
pub(crate) fn read(from: &mut Packed, mut each: Option<Each>) -> Result<Package, Error> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    let mut package = None;
    // Whether the content was handed over: what stands behind it is ignored, as long as it is a member.
    let mut done = false;
    loop {
        if done && from.fill_buf()?.is_empty() {
            return package.ok_or_else(|| damaged("it has no control part"));
        }
        let (name, size) = header(from)?;
        let mut member = (&mut *from).take(size);
        match (name.as_str(), &package) {
            _ if done => {}
            ("debian-binary", None) => {
                let mut version = String::new();
                (&mut member).take(16).read_to_string(&mut version)?;
                if !version.starts_with("2.") {
                    let version = version.escape_debug().to_string();
                    return Err(Error::Unsupported(format!(
                        "version {version} of the .deb format"
                    )));
                }
            }
            (name, None) if name.starts_with("control.tar") => {
                let known = control(&mut member)?;
                if each.is_none() {
                    return Ok(known);
                }
                package = Some(known);
            }
            (name, Some(known)) if name.starts_with("data.tar") => {
                let Some(each) = &mut each else {
                    return Ok(known.clone());
                };
                let unpacked = unpack(buffered(&mut member))?;
                if crate::each_member(&mut Tar::new(unpacked), each)?.is_break() {
                    return Ok(known.clone());
                }
                done = true;
            }
            // deb(5): names that begin so may be there and are ignored.
            (name, _) if name.starts_with('_') => {}
            (name, _) => {
                let name = name.escape_debug();
                return Err(damaged(&format!("'{name}' stands where no .deb has it")));
            }
        }
        // Members begin at even offsets; behind the last, nobody misses the byte.
        let rest = member.limit();
        if io::copy(&mut member, &mut io::sink())? < rest {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        io::copy(&mut (&mut *from).take(size % 2), &mut io::sink())?;
    }
}

/// Name and size (ar(5)).
fn header(from: &mut Packed) -> Result<(String, u64), Error> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let text = |range: std::ops::Range<usize>| {
        std::str::from_utf8(&header[range])
            .map(|text| text.trim_end_matches(' '))
            .map_err(|_| damaged("an ar header makes no sense"))
    };
    if &header[58..] != b"`\n" {
        return Err(damaged("an ar header does not end as it should"));
    }
    let size = text(48..58)?
        .parse()
        .map_err(|_| damaged("a size in an ar header is no number"))?;
    // GNU ar ends names with a slash.
    Ok((text(0..16)?.trim_end_matches('/').to_string(), size))
}

fn control(packed: &mut dyn Read) -> Result<Package, Error> {
    let mut tar = Tar::new(unpack(buffered(packed))?);
    tar.inner().at_most(MOST_UNPACKED);
    while let Some(member) = tar.next()? {
        if member.path.as_os_str() == "control" {
            let mut text = Vec::new();
            (&mut tar).take(MOST_CONTROL).read_to_end(&mut text)?;
            return fields(&String::from_utf8_lossy(&text));
        }
    }
    Err(damaged("it has no control file"))
}

/// deb-control(5).
fn fields(text: &str) -> Result<Package, Error> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_string())
        });
        line.ok_or_else(|| damaged(&format!("its control file has no {name}")))
    };
    Ok(Package {
        family: Family::Dpkg,
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
    })
}
