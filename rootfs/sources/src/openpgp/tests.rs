//! Against keys and signatures that the real gpg makes.

#[path = "../../tests/support/gpg.rs"]
mod gpg;

use super::*;
use gpg::Gpg;

fn keys_of(gpg: &Gpg) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add(&gpg.run(&["--export"]), "test.gpg").unwrap();
    keyring
}

fn now() -> u64 {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs() + 2
}

fn check(keyring: &Keyring, signature: &[u8], data: &[u8]) -> Result<Signer, String> {
    let signatures = Detached::all(&dearmored(signature)?)?;
    keyring.verify(&signatures, data, now())
}

/// As [`check`], where a key must be good still.
fn check_now(keyring: &Keyring, signature: &[u8], data: &[u8]) -> Result<Signer, String> {
    let signatures = Detached::all(&dearmored(signature)?)?;
    keyring.verify_lasting(&signatures, data, now())
}

const DATA: &[u8] = b"Package: a\nSHA256: b  \n- c\n";

#[test]
fn keys_of_each_kind_are_believed_and_nothing_else() {
    for algorithm in ["rsa2048", "rsa4096", "ed25519", "nistp256", "nistp384"] {
        let gpg = Gpg::new(algorithm);
        let id = format!("Archive {algorithm} <a@example.org>");
        gpg.run(&["--quick-gen-key", &id, algorithm, "sign", "never"]);
        let keyring = keys_of(&gpg);
        let signature = gpg.detached(DATA, &[]);
        let signer =
            check(&keyring, &signature, DATA).unwrap_or_else(|e| panic!("{algorithm}: {e}"));
        assert_eq!((&*signer.name, &*signer.origin), (&*id, "test.gpg"));
        assert_eq!(signer.fingerprint.len(), 40);

        // Armored, and as a text, whose line ends do not count.
        let armored = gpg.detached(DATA, &["--armor"]);
        check(&keyring, &armored, DATA).unwrap();
        let text = gpg.detached(DATA, &["--textmode"]);
        check(&keyring, &text, DATA).unwrap();

        let other = check(&keyring, &signature, b"Package: a\nSHA256: c\n").unwrap_err();
        assert!(other.contains("does not fit"), "{other}");
        let file = gpg.file("text", DATA);
        let clear = gpg.run(&["-o", "-", "--clearsign", &file]);
        let clear = Cleartext::parse(&clear).unwrap();
        check(&keyring, &clear.signatures, &clear.signed).unwrap();
        assert_eq!(clear.signed, b"Package: a\r\nSHA256: b\r\n- c");
        assert!(check(&keyring, &clear.signatures, &clear.signed[1..]).is_err());

        // Every single flipped bit in the signature's number; some bits before it are only hints.
        for at in signature.len() - 20..signature.len() {
            let mut wrong = signature.clone();
            wrong[at] ^= 1 << (at % 8);
            assert!(check(&keyring, &wrong, DATA).is_err(), "{algorithm} {at}");
        }
    }
}

#[test]
fn a_key_that_is_not_in_the_keyring_is_named() {
    let (gpg, other) = (Gpg::new("a"), Gpg::new("b"));
    for (gpg, id) in [(&gpg, "a@example.org"), (&other, "b@example.org")] {
        gpg.run(&["--quick-gen-key", id, "ed25519", "sign", "never"]);
    }
    let signature = gpg.detached(DATA, &[]);
    let error = check(&keys_of(&other), &signature, DATA).unwrap_err();
    let print = &keys_of(&gpg).certificates()[0].fingerprint();
    assert!(
        error.contains(print) && error.contains("no such key"),
        "{error}"
    );
    // Of several signatures one by a known key is enough.
    let both = [signature, other.detached(DATA, &[])].concat();
    assert_eq!(
        check(&keys_of(&other), &both, DATA).unwrap().name,
        "b@example.org"
    );
}

/// GnuPG believes no such signature either; every key would hash the whole file for it.
#[test]
fn a_signature_that_names_no_key_is_nobodys() {
    let gpg = Gpg::new("unnamed");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "ed25519",
        "sign",
        "never",
    ]);
    let mut signature = gpg.detached(DATA, &[]);
    let print = keys_of(&gpg).certificates()[0]
        .primary
        .fingerprint()
        .to_vec();
    // The subpackets of the fingerprint and of the key ID become private ones.
    for issuer in [&[33, 4][..], &[16]] {
        let key = if issuer[0] == 33 {
            &print[..]
        } else {
            &print[12..]
        };
        let subpacket = [issuer, key].concat();
        // The last: by chance the fingerprint looks like a subpacket of its own end.
        let at = signature
            .windows(subpacket.len())
            .rposition(|bytes| bytes == subpacket);
        signature[at.unwrap()] = 100;
    }
    let error = check(&keys_of(&gpg), &signature, DATA).unwrap_err();
    assert!(error.contains("does not say which key"), "{error}");
}

