//! Which terminals get a shell: those named by `console=`, those the kernel writes to, and the
//! usual ones (tty1 to tty4, ttyS0, ttyS1, hvc0), each once, as far as they exist.

use std::fs;
use std::path::Path;

/// Terminals that get a shell wherever they exist.
const USUAL: [&str; 7] = ["tty1", "tty2", "tty3", "tty4", "ttyS0", "ttyS1", "hvc0"];

/// Whether a terminal can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There is a device behind the name.
    Here,
    /// The kernel knows the name, but has no hardware for it: a serial port without a UART.
    NoHardware,
    /// The kernel does not know the name.
    Unknown,
}

/// Looks a terminal up in `sys` (`/sys`).
pub(crate) fn presence(sys: &Path, name: &str) -> Presence {
    let class = sys.join("class/tty").join(name);
    if !class.join("dev").exists() {
        return Presence::Unknown;
    }
    // Only 8250 ports have `type`; PORT_UNKNOWN (0) means that no UART was found there.
    match fs::read_to_string(class.join("type")) {
        Ok(kind) if kind.trim() == "0" => Presence::NoHardware,
        _ => Presence::Here,
    }
}

/// The terminals that the kernel's own messages go to. tty0 is given as the VT it stands for.
pub(crate) fn kernel_consoles(sys: &Path) -> Vec<String> {
    fs::read_to_string(sys.join("class/tty/console/active"))
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(|name| resolved(sys, name))
        .collect()
}

/// The terminals that are to have a shell: `named` are those of `console=`.
pub(crate) fn wanted(sys: &Path, named: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let named = named.iter().map(|name| resolved(sys, name));
    let usual = USUAL.iter().map(|name| (*name).to_string());
    for name in named.chain(kernel_consoles(sys)).chain(usual) {
        if !found.contains(&name) && presence(sys, &name) == Presence::Here {
            found.push(name);
        }
    }
    found
}

/// tty0 is whichever VT is in front.
fn resolved(sys: &Path, name: &str) -> String {
    match name {
        "tty0" | "tty" => fs::read_to_string(sys.join("class/tty/tty0/active"))
            .map(|front| front.trim().to_string())
            .ok()
            .filter(|front| !front.is_empty())
            .unwrap_or_else(|| "tty1".into()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A made-up `/sys/class/tty`: name, and the UART's type for serial ports.
    struct Sys(PathBuf);

    impl Sys {
        fn new(name: &str, terminals: &[(&str, Option<&str>)], active: &str) -> Sys {
            let root =
                std::env::temp_dir().join(format!("kedge-init-{}-{name}", std::process::id()));
            for (terminal, kind) in terminals {
                let class = root.join("class/tty").join(terminal);
                fs::create_dir_all(&class).unwrap();
                fs::write(class.join("dev"), "4:1\n").unwrap();
                if let Some(kind) = kind {
                    fs::write(class.join("type"), kind).unwrap();
                }
            }
            let console = root.join("class/tty/console");
            fs::create_dir_all(&console).unwrap();
            fs::write(console.join("active"), active).unwrap();
            Sys(root)
        }
    }

    impl Drop for Sys {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_console_once_and_only_where_there_is_hardware() {
        let sys = Sys::new(
            "once",
            &[
                ("tty0", None),
                ("tty1", None),
                ("tty2", None),
                ("tty3", None),
                ("tty4", None),
                ("tty5", None),
                ("ttyS0", Some("4\n")),
                ("ttyS1", Some("0\n")),
                ("ttyS4", Some("4\n")),
                ("hvc0", None),
            ],
            "tty0 ttyS0\n",
        );
        let named = ["ttyS4", "ttyS1", "ttyUSB7", "ttyS0", "tty0"].map(String::from);
        assert_eq!(
            wanted(&sys.0, &named),
            ["ttyS4", "ttyS0", "tty1", "tty2", "tty3", "tty4", "hvc0"]
        );
        assert_eq!(presence(&sys.0, "ttyS1"), Presence::NoHardware);
        assert_eq!(presence(&sys.0, "ttyUSB7"), Presence::Unknown);
        assert_eq!(kernel_consoles(&sys.0), ["tty1", "ttyS0"]);
    }

    #[test]
    fn a_machine_without_any_terminal_has_none() {
        let sys = Sys::new("none", &[], "");
        assert_eq!(wanted(&sys.0, &["ttyS0".into()]), [""; 0]);
    }
}
