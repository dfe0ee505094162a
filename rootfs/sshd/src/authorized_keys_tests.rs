use super::*;
use kedge_ssh_wire::Put;

fn ed25519(byte: u8) -> Vec<u8> {
    let mut blob = Vec::new();
    blob.put_string(b"ssh-ed25519");
    blob.put_string(&[byte; 32]);
    blob
}

fn line(byte: u8) -> String {
    format!("ssh-ed25519 {} me@there", base64::encode(&ed25519(byte)))
}

fn options(text: &str) -> Result<Options, Wrong> {
    parse(&format!("{text} {}", line(1))).map(|entry| entry.unwrap().options)
}

#[test]
fn a_line_is_read_with_and_without_its_parts() {
    let entry = parse(&line(1)).unwrap().unwrap();
    assert_eq!(entry.key, ed25519(1));
    assert_eq!(entry.comment, "me@there");
    assert_eq!(entry.options, Options::default());
    let bare = base64::encode(&ed25519(1));
    assert_eq!(parse(&bare).unwrap().unwrap().key, ed25519(1));
    assert_eq!(parse("  # a comment"), Ok(None));
    assert_eq!(parse("   "), Ok(None));
}

#[test]
fn restrictions_are_kept_or_the_line_does_not_count() {
    let kept =
        options("command=\"echo \\\"a, b\\\"\",no-pty,from=\"192.0.2.0/24,!192.0.2.7\"").unwrap();
    assert_eq!(kept.command.as_deref(), Some("echo \"a, b\""));
    assert!(!kept.terminal && kept.forwarding);
    assert!(kept.allows("192.0.2.1".parse().unwrap()));
    assert!(kept.allows("::ffff:192.0.2.1".parse().unwrap()));
    assert!(!kept.allows("192.0.2.7".parse().unwrap()));
    assert!(!kept.allows("192.0.3.1".parse().unwrap()));
    assert!(!kept.allows("2001:db8::1".parse().unwrap()));
    let all = options("from=\"::/0\"").unwrap();
    assert!(all.allows("2001:db8::1".parse().unwrap()));
    let none = options("restrict,pty").unwrap();
    assert!(none.terminal && !none.forwarding);
    for unknown in [
        "permitopen=\"a:1\"",
        "cert-authority",
        "expiry-time=\"20300101\"",
        "from=\"*.example.org\"",
        "command=x",
        "verify-required",
    ] {
        assert!(
            matches!(options(unknown), Err(Wrong::Option(_))),
            "{unknown}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let mut short = line(1);
    short.truncate(40);
    let dsa = "ssh-dss AAAAB3NzaC1kc3MAAACBAP1/U4EddRIpUt9KnC7s5Of2EbdSPO9EAMMeP4C2USZp";
    let mut small = Vec::new();
    small.put_string(b"ssh-rsa");
    small.put_mpint(&[1, 0, 1]);
    small.put_mpint(&[0xff; 128]);
    let small = format!("ssh-rsa {}", base64::encode(&small));
    for (text, said) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "PRIVATE"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "PRIVATE"),
        (short.as_str(), "cut short"),
        ("ssh-ed25519", "cut short"),
        (dsa, "DSA"),
        (small.as_str(), "1024 bits"),
        (&line(1).replace("ssh-ed25519", "ssh-rsa"), "another type"),
        ("hello world", "no public key"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn keys_are_added_once_and_taken_out_again() {
    let folder = std::env::temp_dir().join(format!("kedge-keys-{}", std::process::id()));
    let path = folder.join("authorized_keys");
    assert_eq!(add(&path, &[line(1), line(2), line(1)]).unwrap(), 2);
    assert_eq!(
        add(&path, &[line(2), base64::encode(&ed25519(3))]).unwrap(),
        1
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(load(&path).unwrap().len(), 3);
    let third = public_key::fingerprint(&ed25519(3));
    assert_eq!(remove(&path, &third).unwrap(), 1);
    assert_eq!(remove(&path, "me@there").unwrap(), 2);
    assert_eq!(load(&path).unwrap(), []);
    fs::remove_dir_all(&folder).unwrap();
}

/// What runs would be another command than the one that was written. A name may be anything.
#[test]
fn an_option_that_is_no_utf_8_makes_its_line_worthless() {
    let path = std::env::temp_dir().join(format!("kedge-latin-1-{}", std::process::id()));
    let key = base64::encode(&ed25519(1));
    let counts = |option: &[u8], comment: &[u8]| {
        let parts = [
            option,
            b" ssh-ed25519 ",
            key.as_bytes(),
            b" ",
            comment,
            b"\n",
        ];
        fs::write(&path, parts.concat()).unwrap();
        load(&path).unwrap().len() == 1
    };
    assert!(!counts(b"command=\"rm /m\xfcll\"", b"me"));
    assert!(counts(b"command=\"rm /mull\"", b"J\xf6rg"));
    // And whoever is let in can be kept out.
    let other = [&fs::read(&path).unwrap()[..], b"# n\xf6\n"].concat();
    fs::write(&path, other).unwrap();
    assert_eq!(remove(&path, "all").unwrap(), 1);
    assert_eq!(fs::read(&path).unwrap(), b"# n\xf6\n");
    fs::remove_file(&path).unwrap();
}
