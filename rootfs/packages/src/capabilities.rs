//! File capabilities: the text that rpm keeps (cap_from_text(3)), and the attribute that the kernel reads (capabilities(7),
//! `linux/capability.h`).

use std::fmt;

/// Their names without `cap_`, in the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
/// `VFS_CAP_REVISION_1`, with sets of 32 bits; `_2`, with 64; `_3`, of a user namespace, whose root's number follows.
const REVISIONS: [(u32, usize); 3] = [(0x0100_0000, 12), (0x0200_0000, 20), (0x0300_0000, 24)];
/// `VFS_CAP_FLAGS_EFFECTIVE`.
const EFFECTIVE: u32 = 1;

/// Which rights a program gets when it is started, whoever starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    permitted: u64,
    inheritable: u64,
    /// Whether it has them from the start, and need not ask.
    effective: bool,
}

impl Capabilities {
    /// The extended attribute that has them.
    pub const ATTRIBUTE: &str = "security.capability";

    /// Out of what cap_to_text(3) wrote; `None` for one that gives nothing, or makes no sense.
    pub fn from_text(text: &str) -> Option<Capabilities> {
        // Effective, inheritable, permitted.
        let mut sets = [0u64; 3];
        for clause in text.split_ascii_whitespace() {
            let end = clause.find(['=', '+', '-'])?;
            let who = match &clause[..end] {
                "" | "all" => (1 << NAMES.len()) - 1,
                names => names
                    .split(',')
                    .try_fold(0, |set, name| Some(set | 1 << number(name)?))?,
            };
            let mut operator = ' ';
            for sign in clause[end..].chars() {
                match sign {
                    '=' | '+' | '-' => {
                        operator = sign;
                        if operator == '=' {
                            sets.iter_mut().for_each(|set| *set &= !who);
                        }
                    }
                    'e' | 'i' | 'p' => {
                        let set = &mut sets["eip".find(sign)?];
                        match operator {
                            '-' => *set &= !who,
                            _ => *set |= who,
                        }
                    }
                    _ => return None,
                }
            }
        }
        let [effective, inheritable, permitted] = sets;
        (effective | inheritable | permitted != 0).then_some(Capabilities {
            permitted,
            inheritable,
            effective: effective != 0,
        })
    }

    /// Out of the attribute's value; `None` for what the kernel would not take. Whose namespace it is of is not looked at, as rpm
    /// does not.
    pub fn from_attribute(value: &[u8]) -> Option<Capabilities> {
        let word = |index: usize| {
            let bytes = value.get(4 * index..4 * index + 4)?;
            Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
        };
        let magic = word(0)? as u32;
        let known = REVISIONS.contains(&(magic & 0xff00_0000, value.len()));
        let set = |index| {
            Some(
                word(index)?
                    | if value.len() < 20 {
                        0
                    } else {
                        word(index + 2)? << 32
                    },
            )
        };
        known.then_some(Capabilities {
            permitted: set(1)?,
            inheritable: set(2)?,
            effective: magic & EFFECTIVE != 0,
        })
    }

    /// The attribute's value, as setcap(8) writes it.
    pub fn attribute(self) -> Vec<u8> {
        let (revision, _) = REVISIONS[1];
        let words = [
            revision | if self.effective { EFFECTIVE } else { 0 },
            self.permitted as u32,
            self.inheritable as u32,
            (self.permitted >> 32) as u32,
            (self.inheritable >> 32) as u32,
        ];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// As cap_to_text(3): `cap_net_admin,cap_net_raw=ep`.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capabilities {
            permitted,
            inheritable,
            effective,
        } = *self;
        let e = if effective { "e" } else { "" };
        // All but the first clause add to what there is.
        let (mut gap, mut operator) = ("", "=");
        for (set, letters) in [
            (permitted & inheritable, "ip"),
            (inheritable & !permitted, "i"),
            (permitted & !inheritable, "p"),
        ] {
            let mut comma = gap;
            for bit in (0..64).filter(|bit| set >> bit & 1 != 0) {
                match NAMES.get(bit) {
                    Some(name) => write!(f, "{comma}cap_{name}")?,
                    None => write!(f, "{comma}{bit}")?,
                }
                comma = ",";
            }
            if set != 0 {
                write!(f, "{operator}{e}{letters}")?;
                (gap, operator) = (" ", "+");
            }
        }
        if gap.is_empty() {
            f.write_str("=")?;
        }
        Ok(())
    }
}

/// That of a name, with or without `cap_`; newer ones than are known here are written as numbers.
fn number(name: &str) -> Option<usize> {
    let short = name.strip_prefix("cap_").unwrap_or(name);
    let known = NAMES.iter().position(|known| *known == short);
    known.or_else(|| name.parse().ok().filter(|&number| number < 64))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What setcap(8) writes, and getcap(8) reads.
    #[test]
    fn as_libcap_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in [
            "cap_net_raw=ep",
            "cap_net_raw,cap_net_admin=p",
            "cap_net_raw,cap_checkpoint_restore=eip",
            "cap_setuid,cap_setgid=ep cap_setgid-ep",
            "cap_setuid,cap_kill=eip cap_chown=ep cap_bpf,cap_mknod=ei",
            "cap_audit_read=i cap_fowner=p",
            "= cap_net_raw+ep",
            "13,cap_setuid=ep",
        ] {
            std::fs::write(&path, "").unwrap();
            let set = Command::new("setcap").arg(text).arg(&path).status();
            assert!(set.unwrap().success(), "setcap {text}");
            let mut value = [0; 64];
            let length =
                rustix::fs::getxattr(&path, Capabilities::ATTRIBUTE, &mut value[..]).unwrap();
            let made = Capabilities::from_text(text).unwrap();
            assert_eq!(made.attribute(), &value[..length], "{text}");
            assert_eq!(Capabilities::from_attribute(&value[..length]), Some(made));
            let told = Command::new("getcap").arg(&path).output().unwrap().stdout;
            let told = String::from_utf8(told).unwrap();
            assert_eq!(told, format!("{} {made}\n", path.display()), "{text}");
        }
    }

    #[test]
    fn nonsense_is_none() {
        for text in [
            "",
            "=",
            "cap_what=p",
            "cap_net_raw",
            "cap_net_raw=x",
            "64=p",
            "-1=p",
            "cap_13=p",
            "cap_net_raw=\u{fc}",
        ] {
            assert_eq!(Capabilities::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn every_revision_has_its_length() {
        let must = Capabilities::from_text("cap_net_raw=ep").unwrap();
        let with = |revision: u32, length: usize| {
            let mut value = must.attribute();
            value.resize(length, 0);
            value[3] = (revision >> 24) as u8;
            Capabilities::from_attribute(&value)
        };
        for length in 4..64 {
            for revision in 0..=0xff {
                let good = REVISIONS.contains(&(revision << 24, length));
                let expected = good.then_some(must);
                assert_eq!(
                    with(revision << 24, length),
                    expected,
                    "{revision} {length}"
                );
            }
        }
        for length in 0..4 {
            assert_eq!(
                Capabilities::from_attribute(&must.attribute()[..length]),
                None
            );
        }
        // Bits that have no name are numbers, and come back.
        let mut value = must.attribute();
        value[15] = 0x80;
        let high = Capabilities::from_attribute(&value).unwrap();
        assert_eq!(high.to_string(), "cap_net_raw,63=ep");
        assert_eq!(Capabilities::from_text(&high.to_string()), Some(high));
        let none = Capabilities::from_attribute(&[
            0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        assert_eq!(none.unwrap().to_string(), "=");
    }
}
