use super::*;

/// A header with these entries and values.
fn header(entries: &[[u32; 4]], data: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[0; 4]].concat();
    bytes.extend((entries.len() as u32).to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(entries.iter().flatten().flat_map(|n| n.to_be_bytes()));
    bytes.extend(data);
    bytes
}

#[test]
fn values_by_their_tags() {
    let data = b"a\0bc\0\0\x01\x02\x03\xff";
    let entries = [
        [tag::NAME, STRING, 0, 1],
        [tag::BASENAMES, STRING_ARRAY, 0, 2],
        [tag::FILEMODES, INT16, 5, 2],
        [tag::RSAHEADER, BINARY, 8, 2],
        [tag::NAME, STRING, 2, 1],
    ];
    let read = Header::parse(&read(&mut &header(&entries, data)[..]).unwrap()).unwrap();
    assert_eq!(read.text(tag::NAME).as_deref(), Some("bc"));
    let names: Vec<&[u8]> = read.texts(tag::BASENAMES).collect();
    assert_eq!(names, [&b"a"[..], b"bc"]);
    assert_eq!(read.numbers(tag::FILEMODES).get(0), Some(1));
    assert_eq!(read.numbers(tag::FILEMODES).get(1), Some(0x0203));
    assert_eq!(read.numbers(tag::FILEMODES).get(2), None);
    assert_eq!(read.numbers(tag::ARCH).get(0), None);
    assert_eq!(read.binary(tag::RSAHEADER), Some(&b"\x03\xff"[..]));
    assert_eq!(read.text(tag::FILEMODES), None);
    assert_eq!(read.count(tag::BASENAMES), 2);
}

#[test]
fn as_much_as_is_wanted() {
    let entries = [
        [tag::NAME, STRING, 0, 1],
        [tag::VERSION, STRING, 2, 1],
        [tag::RELEASE, STRING, 4, 1],
    ];
    let bytes: Vec<u8> = entries
        .iter()
        .flatten()
        .flat_map(|n| n.to_be_bytes())
        .collect();
    let index = Index::parse(&bytes, 6).unwrap();
    assert_eq!(index.enough_for(&[tag::NAME, tag::VERSION]), 4);
    assert_eq!(index.enough_for(&[tag::RELEASE]), 6);
    assert_eq!(index.enough_for(&[tag::ARCH]), 0);
}

#[test]
fn what_is_cut_or_lies_is_refused() {
    let whole = header(&[[tag::NAME, STRING, 0, 1]], b"a\0");
    for cut in 0..whole.len() {
        assert!(read(&mut &whole[..cut]).is_err(), "{cut}");
        assert!(Header::parse(&whole[..cut]).is_err(), "{cut}");
    }
    for (at, value, why) in [
        (0, 0, Error::Magic),
        (
            9,
            1,
            Error::Long {
                tags: 0x1_0001,
                data: 2,
            },
        ),
        (
            12,
            4,
            Error::Long {
                tags: 1,
                data: 0x0400_0002,
            },
        ),
        (31, 3, Error::Values),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        assert_eq!(Header::parse(&bytes).unwrap_err(), why);
    }
    // Values that are not there.
    let far = Header::parse(&header(&[[tag::NAME, STRING, u32::MAX, 1]], b"a\0")).unwrap();
    assert_eq!(far.text(tag::NAME), None);
}

#[test]
fn the_padding_is_read_over() {
    let mut bytes = header(&[[tag::NAME, STRING, 0, 1]], b"a\0");
    let length = bytes.len();
    bytes.resize(length.next_multiple_of(8), 0);
    bytes.push(7);
    let mut rest = &bytes[..];
    assert_eq!(read_padded(&mut rest).unwrap(), bytes[..length]);
    assert_eq!(rest, [7]);
}