#[test]
fn weak_hashes_are_refused() {
    let gpg = Gpg::new("weak");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "rsa2048",
        "sign",
        "never",
    ]);
    for (hash, name) in [("SHA1", "SHA-1"), ("SHA224", "SHA-224")] {
        let signature = gpg.detached(DATA, &["--digest-algo", hash]);
        let error = check(&keys_of(&gpg), &signature, DATA).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
    for hash in ["SHA256", "SHA384", "SHA512"] {
        let signature = gpg.detached(DATA, &["--digest-algo", hash]);
        check(&keys_of(&gpg), &signature, DATA).unwrap();
    }
}

#[test]
fn a_short_key_is_refused() {
    let gpg = Gpg::new("short");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "rsa1024",
        "sign",
        "never",
    ]);
    let error = check(&keys_of(&gpg), &gpg.detached(DATA, &[]), DATA).unwrap_err();
    assert!(error.contains("1024"), "{error}");
}

#[test]
fn a_dsa_key_is_said_to_be_one() {
    let gpg = Gpg::new("dsa");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "dsa2048",
        "sign",
        "never",
    ]);
    let error = check(&keys_of(&gpg), &gpg.detached(DATA, &[]), DATA).unwrap_err();
    assert!(error.contains("DSA"), "{error}");
}

#[test]
fn a_key_that_had_expired_is_not_believed_but_what_it_signed_before_is() {
    let gpg = Gpg::new("expired");
    let then = ["--faked-system-time", "20200101T000000"];
    let made = ["--quick-gen-key", "a@example.org", "ed25519", "sign", "2d"];
    gpg.run(&[&then[..], &made].concat());
    let signed = |time| gpg.detached(DATA, &["--faked-system-time", time]);
    // For rpm and pacman, whose packages are kept for years; not for apt, whose indices are renewed.
    let early = signed("20200102T000000");
    check(&keys_of(&gpg), &early, DATA).unwrap();
    let error = check_now(&keys_of(&gpg), &early, DATA).unwrap_err();
    let print = keys_of(&gpg).certificates()[0].fingerprint();
    for what in [
        &*print,
        "in test.gpg, expired on 2020-01-03",
        "clock says 20",
        "--accept-expired",
    ] {
        assert!(error.contains(what), "{what}: {error}");
    }
    // The same key with a longer life signs later; the keyring knows only the short one.
    let short = keys_of(&gpg);
    let longer = ["--quick-set-expire", &print, "20y"];
    gpg.run(&[&["--faked-system-time", "20200102T120000"], &longer[..]].concat());
    let late = signed("20200110T000000");
    let error = check(&short, &late, DATA).unwrap_err();
    assert!(
        error.contains("expired on 2020-01-03, before that"),
        "{error}"
    );
    assert!(check_now(&short, &late, DATA).is_err());
    check(&keys_of(&gpg), &late, DATA).unwrap();
    // A life that was made longer afterwards counts for what was signed before as well.
    check_now(&keys_of(&gpg), &early, DATA).unwrap();
    check_now(&keys_of(&gpg), &late, DATA).unwrap();
}

#[test]
fn a_signature_of_the_future_or_one_that_is_over_is_not_believed() {
    let gpg = Gpg::new("future");
    let then = ["--faked-system-time", "20200101T000000"];
    let made = [
        "--quick-gen-key",
        "a@example.org",
        "ed25519",
        "sign",
        "never",
    ];
    gpg.run(&[&then[..], &made].concat());
    let future = gpg.detached(DATA, &["--faked-system-time", "20901231T000000"]);
    let error = check(&keys_of(&gpg), &future, DATA).unwrap_err();
    assert!(
        error.contains("2090-12-31") && error.contains("clock"),
        "{error}"
    );
    let over = gpg.detached(
        DATA,
        &[
            "--faked-system-time",
            "20200201T000000",
            "--default-sig-expire",
            "2d",
        ],
    );
    let error = check(&keys_of(&gpg), &over, DATA).unwrap_err();
    assert!(error.contains("it has expired"), "{error}");
}

