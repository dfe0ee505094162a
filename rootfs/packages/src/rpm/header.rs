//! A package's header out of the database, where it has no magic number.

use kedge_rpm_header::{Header, Index, Lengths};

use super::chain::Reader;
use crate::Error;

/// All of it.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Header, Error> {
    let (index, length) = index(reader)?;
    let data = reader.read(length.into())?;
    Ok(Header::new(index, data))
}

/// As much as the values of `wanted` take.
pub(super) fn read_only(reader: &mut Reader<'_>, wanted: &[u32]) -> Result<Header, Error> {
    let (index, _) = index(reader)?;
    let data = reader.read(index.enough_for(wanted).into())?;
    Ok(Header::new(index, data))
}

/// The index, and how many bytes of values follow.
fn index(reader: &mut Reader<'_>) -> Result<(Index, u32), Error> {
    let mut intro = [0; 8];
    intro.copy_from_slice(&reader.read(8)?);
    let lengths =
        Lengths::parse(intro).map_err(|error| reader.damaged(format!("a header: {error}")))?;
    if u64::from(lengths.index) + u64::from(lengths.data) > reader.left() {
        return Err(reader.damaged("a header is longer than its record"));
    }
    let bytes = reader.read(lengths.index.into())?;
    let index = Index::parse(&bytes, lengths.data);
    let index = index.map_err(|error| reader.damaged(format!("a header: {error}")))?;
    Ok((index, lengths.data))
}
