//! `cargo xtask stamp`: settings of one machine into a finished image.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use kedge_image::configuration::Options;
use kedge_image::stamp::{Content, Described, Stamped, Wishes, show, stamp};

#[derive(Args)]
#[command(group = ArgGroup::new("what").multiple(true).required(true).args(
    ["ssh_key", "host_key", "hostname", "ip", "cmdline", "file", "root_ca", "show", "clear"]
))]
pub(crate) struct Arguments {
    /// kedge.iso, kedge.efi, a netboot folder, or a folder with all of them
    image: PathBuf,
    /// Let the keys of this .pub or authorized_keys file log in, and no others (may be repeated)
    ///
    /// Keys that the image was built with are replaced. Those that kedge.ssh_key= names may log in, too.
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<PathBuf>,
    /// Give the host this private key: OpenSSH's format, ed25519, without a passphrase
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
    /// The host's name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// An address, as the value of ip= in dracut.cmdline(7) (may be repeated)
    #[arg(long, value_name = "VALUE")]
    ip: Vec<String>,
    /// Further words of the kernel's command line (may be repeated)
    ///
    /// Those for kedge (nameserver=, vlan=, kedge.*, …) win over what was built in. Those for the kernel
    /// come before the boot loader's. The few that the kernel reads very early, such as loglevel=, are
    /// refused: they can be on the loader's line only.
    #[arg(long, value_name = "WORDS")]
    cmdline: Vec<String>,
    /// Put a file into the image, with its permission bits (may be repeated)
    ///
    /// A file that is there is replaced, whole: who stamps /etc/passwd stamps all of it.
    #[arg(long, value_name = "SRC:DEST")]
    file: Vec<String>,
    /// A certificate authority of your own, PEM, for HTTPS; beside those that were built in (may be
    /// repeated)
    #[arg(long, value_name = "FILE")]
    root_ca: Vec<PathBuf>,
    /// Write the stamped image here, and OUT.sha256 beside it; the image stays as it is
    #[arg(short, long, value_name = "OUT", conflicts_with = "show")]
    output: Option<PathBuf>,
    /// Print what is stamped, and change nothing
    #[arg(long, conflicts_with_all = STAMPS, conflicts_with = "clear")]
    show: bool,
    /// Remove what is stamped: the image is the one that was built, byte for byte
    #[arg(long, conflicts_with_all = STAMPS)]
    clear: bool,
    /// With --show: print JSON
    #[arg(long, requires = "show")]
    json: bool,
}

/// What is there to be stamped.
const STAMPS: [&str; 7] = [
    "ssh_key", "host_key", "hostname", "ip", "cmdline", "file", "root_ca",
];

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.show {
        let images = show(&arguments.image)?;
        if arguments.json {
            println!("{}", json(&images)?);
        } else {
            images.iter().for_each(|image| print!("{}", text(image)));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let content = (!arguments.clear)
        .then(|| Content::of(&arguments.wishes()))
        .transpose()?;
    for note in content.iter().flat_map(|content| &content.notes) {
        eprintln!("note: {note}");
    }
    let output = arguments.output.as_deref();
    for image in stamp(&arguments.image, content.as_ref(), output)? {
        let what = if arguments.clear {
            "cleared"
        } else {
            "stamped"
        };
        let (path, used, room) = (image.path.display(), image.used, image.room);
        eprintln!("{what} {path}: {used} of {room} bytes");
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn wishes(&self) -> Wishes {
        Wishes {
            options: Options {
                ssh_keys: self.ssh_key.clone(),
                host_key: self.host_key.clone(),
                hostname: self.hostname.clone(),
                ip: self.ip.clone(),
                root_ca: self.root_ca.clone(),
                command_line: self.cmdline.clone(),
            },
            files: self.file.clone(),
        }
    }
}

/// For people.
fn text(image: &Stamped) -> String {
    let (path, used, room) = (image.path.display(), image.used, image.room);
    let Some(stamp) = &image.stamp else {
        return format!("{path}: nothing is stamped; room for {room} bytes\n");
    };
    let mut text = format!("{path}: {used} of {room} bytes\n");
    for (name, value) in lines(stamp) {
        text += &format!("  {name:<9} {value}\n");
    }
    text
}

fn lines(stamp: &Described) -> Vec<(&'static str, String)> {
    let configured = &stamp.configured;
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    lines.extend(configured.words.iter().map(|word| ("word", word.clone())));
    lines.extend(stamp.kernel.iter().map(|word| ("kernel", word.clone())));
    for key in &configured.ssh_keys {
        lines.push(("ssh key", format!("{} {}", key.fingerprint, key.comment)));
    }
    if !configured.ssh_keys.is_empty() {
        lines.push(("", "(in place of the keys that were built in)".into()));
    }
    lines.extend(
        configured
            .host_key
            .iter()
            .map(|key| ("host key", key.clone())),
    );
    let authorities = configured.root_ca.iter();
    lines.extend(authorities.map(|file| ("root CA", file.path.clone())));
    for file in &stamp.files {
        let (mode, path, size) = (&file.mode, &file.path, file.size);
        lines.push(("file", format!("{path}, mode {mode}, {size} bytes")));
    }
    if stamp.secret {
        lines.push(("secret", "who can read the image can use it".into()));
    }
    lines
}

/// For programs.
fn json(images: &[Stamped]) -> anyhow::Result<String> {
    let images: Vec<_> = images
        .iter()
        .map(|image| {
            serde_json::json!({
                "path": image.path.display().to_string(),
                "used": image.used,
                "room": image.room,
                "stamp": image.stamp,
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&images)?)
}