#[test]
fn a_revoked_key_is_not_believed() {
    let gpg = Gpg::new("revoked");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "ed25519",
        "sign",
        "never",
    ]);
    let signature = gpg.detached(DATA, &[]);
    let keyring = keys_of(&gpg);
    check(&keyring, &signature, DATA).unwrap();
    let print = keyring.certificates()[0].fingerprint();
    let revocation = std::fs::read(gpg.path(&format!("openpgp-revocs.d/{print}.rev"))).unwrap();
    let revocation = String::from_utf8(revocation).unwrap();
    // gpg puts a colon in front, so that nobody takes it by mistake.
    let file = gpg.file(
        "revocation",
        revocation.replace(":-----", "-----").as_bytes(),
    );
    gpg.run(&["--import", &file]);
    let error = check(&keys_of(&gpg), &signature, DATA).unwrap_err();
    assert!(error.contains("revoked"), "{error}");
}

#[test]
fn subkeys_sign_when_they_are_bound_and_may() {
    let gpg = Gpg::new("subkeys");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "ed25519",
        "cert",
        "never",
    ]);
    let print = keys_of(&gpg).certificates()[0].fingerprint();
    gpg.run(&["--quick-add-key", &print, "ed25519", "sign", "never"]);
    gpg.run(&["--quick-add-key", &print, "cv25519", "encr", "never"]);
    let signature = gpg.detached(DATA, &[]);
    let exported = gpg.run(&["--export"]);
    let signer = check(&keys_of(&gpg), &signature, DATA).unwrap();
    assert_eq!(signer.fingerprint, print);

    // Without the binding signature, or under another's primary key, it is nobody's.
    let packets: Vec<_> = packet::Packets::of(&exported).map(Result::unwrap).collect();
    let raw = |packets: &[packet::Packet]| {
        let mut bytes = Vec::new();
        for (tag, body) in packets {
            bytes.extend([0xc0 | tag, 255]);
            bytes.extend((body.len() as u32).to_be_bytes());
            bytes.extend(*body);
        }
        bytes
    };
    let subkey = packets.iter().position(|&(tag, _)| tag == 14).unwrap();
    let mut keyring = Keyring::default();
    keyring.add(&raw(&packets[..=subkey]), "x").unwrap();
    let error = check(&keyring, &signature, DATA).unwrap_err();
    assert!(error.contains("not bound"), "{error}");
    let thief = Gpg::new("thief");
    thief.run(&[
        "--quick-gen-key",
        "t@example.org",
        "ed25519",
        "sign",
        "never",
    ]);
    let stolen = [thief.run(&["--export"]), raw(&packets[subkey..])].concat();
    let mut keyring = Keyring::default();
    keyring.add(&stolen, "x").unwrap();
    let error = check(&keyring, &signature, DATA).unwrap_err();
    assert!(error.contains("not bound"), "{error}");
}

#[test]
fn debians_archive_signs_what_this_machine_fetched() {
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let mut keyring = Keyring::default();
    keyring.add(&std::fs::read(keys).unwrap(), keys).unwrap();
    let mut any = false;
    for entry in std::fs::read_dir("/var/lib/apt/lists").unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap().to_owned();
        if !name.contains("debian.org") || !name.ends_with("_InRelease") {
            continue;
        }
        any = true;
        let clear = Cleartext::parse(&std::fs::read(&path).unwrap()).unwrap();
        let signer = check(&keyring, &clear.signatures, &clear.signed).unwrap();
        assert!(signer.name.contains("Debian"), "{signer}");
        let mut wrong = clear.signed.clone();
        wrong[100] ^= 1;
        assert!(check(&keyring, &clear.signatures, &wrong).is_err());
    }
    if !any {
        eprintln!("this machine has no InRelease of Debian's: not tried");
    }
}

#[test]
fn damaged_keyrings_and_signatures_are_errors_at_most() {
    let gpg = Gpg::new("damaged");
    gpg.run(&[
        "--quick-gen-key",
        "a@example.org",
        "rsa2048",
        "sign",
        "never",
    ]);
    let print = keys_of(&gpg).certificates()[0].fingerprint();
    gpg.run(&["--quick-add-key", &print, "ed25519", "sign", "never"]);
    let (keys, signature) = (gpg.run(&["--export"]), gpg.detached(DATA, &[]));
    for bytes in [&keys, &signature] {
        for length in 0..bytes.len() {
            try_both(&bytes[..length]);
        }
        for at in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[at / 8] ^= 1 << (at % 8);
            try_both(&wrong);
        }
    }
    fn try_both(bytes: &[u8]) {
        let mut keyring = Keyring::default();
        let _ = keyring.add(bytes, "x");
        if let Ok(signatures) = Detached::all(bytes) {
            for signature in signatures {
                let _ = (signature.trailer(), signature.issuer(), signature.expires());
            }
        }
        let _ = Cleartext::parse(bytes);
    }
}
