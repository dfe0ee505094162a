//! A client that does what OpenSSH's never would, against the server up to the login.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::authorized_keys;
use crate::base64;
use crate::connection::{Ends, log_in};
use crate::password::Store;
use crate::protocol::agreement;
use crate::protocol::authentication::Policy;

const CLIENT_VERSION: &[u8] = b"SSH-2.0-test";

struct Client {
    transport: Transport,
    method: (&'static str, Method),
    cipher: (&'static str, Cipher),
    server_version: Vec<u8>,
    /// The first exchange's hash.
    session_id: Option<[u8; 32]>,
    server: JoinHandle<Result<(), Error>>,
    folder: PathBuf,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn user_key() -> (Ed25519KeyPair, Vec<u8>) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let mut blob = Vec::new();
    blob.put_string(b"ssh-ed25519");
    blob.put_string(key.public_key().as_ref());
    (key, blob)
}

/// A client that has exchanged keys, with `extra` sent before it did.
fn connect(name: &str, extra: Option<u8>) -> Result<Client, Error> {
    connect_by(name, extra, METHODS[1], CIPHERS[0])
}

fn connect_by(
    name: &str,
    extra: Option<u8>,
    method: (&'static str, Method),
    cipher: (&'static str, Cipher),
) -> Result<Client, Error> {
    let folder = std::env::temp_dir().join(format!("kedge-login-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let host_key = HostKey::load_or_make(&folder.join("host_key")).unwrap();
    let keys = folder.join("keys");
    authorized_keys::add(&keys, &[base64::encode(&user_key().1)]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    let ends = Ends::of(&theirs).unwrap();
    let policy = Policy {
        authorized_keys: keys,
        password: Store::new(&folder),
        address: ends.client.ip(),
    };
    let server = std::thread::spawn(move || {
        log_in(theirs, host_key, &policy, ends, None)?.run();
        Ok(())
    });
    let mut client = Client {
        transport: Transport::new(socket).unwrap(),
        method,
        cipher,
        server_version: Vec::new(),
        session_id: None,
        server,
        folder,
    };
    client.exchange_versions()?;
    client.exchange_keys(extra)?;
    Ok(client)
}

impl Client {
    fn next(&mut self) -> Result<Vec<u8>, Error> {
        next(&mut self.transport, soon())
    }

    fn send(&mut self, payload: &[u8]) {
        self.transport.send(|out| out.extend_from_slice(payload));
        let _ = self.transport.drain(soon());
    }

    fn exchange_versions(&mut self) -> Result<(), Error> {
        self.transport.raw(CLIENT_VERSION);
        self.transport.raw(b"\r\n");
        self.server_version = loop {
            if let Some(line) = self.transport.line(255)? {
                break line;
            }
            self.transport.exchange(soon())?;
        };
        Ok(())
    }

    fn exchange_keys(&mut self, extra: Option<u8>) -> Result<(), Error> {
        let mut ours = vec![message::KEXINIT];
        ours.extend_from_slice(&[0; 16]);
        let methods = format!("{},{STRICT_CLIENT}", self.method.0);
        let cipher = self.cipher.0;
        for list in [
            methods.as_str(),
            host_key::ALGORITHM,
            cipher,
            cipher,
            "",
            "",
            "none",
            "none",
            "",
            "",
        ] {
            ours.put_string(list.as_bytes());
        }
        ours.put_byte(0);
        ours.put_u32(0);
        self.send(&ours);
        let theirs = self.next()?;
        if let Some(kind) = extra {
            self.send(&[kind, 0, 0, 0, 0]);
        }
        let half = agreement::tests::Client::new(self.method.1);
        let share = half.share.clone();
        let mut init = vec![message::KEX_ECDH_INIT];
        init.put_string(&share);
        self.send(&init);
        let reply = self.next()?;
        let mut reader = Reader::new(&reply);
        if reader.byte()? != message::KEX_ECDH_REPLY {
            return Err(Error::OutOfPlace(reply[0]));
        }
        let (public, their_share) = (reader.string()?, reader.string()?);
        let signature = reader.string()?;
        let secret = half.secret(self.method.1, their_share);
        let mut text = Vec::new();
        for part in [
            CLIENT_VERSION,
            &self.server_version[..],
            &ours,
            &theirs,
            public,
            &share,
            their_share,
        ] {
            text.put_string(part);
        }
        text.extend_from_slice(&secret);
        let mut hash = Context::new(&SHA256);
        hash.update(&text);
        let hash = digest(hash);
        assert!(public_key::verify(public, "ssh-ed25519", &hash, signature));
        let id = *self.session_id.get_or_insert(hash);
        self.send(&[message::NEWKEYS]);
        assert_eq!(self.next()?, [message::NEWKEYS]);
        let cipher = self.cipher.1;
        let key = |letter, count| derive(&secret, &hash, letter, &id, count);
        let length = cipher.key_length();
        let sealing = cipher.sealing(&key(b'C', length), &key(b'A', 12));
        self.transport.seal_with(sealing.unwrap(), true);
        let opening = cipher.opening(&key(b'D', length), &key(b'B', 12));
        self.transport.open_with(opening.unwrap(), true);
        Ok(())
    }

    /// Whether the key would do for this algorithm.
    fn may_use(&mut self, algorithm: &str) -> u8 {
        let mut request = vec![message::USERAUTH_REQUEST];
        for part in ["root", "ssh-connection", "publickey"] {
            request.put_string(part.as_bytes());
        }
        request.put_byte(0);
        request.put_string(algorithm.as_bytes());
        request.put_string(&user_key().1);
        self.send(&request);
        self.next().unwrap()[0]
    }

    fn ask_for_service(&mut self) {
        let mut ask = vec![message::SERVICE_REQUEST];
        ask.put_string(b"ssh-userauth");
        self.send(&ask);
        assert_eq!(self.next().unwrap()[0], message::SERVICE_ACCEPT);
    }

    /// What is answered to a login whose signature is over `session_id`.
    fn log_in(&mut self, user: &str, service: &str, session_id: &[u8]) -> u8 {
        let (key, blob) = user_key();
        let mut request = vec![message::USERAUTH_REQUEST];
        request.put_string(user.as_bytes());
        request.put_string(service.as_bytes());
        request.put_string(b"publickey");
        request.put_byte(1);
        request.put_string(b"ssh-ed25519");
        request.put_string(&blob);
        let mut text = Vec::new();
        text.put_string(session_id);
        text.extend_from_slice(&request);
        let mut signature = Vec::new();
        signature.put_string(b"ssh-ed25519");
        signature.put_string(key.sign(&text).as_ref());
        request.put_string(&signature);
        self.send(&request);
        self.next().unwrap()[0]
    }
}

#[test]
fn a_login_is_signed_for_this_session_and_for_root() {
    let mut client = connect("signed", None).unwrap();
    client.ask_for_service();
    let id = client.session_id.unwrap();
    let failure = message::USERAUTH_FAILURE;
    assert_eq!(client.log_in("root", "ssh-connection", &[7; 32]), failure);
    assert_eq!(client.log_in("admin", "ssh-connection", &id), failure);
    assert_eq!(client.log_in("root", "another", &id), failure);
    let success = message::USERAUTH_SUCCESS;
    assert_eq!(client.log_in("root", "ssh-connection", &id), success);
}

/// Otherwise a client would make a signature (a touch of a token, a question to a person) in vain.
#[test]
fn a_key_would_do_only_with_a_signature_that_is_checked_here() {
    let mut client = connect("would-do", None).unwrap();
    client.ask_for_service();
    assert_eq!(client.may_use("ssh-ed25519"), message::USERAUTH_PK_OK);
    assert_eq!(client.may_use("ssh-rsa"), message::USERAUTH_FAILURE);
    assert_eq!(client.may_use("rsa-sha2-256"), message::USERAUTH_FAILURE);
    assert_eq!(client.may_use(""), message::USERAUTH_FAILURE);
}

#[test]
fn six_failures_are_enough() {
    let mut client = connect("six", None).unwrap();
    client.ask_for_service();
    for _ in 0..5 {
        let answer = client.log_in("root", "ssh-connection", b"wrong");
        assert_eq!(answer, message::USERAUTH_FAILURE);
    }
    let answer = client.log_in("root", "ssh-connection", b"wrong");
    assert_eq!(answer, message::DISCONNECT);
}

#[test]
fn nothing_is_done_before_the_login() {
    for kind in [
        message::CHANNEL_OPEN,
        message::GLOBAL_REQUEST,
        message::USERAUTH_SUCCESS,
        message::USERAUTH_REQUEST,
        message::KEXINIT,
    ] {
        let mut client = connect(&format!("before-{kind}"), None).unwrap();
        client.send(&[kind, 0, 0, 0, 7, b's', b'e', b's', b's', b'i', b'o', b'n']);
        assert_eq!(client.next().unwrap()[0], message::DISCONNECT, "{kind}");
        let server = std::mem::replace(&mut client.server, std::thread::spawn(|| Ok(())));
        assert!(server.join().unwrap().is_err(), "{kind}");
    }
}

/// What PuTTY sends to keep a connection alive may come at any time after the first exchange
/// (RFC 4253, section 7.1). And what was asked before is answered before.
#[test]
fn keys_are_changed_while_requests_are_under_way() {
    let mut keep = vec![message::GLOBAL_REQUEST];
    keep.put_string(b"keepalive@openssh.com");
    keep.put_byte(1);
    for (cipher, method) in CIPHERS.into_iter().zip(METHODS) {
        let name = format!("again-{}", cipher.0);
        let mut client = connect_by(&name, None, method, cipher).unwrap();
        client.ask_for_service();
        let id = client.session_id.unwrap();
        let answer = client.log_in("root", "ssh-connection", &id);
        assert_eq!(answer, message::USERAUTH_SUCCESS);
        for extra in [None, Some(message::IGNORE), Some(message::DEBUG)] {
            client.send(&keep);
            assert_eq!(client.next().unwrap(), [message::REQUEST_FAILURE]);
            client.exchange_keys(extra).unwrap();
        }
        client.send(&keep);
        assert_eq!(client.next().unwrap(), [message::REQUEST_FAILURE]);
        // But nothing of the session.
        let within = client.exchange_keys(Some(message::GLOBAL_REQUEST));
        assert!(matches!(
            within,
            Err(Error::OutOfPlace(message::DISCONNECT))
        ));
    }
}

/// RFC 4252, section 5.1: a client may have sent more than one request at once.
#[test]
fn another_login_after_the_login_is_ignored() {
    let mut client = connect("twice", None).unwrap();
    client.ask_for_service();
    let id = client.session_id.unwrap();
    let answer = client.log_in("root", "ssh-connection", &id);
    assert_eq!(answer, message::USERAUTH_SUCCESS);
    client.send(&[message::USERAUTH_REQUEST]);
    let mut keep = vec![message::GLOBAL_REQUEST];
    keep.put_string(b"keepalive@openssh.com");
    keep.put_byte(1);
    client.send(&keep);
    assert_eq!(client.next().unwrap(), [message::REQUEST_FAILURE]);
}

/// CVE-2023-48795: what is slipped in before the keys are exchanged shifts the counters.
#[test]
fn nothing_is_slipped_into_the_key_exchange() {
    for kind in [message::IGNORE, message::DEBUG, message::UNIMPLEMENTED] {
        assert!(
            connect(&format!("slipped-{kind}"), Some(kind)).is_err(),
            "{kind}"
        );
    }
}
