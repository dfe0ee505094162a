//! Messages that somebody has damaged on purpose: every parser on every beginning of a valid message,
//! and on 100,000 mutations of it. Nothing panics, and what is checked by a signature never passes.
//!
//! The mutations are the same at each run.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use crate::authorized_keys;
use crate::base64;
use crate::connection::tests::{message as build, open, talking};
use crate::connection::{Ends, log_in};
use crate::host_key::HostKey;
use crate::password::Store;
use crate::protocol::agreement;
use crate::protocol::authentication::Policy;
use crate::protocol::key_exchange::{Agreed, offer};
use crate::protocol::message;
use crate::protocol::transport::tests::put_in;
use crate::public_key;
use crate::requests::MOST_CHANNELS;
use crate::sftp;
use crate::terminal;
use crate::wire::{Put, Reader};

const MUTATIONS: usize = 100_000;

/// Marsaglia's xorshift64: quick, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 11) as usize % count
    }
}

/// Damages `bytes` in one to four places, as those do who look for a hole: bits, lengths, cuts.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const LENGTHS: [u32; 10] = [
        0,
        1,
        4,
        255,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff0,
        0xffff_fffe,
        0xffff_ffff,
        65_536,
    ];
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            bytes.push(dice.next() as u8);
        }
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.next() as u8,
            2 => {
                let length = LENGTHS[dice.below(LENGTHS.len())].to_be_bytes();
                for (byte, new) in bytes[at..].iter_mut().zip(length) {
                    *byte = new;
                }
            }
            3 => bytes.truncate(at),
            4 => {
                let end = (at + 1 + dice.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let byte = dice.next() as u8;
                for _ in 0..=dice.below(8) {
                    bytes.insert(at, byte);
                }
            }
        }
    }
}

/// Gives `take` every beginning of `valid`, and `count` mutations of it.
fn some(count: usize, valid: &[u8], mut take: impl FnMut(&[u8])) {
    for length in 0..valid.len() {
        take(&valid[..length]);
    }
    let mut dice = Dice(0x6b65_6467_6500_0001);
    for _ in 0..count {
        let mut bytes = valid.to_vec();
        damage(&mut bytes, &mut dice);
        take(&bytes);
    }
}

fn each(valid: &[u8], take: impl FnMut(&[u8])) {
    some(MUTATIONS, valid, take);
}

fn ed25519() -> (Ed25519KeyPair, Vec<u8>) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
    let mut blob = Vec::new();
    blob.put_string(b"ssh-ed25519");
    blob.put_string(key.public_key().as_ref());
    (key, blob)
}

fn rsa() -> Vec<u8> {
    let mut blob = Vec::new();
    blob.put_string(b"ssh-rsa");
    blob.put_mpint(&[1, 0, 1]);
    blob.put_mpint(&[0xc3; 256]);
    blob
}

#[test]
fn offers_of_algorithms() {
    let valid = offer().unwrap();
    let mut understood = 0;
    each(&valid, |bytes| {
        understood += usize::from(Agreed::with(bytes).is_ok())
    });
    // The cookie and the names of MACs may be anything: the mutations are not all nonsense.
    assert!(understood > MUTATIONS / 100);
}

#[test]
fn packets() {
    let (mut connection, _there) = talking(authorized_keys::Options::default());
    let mut valid = Vec::new();
    for payload in [&[message::IGNORE, 0, 0, 0, 0][..], &open(1024)] {
        let padding = 8 - (5 + payload.len()) % 8 + 8;
        valid.put_u32((1 + payload.len() + padding) as u32);
        valid.put_byte(padding as u8);
        valid.extend_from_slice(payload);
        valid.resize(valid.len() + padding, 0);
    }
    let transport = &mut connection.transport;
    each(&valid, |bytes| {
        put_in(transport, bytes);
        while let Ok(Some(place)) = transport.next() {
            assert!(!place.is_empty() && place.end <= bytes.len());
        }
    });
    each(
        &[b"SSH-2.0-".as_slice(), &[b'x'; 240], b"\r\n"].concat(),
        |bytes| {
            put_in(transport, bytes);
            if let Ok(Some(line)) = transport.line(255) {
                assert!(line.len() <= 255);
            }
        },
    );
}

#[test]
fn keys_of_users() {
    let (_, ed25519) = ed25519();
    let mut ecdsa = Vec::new();
    ecdsa.put_string(b"ecdsa-sha2-nistp256");
    ecdsa.put_string(b"nistp256");
    ecdsa.put_string(&[4; 65]);
    let mut token = Vec::new();
    token.put_string(b"sk-ssh-ed25519@openssh.com");
    token.put_string(&[9; 32]);
    token.put_string(b"ssh:");
    for valid in [ed25519, rsa(), ecdsa, token] {
        assert_eq!(public_key::check(&valid), Ok(()));
        each(&valid, |bytes| {
            let _ = public_key::check(bytes);
        });
    }
}

