//! Whole connections: what can be said before anything is encrypted, by a client that is logged in, and
//! by one of SFTP.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;

use ring::signature::Ed25519KeyPair;

use super::{MUTATIONS, ed25519, some};
use crate::connection::tests::{message as build, open, talking};
use crate::connection::{Ends, log_in};
use crate::host_key::HostKey;
use crate::password::Store;
use crate::protocol::authentication::Policy;
use crate::protocol::key_exchange::offer;
use crate::protocol::{agreement, message};
use crate::requests::MOST_CHANNELS;
use crate::{authorized_keys, base64, sftp};
use kedge_ssh_wire::Put;

#[test]
fn messages_of_clients_that_are_logged_in() {
    // Nothing leaves this machine, and nothing runs: damage makes no `exec` of what is here.
    let line = format!("no-port-forwarding {}", base64::encode(&ed25519().1));
    let options = authorized_keys::parse(&line).unwrap().unwrap().options;
    let request = |name: &str, more: &[u8]| {
        build(message::CHANNEL_REQUEST, |out| {
            out.put_u32(1);
            out.put_string(name.as_bytes());
            out.put_byte(1);
            out.extend_from_slice(more);
        })
    };
    let strings = |all: &[&str]| {
        let mut out = Vec::new();
        for one in all {
            out.put_string(one.as_bytes());
        }
        out
    };
    let with_address = |mut head: Vec<u8>| {
        head.put_string(b"localhost");
        head.put_u32(1);
        head.put_string(b"192.0.2.1");
        head.put_u32(2);
        head
    };
    let messages = [
        open(32768),
        with_address(build(message::CHANNEL_OPEN, |out| {
            out.put_string(b"direct-tcpip");
            out.put_u32(5);
            out.put_u32(1 << 20);
            out.put_u32(32768);
        })),
        build(message::CHANNEL_OPEN_CONFIRMATION, |out| {
            for number in [0, 7, 1 << 20, 32768] {
                out.put_u32(number);
            }
        }),
        build(message::CHANNEL_WINDOW_ADJUST, |out| {
            out.put_u32(1);
            out.put_u32(1 << 31);
        }),
        build(message::CHANNEL_DATA, |out| {
            out.put_u32(1);
            out.put_string(b"some data");
        }),
        build(message::CHANNEL_EXTENDED_DATA, |out| {
            out.put_u32(1);
            out.put_u32(1);
            out.put_string(b"some data");
        }),
        build(message::CHANNEL_EOF, |out| out.put_u32(1)),
        build(message::CHANNEL_CLOSE, |out| out.put_u32(1)),
        request("env", &strings(&["LANG", "C.UTF-8"])),
        request("signal", &strings(&["TERM"])),
        request("window-change", &[0; 16]),
        request(
            "pty-req",
            &[&strings(&["vt100"])[..], &[0; 16], &strings(&["\0"])].concat(),
        ),
        build(message::GLOBAL_REQUEST, |out| {
            out.put_string(b"tcpip-forward");
            out.put_byte(1);
            out.put_string(b"localhost");
            out.put_u32(0);
        }),
        build(message::DISCONNECT, |out| {
            out.put_u32(2);
            out.put_string(b"bye");
            out.put_string(b"");
        }),
    ];
    let mut right = 0;
    for valid in &messages {
        let mut count = 0;
        let mut connection = None;
        some(MUTATIONS / messages.len(), valid, |bytes| {
            // Its answers go nowhere, and what damaged opens leave fills the channels: now and then
            // another.
            count += 1;
            if count % 4000 == 1 {
                connection = None;
            }
            let (connection, _there) = connection.get_or_insert_with(|| {
                let (mut connection, there) = talking(options.clone());
                connection.handle(&open(1024)).unwrap();
                connection.handle(&open(1024)).unwrap();
                (connection, there)
            });
            right += usize::from(connection.handle(bytes).is_ok());
            assert!(connection.channels.len() <= MOST_CHANNELS);
            assert!(connection.listening.is_empty());
        });
    }
    assert!(right > MUTATIONS / 20);
}

