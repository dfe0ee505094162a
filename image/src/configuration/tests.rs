use super::*;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

const KEY: &str = "ssh-ed25519 \
                   AAAAC3NzaC1lZDI1NTE5AAAAIHw/97aFen4cjUHpyWY7ilLjh3BuBr/RFuOltda/uP3m";

/// A folder with a kedge.toml and the files that it names.
struct Folder(TempDir);

impl Folder {
    fn new(toml: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(FILE, toml);
        folder.write("id.pub", &format!("{KEY} me\n"));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn host_key(&self) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(self.path("host"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    fn sources(&self) -> Sources {
        Sources {
            file: Some(self.path(FILE)),
            ..Sources::default()
        }
    }

    fn read(&self) -> Configuration {
        Configuration::read(&self.sources()).unwrap()
    }

    fn error(&self) -> String {
        let error = Configuration::read(&self.sources()).unwrap_err();
        let folder = format!("{}/", self.0.path().display());
        error.to_string().replace(&folder, "")
    }
}

fn tree(configuration: &Configuration) -> Tree {
    let mut tree = Tree::default();
    configuration.add_to(&mut tree).unwrap();
    tree
}

fn text(tree: &Tree, path: &str) -> (u32, String) {
    match tree.nodes().find(|(name, _)| *name == path) {
        Some((_, Node::File(mode, content))) => {
            (*mode, String::from_utf8(content.clone()).unwrap())
        }
        other => panic!("/{path} is {other:?}"),
    }
}

#[test]
fn nothing_configured_leaves_no_trace() {
    for configuration in [
        Configuration::read(&Sources::default()).unwrap(),
        Folder::new("# nothing\n").read(),
    ] {
        assert_eq!(configuration, Configuration::default());
        assert_eq!(tree(&configuration).nodes().count(), 0);
        assert_eq!(configuration.described(), None);
        assert!(!configuration.is_secret());
    }
}

#[test]
fn words_keys_and_authorities_are_where_the_image_looks() {
    let folder = Folder::new(&format!(
        "hostname = 'rescue'\nssh_port = 2222\nip = ['dhcp', 'eth0:off']\nroute = \
         '198.51.100.0/24:192.0.2.1'\nntp = '192.0.2.1, 192.0.2.2'\nssh_keys = '{KEY} \
         first'\nssh_key_files = ['id.pub']\nhost_key = 'host'\nroot_ca = 'ca.pem'\n"
    ));
    folder.host_key();
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    folder.write("ca.pem", pem);
    let configuration = folder.read();
    let tree = tree(&configuration);
    let settings = text(&tree, "etc/kedge/settings");
    assert_eq!(
        settings.1,
        "kedge.hostname=rescue\nkedge.ssh_port=2222\nip=dhcp\nip=eth0:off\n\
         rd.route=198.51.100.0/24:192.0.2.1\nkedge.ntp=\"192.0.2.1, 192.0.2.2\"\n"
    );
    assert_eq!(kedge_settings::BUILT, format!("/{SETTINGS}"));
    let words = kedge_settings::Words::parse(settings.1.as_bytes(), b"ip=on");
    assert_eq!(words.all("ip").collect::<Vec<_>>(), [b"on"]);
    assert_eq!(words.last("kedge.ntp"), Some(&b"192.0.2.1, 192.0.2.2"[..]));

    // The same key twice is there once.
    let keys = text(&tree, "root/.ssh/authorized_keys");
    assert_eq!(keys, (0o600, format!("{KEY} first\n")));
    let ssh = tree.nodes().find(|(name, _)| *name == "root/.ssh").unwrap();
    assert_eq!(ssh.1, &Node::Directory(0o700));
    let private = fs::read_to_string(folder.path("host")).unwrap();
    assert_eq!(text(&tree, HOST_KEY), (0o600, private));
    assert_eq!(text(&tree, "etc/ssh/ssh_host_ed25519_key.pub").0, 0o644);
    assert_eq!(text(&tree, "etc/ssl/kedge/ca.pem"), (0o644, pem.into()));
}

#[test]
fn the_builds_options_come_beside_and_before_the_file() {
    let folder = Folder::new("host_key = 'of the file'\n");
    folder.host_key();
    let mut sources = folder.sources();
    sources.ssh_keys.push(folder.path("id.pub"));
    sources.host_key = Some(folder.path("host"));
    let configured = Configuration::read(&sources).unwrap().described().unwrap();
    assert_eq!(configured.ssh_keys[0].comment, "me");
    assert!(configured.host_key.unwrap().starts_with("SHA256:"));

    sources.ssh_keys[0] = folder.path("none.pub");
    let error = Configuration::read(&sources).unwrap_err().to_string();
    assert!(error.starts_with("--ssh-key: cannot read"), "{error}");
    assert!(error.contains("none.pub: No such file"), "{error}");
}

#[test]
fn what_is_secret_is_known_as_such_and_not_described() {
    let folder = Folder::new("host_key = 'host'\nbeacon = 'dyndns2://me:token@h/?hostname=x'\n");
    folder.host_key();
    let configuration = folder.read();
    assert!(configuration.is_secret());
    assert!(configuration.notes()[0].contains("PRIVATE KEY"));
    assert!(configuration.notes()[1].contains("password or token"));
    let private = fs::read_to_string(folder.path("host")).unwrap();
    let said = format!("{:?} {configuration:?}", configuration.described())
        + &configuration.notes().concat();
    assert!(said.contains("dyndns2://h/?..."), "{said}");
    let described = serde_json::to_string(&configuration.described()).unwrap();
    assert!(!described.contains("token"), "{described}");
    for line in private.lines() {
        assert!(!said.contains(line), "{line}");
    }

    fs::set_permissions(folder.path("host"), fs::Permissions::from_mode(0o644)).unwrap();
    let notes = folder.read().notes().concat();
    assert!(notes.contains("chmod 600"), "{notes}");
    assert!(
        !Folder::new("beacon = 'https://h/'\nssh_key_files = 'id.pub'\n")
            .read()
            .is_secret()
    );
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_field() {
    for (toml, said) in [
        (
            "\n\nip = '192.0.2.300'\n",
            "kedge.toml, line 3, ip: 'ip=192.0.2.300': '192.0.2.300' is not a method",
        ),
        (
            "ip = ['dhcp',\n 'eth0:dhcq']\n",
            "kedge.toml, line 2, ip: 'ip=eth0:dhcq': 'dhcq' is not a method",
        ),
        (
            "hostname = 'a_b'\n",
            "kedge.toml, line 1, hostname: \"a_b\" is not a host name",
        ),
        (
            "ssh_keys = 'ssh-ed25519 AAAA'\n",
            "kedge.toml, line 1, ssh_keys: the ssh-ed25519 key is cut short",
        ),
        (
            "ssh_key_files = ['id.pub',\n'host']\n",
            "kedge.toml, line 2, ssh_key_files: host is a PRIVATE key, which stays with its owner; give host.pub",
        ),
        (
            "host_key = 'host.pub'\n",
            "kedge.toml, line 1, host_key: host.pub is a public key",
        ),
        (
            "host_key = 'none'\n",
            "kedge.toml, line 1, host_key: cannot read none: No such file",
        ),
        (
            "root_ca = 'id.pub'\n",
            "kedge.toml, line 1, root_ca: there is no whole certificate in id.pub",
        ),
        (
            "ntp = 'a\"b'\n",
            "kedge.toml, line 1, ntp: \"a\\\"b\" holds a double quote",
        ),
        (
            "beacon = 'ftp://h/'\n",
            "kedge.toml, line 1, beacon: \"ftp://h/\" is not a URL",
        ),
        (
            "hostnam = 'a'\n",
            "kedge.toml, line 1: `hostnam = 'a'`: unknown field `hostnam`",
        ),
    ] {
        let folder = Folder::new(toml);
        folder.host_key();
        let error = folder.error();
        assert!(error.starts_with(said), "{toml}: {error}");
    }
    let none = Sources {
        file: Some("/nonexistent/kedge.toml".into()),
        ..Sources::default()
    };
    let error = Configuration::read(&none).unwrap_err().to_string();
    assert!(
        error.contains("/nonexistent/kedge.toml: No such file"),
        "{error}"
    );
}

#[test]
fn the_example_is_right() {
    let folder = Folder::new(&EXAMPLE.replace("~/.ssh/id_ed25519.pub", "id.pub"));
    folder.host_key();
    fs::rename(folder.path("host"), folder.path("host_ed25519")).unwrap();
    folder.write(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    );
    let settings = text(&tree(&folder.read()), SETTINGS).1;
    // Every field of the file is in it.
    let error = Folder::new("x = 1").error();
    for field in error.split("expected one of").nth(1).unwrap().split(',') {
        let field = field.trim().trim_matches('`');
        let forms = [format!("\n{field} = "), format!("\n[{field}]\n")];
        assert!(forms.iter().any(|form| EXAMPLE.contains(form)), "{field}");
    }
    assert!(settings.contains("kedge.hostname=rescue\n"), "{settings}");
}

#[test]
fn every_change_of_an_input_changes_the_archive() {
    let fields = "hostname ssh_port ip nameserver route vlan bond bridge ntp beacon";
    let mut archives = std::collections::BTreeSet::new();
    let mut count = 0;
    let mut take = |folder: &Folder| {
        archives.insert(tree(&folder.read()).to_cpio(0).unwrap());
        count += 1;
    };
    take(&Folder::new(""));
    for field in fields.split(' ') {
        let line = |line: &&str| line.starts_with(&format!("{field} = "));
        let line = EXAMPLE.lines().find(line).unwrap();
        take(&Folder::new(line));
        let other = line.replace("192.0.2.", "192.0.3.").replace("eth", "lan");
        let other = other
            .replace("rescue", "other")
            .replace("22", "23")
            .replace("beacon.", "b.");
        assert_ne!(line, other);
        take(&Folder::new(&other));
    }
    // Files: what counts is what is in them.
    let files = Folder::new("ssh_key_files = 'id.pub'\nhost_key = 'host'\nroot_ca = 'ca.pem'\n");
    let pem =
        |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    files.host_key();
    files.write("ca.pem", &pem("MAA="));
    take(&files);
    files.write("ca.pem", &pem("MAIFAA=="));
    take(&files);
    files.write("id.pub", &format!("restrict {KEY} me\n"));
    take(&files);
    fs::remove_file(files.path("host")).unwrap();
    files.host_key();
    take(&files);
    assert_eq!(archives.len(), count);
}
