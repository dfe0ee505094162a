//! Servers that do not do as they should.

use std::net::TcpListener;
use std::time::Duration;

use super::*;

/// What comes of a server that says this and then waits for us to go.
fn answer_of(said: Vec<u8>) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&said);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let stream = TcpStream::connect(address).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = host_key(stream, &Family::ALL, deadline).unwrap_err();
    server.join().unwrap();
    error
}

/// A packet as [`Link::send`] makes it.
fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.put_u32(payload.len() as u32 + 5);
    packet.push(4);
    packet.extend_from_slice(payload);
    packet.extend_from_slice(&[0; 4]);
    packet
}

fn kexinit(methods: &str, host_keys: &str) -> Vec<u8> {
    let mut payload = vec![KEXINIT];
    payload.extend_from_slice(&[0; 16]);
    for list in [methods, host_keys, "", "", "", "", "", "", "", ""] {
        payload.put_string(list.as_bytes());
    }
    payload.extend_from_slice(&[0; 5]);
    payload
}

fn after_version(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut said = b"welcome\r\nSSH-2.0-x\r\n".to_vec();
    packets.iter().for_each(|p| said.extend(packet(p)));
    said
}

#[test]
fn what_is_not_ssh_is_given_up() {
    for said in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"",
        b"SSH-2.0-never-ends",
    ] {
        assert!(matches!(answer_of(said.to_vec()), Error::Io(_)), "{said:?}");
    }
    for said in [
        b"SSH-1.5-old\r\n".to_vec(),
        b"x".repeat(300),
        b"line\n".repeat(60),
    ] {
        assert!(matches!(answer_of(said), Error::NotSsh));
    }
}

#[test]
fn packets_that_cannot_be_are_refused() {
    for bytes in [
        &[0xff, 0xff, 0xff, 0xff, 4, 20][..],
        &[0, 0, 0, 0, 0],
        &[0, 0, 0, 4, 4, 0, 0, 0],
        &[0, 0, 0, 5, 4, 0, 0, 0, 0, 0],
    ] {
        let said = [b"SSH-2.0-x\r\n", bytes].concat();
        assert!(
            matches!(answer_of(said), Error::Malformed(_)),
            "{bytes:02x?}"
        );
    }
    let ours = kexinit("curve25519-sha256", "ssh-ed25519");
    // Nobody reads the four bytes at its end, which are reserved.
    for end in 1..ours.len() - 4 {
        let error = answer_of(after_version(&[ours[..end].to_vec()]));
        assert!(matches!(error, Error::Malformed(_)), "{end}: {error}");
    }
}

#[test]
fn a_server_without_anything_in_common_is_given_up() {
    for (methods, host_keys) in [
        ("diffie-hellman-group1-sha1", "ssh-ed25519"),
        ("curve25519-sha256", "ssh-dss"),
        ("", ""),
    ] {
        let error = answer_of(after_version(&[kexinit(methods, host_keys)]));
        assert!(matches!(error, Error::NothingInCommon), "{error}");
    }
    let error = answer_of(after_version(&[vec![DISCONNECT, 0, 0, 0, 2]]));
    assert!(matches!(error, Error::OutOfPlace(DISCONNECT)), "{error}");
}

/// An exchange in which the server shows this key, and a signature that it cannot make.
#[test]
fn a_key_that_was_only_copied_is_not_believed() {
    let mut blob = Vec::new();
    blob.put_string(b"ssh-ed25519");
    blob.put_string(&[7; 32]);
    let mut signature = Vec::new();
    signature.put_string(b"ssh-ed25519");
    signature.put_string(&[9; 64]);
    // The base point: a share like any other.
    let mut share = [0; 32];
    share[0] = 9;
    let mut reply = vec![KEX_ECDH_REPLY];
    reply.put_string(&blob);
    reply.put_string(&share);
    reply.put_string(&signature);
    let ours = kexinit("curve25519-sha256", "ssh-ed25519");
    let error = answer_of(after_version(&[ours.clone(), vec![IGNORE], reply.clone()]));
    assert!(matches!(error, Error::WrongSignature), "{error}");
    // Cut anywhere, it is malformed; nothing panics.
    for end in 1..reply.len() {
        let error = answer_of(after_version(&[ours.clone(), reply[..end].to_vec()]));
        assert!(matches!(error, Error::Malformed(_)), "{end}: {error}");
    }
    // A share of zeros gives a secret that everybody knows.
    let mut zeros = vec![KEX_ECDH_REPLY];
    zeros.put_string(&blob);
    zeros.put_string(&[0; 32]);
    zeros.put_string(&signature);
    let error = answer_of(after_version(&[ours, zeros]));
    assert!(matches!(error, Error::KeyExchange), "{error}");
}

/// Damaged on purpose, the same way at each run: nothing panics, and no wrong signature is believed.
#[test]
fn damaged_answers_are_no_answers() {
    let mut blob = Vec::new();
    blob.put_string(b"ssh-rsa");
    blob.put_mpint(&[1, 0, 1]);
    blob.put_mpint(&[0xc3; 256]);
    let mut signature = Vec::new();
    signature.put_string(b"rsa-sha2-512");
    signature.put_string(&[0x55; 256]);
    let offer = kexinit("curve25519-sha256,x", "ssh-ed25519,rsa-sha2-512");
    let mut state = 0x6b65_6467_6500_0002_u64;
    let mut below = |count: usize| {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % count
    };
    let mut understood = 0;
    for round in 0..100_000 {
        let mut damage = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for _ in 0..=below(3) {
                let at = below(bytes.len().max(1));
                match below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, below(256) as u8),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| {
                        *byte = [0, 1, 0x7f, 0x80, 0xff, below(256) as u8][below(6)];
                    }),
                }
            }
            bytes
        };
        let agreed = Agreed::with(&damage(&offer), &Family::ALL);
        understood += usize::from(agreed.is_ok());
        // A check that gets as far as RSA takes a while.
        if round % 10 == 0 {
            let (blob, signature) = (damage(&blob), damage(&signature));
            let verified = verify(&blob, "rsa-sha2-512", b"text", &signature);
            assert_ne!(verified, Ok(true));
        }
    }
    assert!(understood > 1000);
}