/// All that can be said before anything is encrypted, damaged: it ends, and not with a login.
#[test]
fn the_beginning_of_a_connection() {
    let folder = std::env::temp_dir().join(format!("kedge-hostile-login-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut valid = b"SSH-2.0-OpenSSH_9.2\r\n".to_vec();
    let mut share = vec![message::KEX_ECDH_INIT];
    let hybrid = agreement::METHODS[0].1;
    share.put_string(&agreement::tests::Client::new(hybrid).share);
    for payload in [&offer().unwrap()[..], &share, &[message::NEWKEYS]] {
        let padding = 8 - (5 + payload.len()) % 8 + 8;
        valid.put_u32((1 + payload.len() + padding) as u32);
        valid.put_byte(padding as u8);
        valid.extend_from_slice(payload);
        valid.resize(valid.len() + padding, 0);
    }
    let seed = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let text = HostKey(seed).text(&[8; 32]).unwrap();
    let policy = Policy {
        authorized_keys: folder.join("keys"),
        password: Store::new(&folder),
        address: "127.0.0.1".parse().unwrap(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    some(2000, &valid, |bytes| {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, _) = listener.accept().unwrap();
        let ends = Ends::of(&here).unwrap();
        // It fits the socket's buffer, so nobody has to read meanwhile.
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let key = HostKey::parse(&text).unwrap();
        assert!(log_in(here, key, &policy, ends, None).is_err());
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Those that change nothing on the disk.
#[test]
fn requests_of_sftp() {
    let folder: PathBuf =
        std::env::temp_dir().join(format!("kedge-hostile-sftp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("file");
    std::fs::write(&file, [7; 1000]).unwrap();
    let name = std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str());
    let mut files = sftp::files::Files::default();
    let mut answer = Vec::new();
    let head = |kind: u8| {
        build(kind, |out| {
            out.put_u32(1);
        })
    };
    let mut open = head(sftp::kind::OPEN);
    open.put_string(name);
    open.put_u32(1);
    open.put_u32(0);
    sftp::respond(&open, &mut files, &mut answer);
    assert_eq!(answer[0], sftp::kind::HANDLE);
    let mut read = head(sftp::kind::READ);
    read.put_string(&[0; 4]);
    read.put_u64(10);
    read.put_u32(100);
    let mut stat = head(sftp::kind::STAT);
    stat.put_string(name);
    let fstat = [&head(sftp::kind::FSTAT)[..], &[0, 0, 0, 4, 0, 0, 0, 0]].concat();
    let readdir = [&head(sftp::kind::READDIR)[..], &[0, 0, 0, 4, 0, 0, 0, 0]].concat();
    let mut limits = head(sftp::kind::EXTENDED);
    limits.put_string(b"limits@openssh.com");
    // Attributes of every sort, for a handle that is never there.
    let mut set = head(sftp::kind::FSETSTAT);
    set.put_string(b"no such handle");
    set.put_u32(0x8000_000f);
    set.put_u64(1);
    for number in [2, 3, 0o644, 5, 6, 1] {
        set.put_u32(number);
    }
    set.put_string(b"name");
    set.put_string(b"value");
    for valid in [read, stat, fstat, readdir, limits, set] {
        some(MUTATIONS / 6, &valid, |bytes| {
            // The kind stays what it is, for the disk's sake; of a handle's attributes, the handle.
            let mut bytes = bytes.to_vec();
            let keep = match valid[0] {
                sftp::kind::FSETSTAT => 5 + 4 + 14,
                sftp::kind::EXTENDED => valid.len(),
                _ => 1,
            };
            let keep = keep.min(bytes.len());
            bytes[..keep].copy_from_slice(&valid[..keep]);
            answer.clear();
            sftp::respond(&bytes, &mut files, &mut answer);
            assert!(answer.is_empty() || answer.len() <= 300 * 1024);
        });
    }
    assert_eq!(std::fs::read(&file).unwrap(), [7; 1000]);
    std::fs::remove_dir_all(&folder).unwrap();
}