/// No damaged signature, and no damaged text or key, is taken for the owner's.
#[test]
fn signatures() {
    let text = b"session and request";
    let wire = |algorithm: &str, bytes: &[u8], more: &[u8]| {
        let mut out = Vec::new();
        out.put_string(algorithm.as_bytes());
        out.put_string(bytes);
        out.extend_from_slice(more);
        out
    };
    let (key, blob) = ed25519();
    let name = "ssh-ed25519";
    let valid = wire(name, key.sign(text).as_ref(), b"");
    assert!(public_key::verify(&blob, name, text, &valid));
    // Each check that comes as far as the curve takes a while.
    some(20_000, &valid, |bytes| {
        assert!(bytes == valid || !public_key::verify(&blob, name, text, bytes));
    });
    some(20_000, &blob, |bytes| {
        assert!(bytes == blob || !public_key::verify(bytes, name, text, &valid));
    });

    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let name = "ecdsa-sha2-nistp256";
    let mut blob = Vec::new();
    blob.put_string(name.as_bytes());
    blob.put_string(b"nistp256");
    blob.put_string(key.public_key().as_ref());
    let signature = key.sign(&random, text).unwrap();
    let (r, s) = signature.as_ref().split_at(32);
    let mut numbers = Vec::new();
    numbers.put_mpint(r);
    numbers.put_mpint(s);
    assert!(public_key::verify(
        &blob,
        name,
        text,
        &wire(name, &numbers, b"")
    ));
    // Leading zeros, which change nothing, are taken.
    let value = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        let pair = (
            reader.positive().ok()?.to_vec(),
            reader.positive().ok()?.to_vec(),
        );
        Some(pair)
    };
    some(20_000, &numbers, |bytes| {
        let same = value(bytes) == value(&numbers);
        assert!(same || !public_key::verify(&blob, name, text, &wire(name, bytes, b"")));
    });

    // A token, whose signature has something behind it.
    let (key, plain) = ed25519();
    let name = "sk-ssh-ed25519@openssh.com";
    let mut blob = Vec::new();
    blob.put_string(name.as_bytes());
    blob.put_string(&plain[plain.len() - 32..]);
    blob.put_string(b"ssh:");
    let mut signed = digest(&SHA256, b"ssh:").as_ref().to_vec();
    signed.extend_from_slice(&[1, 0, 0, 0, 9]);
    signed.extend_from_slice(digest(&SHA256, text).as_ref());
    let valid = wire(name, key.sign(&signed).as_ref(), &[1, 0, 0, 0, 9]);
    assert!(public_key::verify(&blob, name, text, &valid));
    some(20_000, &valid, |bytes| {
        assert!(bytes == valid || !public_key::verify(&blob, name, text, bytes));
    });

    let valid = wire("rsa-sha2-512", &[0x55; 256], b"");
    some(20_000, &valid, |bytes| {
        assert!(!public_key::verify(&rsa(), "rsa-sha2-512", text, bytes));
    });
    some(20_000, &rsa(), |bytes| {
        assert!(!public_key::verify(bytes, "rsa-sha2-512", text, &valid));
    });
}

#[test]
fn lines_of_authorized_keys() {
    let line = format!(
        "command=\"echo \\\"hi\\\"\",from=\"192.0.2.0/24,!192.0.2.9,2001:db8::/32\",restrict,pty \
         ssh-ed25519 {} somebody",
        base64::encode(&ed25519().1)
    );
    assert!(authorized_keys::parse(&line).unwrap().is_some());
    let address = "198.51.100.7".parse().unwrap();
    each(line.as_bytes(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(Some(entry)) = authorized_keys::parse(&text) {
            let _ = entry.options.allows(address);
        }
        let _ = base64::decode(bytes);
    });
}

#[test]
fn files_of_host_keys() {
    let seed = [8; 32];
    let key = HostKey(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap());
    let text = key.text(&seed).unwrap();
    assert!(HostKey::parse(&text).is_some());
    // What is inside, too: damage to the base64 seldom gets that far.
    let lines: Vec<&str> = text.lines().collect();
    let digits = lines[1..lines.len() - 1].concat();
    let inside = base64::decode(digits.as_bytes()).unwrap();
    some(30_000, text.as_bytes(), |bytes| {
        let _ = HostKey::parse(&String::from_utf8_lossy(bytes));
    });
    some(30_000, &inside, |bytes| {
        let text = format!(
            "{}\n{}\n{}\n",
            lines[0],
            base64::encode(bytes),
            lines[lines.len() - 1]
        );
        if let Some(other) = HostKey::parse(&text) {
            assert_eq!(other.public(), key.public());
        }
    });
}

#[test]
fn terminals() {
    let mut valid = Vec::new();
    valid.put_string(b"xterm-256color");
    for number in [80, 24, 640, 480] {
        valid.put_u32(number);
    }
    let mut modes = Vec::new();
    for opcode in [1, 3, 42, 53, 91, 128, 129] {
        modes.put_byte(opcode);
        modes.put_u32(1);
    }
    modes.put_byte(0);
    valid.put_string(&modes);
    each(&valid, |bytes| {
        let _ = terminal::Request::read(&mut Reader::new(bytes));
    });
}

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
