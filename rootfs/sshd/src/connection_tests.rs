//! A client that is logged in, and does what none should.

use std::net::TcpListener;

use super::*;
use crate::authorized_keys::Options;
use crate::requests::MOST_CHANNELS;

/// A connection that nothing encrypts, and the client's end of it.
pub(crate) fn talking(options: Options) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (here, _) = listener.accept().unwrap();
    let folder = tempfile();
    let host_key = HostKey::load_or_make(&folder.join("key")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let connection = Connection {
        ends: Ends::of(&here).unwrap(),
        transport: Transport::new(here).unwrap(),
        keys: KeyExchange::done(),
        host_key,
        login: Login {
            options,
            by: String::new(),
        },
        channels: BTreeMap::new(),
        next_channel: 0,
        dialler: Dialler::new().unwrap(),
        listening: Vec::new(),
        endings: Vec::new(),
        keep_alive: KEEP_ALIVE,
        heard: Instant::now(),
        unanswered: 0,
    };
    (connection, there)
}

fn tempfile() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("kedge-connection-{}-{number}", std::process::id());
    std::env::temp_dir().join(name)
}

/// A message.
pub(crate) fn message(kind: u8, build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = vec![kind];
    build(&mut payload);
    payload
}

/// CHANNEL_OPEN of a session.
pub(crate) fn open(max_packet: u32) -> Vec<u8> {
    message(message::CHANNEL_OPEN, |out| {
        out.put_string(b"session");
        out.put_u32(5);
        out.put_u32(WINDOW);
        out.put_u32(max_packet);
    })
}

#[test]
fn channels_have_a_limit_and_numbers_of_their_own() {
    let (mut connection, _there) = talking(Options::default());
    for _ in 0..2 * MOST_CHANNELS {
        connection.handle(&open(1024)).unwrap();
    }
    assert_eq!(connection.channels.len(), MOST_CHANNELS);
    connection.next_channel = 0;
    let close = message(message::CHANNEL_CLOSE, |out| out.put_u32(7));
    connection.handle(&close).unwrap();
    connection.handle(&open(1024)).unwrap();
    assert_eq!(connection.channels.len(), MOST_CHANNELS);
    assert!(connection.channels.contains_key(&7));
}

#[test]
fn more_than_the_window_is_refused_and_a_window_does_not_overflow() {
    let (mut connection, _there) = talking(Options::default());
    connection.handle(&open(1024)).unwrap();
    let adjust = message(message::CHANNEL_WINDOW_ADJUST, |out| {
        out.put_u32(0);
        out.put_u32(u32::MAX);
    });
    for _ in 0..3 {
        connection.handle(&adjust).unwrap();
    }
    assert_eq!(connection.channels[&0].window, u32::MAX);
    // Nobody takes the data of a channel that is still being dialled: it fills the window.
    connection.channels.get_mut(&0).unwrap().end = End::Dialling;
    let data = message(message::CHANNEL_DATA, |out| {
        out.put_u32(0);
        out.put_string(&[7; MAX_PACKET as usize]);
    });
    for _ in 0..WINDOW / MAX_PACKET {
        connection.handle(&data).unwrap();
    }
    assert!(matches!(connection.handle(&data), Err(Error::Flood)));
}

/// A message of no bytes at most would be taken for the end of what is to be sent.
#[test]
fn a_channel_has_room_for_data_whoever_opens_it() {
    let (mut connection, _there) = talking(Options::default());
    assert!(connection.handle(&open(0)).is_err());
    let end = End::Stream {
        socket: connection.transport.socket().try_clone().unwrap(),
        reads: true,
        writes: true,
    };
    let channel = Channel::new(0, 0, 0, false, end);
    connection.channels.insert(3, channel);
    let confirm = |max_packet| {
        message(message::CHANNEL_OPEN_CONFIRMATION, |out| {
            out.put_u32(3);
            out.put_u32(9);
            out.put_u32(WINDOW);
            out.put_u32(max_packet);
        })
    };
    assert!(connection.handle(&confirm(0)).is_err());
    assert!(!connection.channels[&3].open);
    connection.handle(&confirm(1)).unwrap();
    assert!(connection.channels[&3].open);
    // Once.
    assert!(connection.handle(&confirm(1)).is_err());
}

#[test]
fn a_program_is_given_no_variable_that_changes_what_it_is() {
    let (mut connection, _there) = talking(Options::default());
    connection.handle(&open(1024)).unwrap();
    let before = variables(&connection);
    let set = |name: &[u8], value: &[u8]| {
        message(message::CHANNEL_REQUEST, |out| {
            out.put_u32(0);
            out.put_string(b"env");
            out.put_byte(0);
            out.put_string(name);
            out.put_string(value);
        })
    };
    for name in [
        "PATH",
        "HOME",
        "LD_PRELOAD",
        "LD_x",
        "ENV",
        "IFS",
        "SSH_CLIENT",
        "",
        "a=b",
        "a b",
        "a\n",
    ] {
        connection.handle(&set(name.as_bytes(), b"x")).unwrap();
        assert_eq!(variables(&connection), before, "{name}");
    }
    connection.handle(&set(b"LANG", b"a\0b")).unwrap();
    connection.handle(&set(b"LANG", &[b'x'; 5000])).unwrap();
    assert_eq!(variables(&connection), before);
    for _ in 0..1000 {
        connection.handle(&set(b"LANG", b"C")).unwrap();
    }
    assert!((before + 1..=64).contains(&variables(&connection)));
}

fn variables(connection: &Connection) -> usize {
    match &connection.channels[&0].end {
        End::Session { environment, .. } => environment.len(),
        _ => 0,
    }
}
