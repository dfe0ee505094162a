//! Packets that nobody would send who follows RFC 4253, section 6.

use std::net::TcpListener;

use super::*;

/// A transport to which `bytes` have come.
fn with(bytes: &[u8]) -> Transport {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut transport = Transport::new(socket).unwrap();
    put_in(&mut transport, bytes);
    transport
}

/// As if `bytes` had come, and nothing else.
pub(crate) fn put_in(transport: &mut Transport, bytes: &[u8]) {
    transport.incoming = bytes.to_vec();
    transport.unread = 0..bytes.len();
    transport.length = None;
    transport.in_packets = 0;
}

/// A packet in the clear.
fn packet(length: u32, padding: u8, rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(length);
    bytes.put_byte(padding);
    bytes.resize(5 + rest, 2);
    bytes
}

#[test]
fn padding_is_four_bytes_at_least_and_leaves_a_message() {
    assert_eq!(with(&packet(12, 4, 11)).next().unwrap(), Some(5..12));
    assert_eq!(with(&packet(12, 10, 11)).next().unwrap(), Some(5..6));
    for (length, padding) in [(12, 0), (12, 3), (12, 11), (12, 12), (12, 255), (6, 1)] {
        let error = with(&packet(length, padding, length as usize - 1)).next();
        assert!(
            matches!(error, Err(Error::PacketLength)),
            "{length} {padding}"
        );
    }
}

#[test]
fn an_impossible_length_is_refused_before_anything_is_kept_for_it() {
    for length in [0, 1, 5, LARGEST_BEFORE_LOGIN as u32 + 1, 1 << 31, u32::MAX] {
        let error = with(&packet(length, 4, 3)).next();
        assert!(matches!(error, Err(Error::PacketLength)), "{length}");
    }
}

#[test]
fn a_packet_that_is_not_all_there_is_waited_for() {
    let whole = packet(12, 4, 11);
    for length in 0..whole.len() {
        assert_eq!(with(&whole[..length]).next().unwrap(), None);
    }
}

#[test]
fn keys_that_are_used_up_open_nothing_more() {
    let mut transport = with(&packet(12, 4, 11));
    transport.in_packets = MOST_PACKETS_PER_KEY;
    assert!(matches!(transport.next(), Err(Error::KeyUsedUp)));
    transport.out_packets = MOST_PACKETS_PER_KEY + 1;
    assert!(matches!(transport.flush(), Err(Error::KeyUsedUp)));
}

/// The counter is the nonce: it goes round, and new keys begin it anew only where both agree.
#[test]
fn the_sequence_number_goes_round() {
    let mut transport = with(&packet(12, 4, 11));
    transport.in_sequence = u32::MAX;
    transport.next().unwrap();
    assert_eq!(
        (transport.in_sequence, transport.last_sequence()),
        (0, u32::MAX)
    );
    transport.in_sequence = 9;
    transport.open_with(Opening::Clear, false);
    assert_eq!(transport.in_sequence, 9);
    transport.open_with(Opening::Clear, true);
    assert_eq!(transport.in_sequence, 0);
}
