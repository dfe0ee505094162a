//! File capabilities: from the text that rpm keeps (cap_from_text(3)) to the attribute that the kernel reads.

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
/// `VFS_CAP_REVISION_2`, `VFS_CAP_FLAGS_EFFECTIVE`.
const REVISION: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

/// `struct vfs_cap_data` for a text; nothing for one that makes no sense.
pub(crate) fn attribute(text: &str) -> Option<Vec<u8>> {
    // Effective, inheritable, permitted.
    let mut sets = [0u64; 3];
    for clause in text.split_ascii_whitespace() {
        let end = clause.find(['=', '+', '-'])?;
        let all = || (1u64 << NAMES.len()) - 1;
        let who = match &clause[..end] {
            "" | "all" => all(),
            names => names.split(',').try_fold(0, |set, name| {
                let name = name.strip_prefix("cap_").unwrap_or(name);
                Some(set | 1 << NAMES.iter().position(|known| *known == name)?)
            })?,
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
    if effective | inheritable | permitted == 0 {
        return None;
    }
    let low = |set: u64| set as u32;
    let high = |set: u64| (set >> 32) as u32;
    let words = [
        REVISION | if effective == 0 { 0 } else { EFFECTIVE },
        low(permitted),
        low(inheritable),
        high(permitted),
        high(inheritable),
    ];
    Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What setcap(8) writes.
    #[test]
    fn as_setcap_writes_it() {
        let path = std::env::temp_dir().join(format!("kedge-archive-cap-{}", std::process::id()));
        for text in [
            "cap_net_raw=ep",
            "cap_net_raw,cap_net_admin=p",
            "cap_net_raw,cap_checkpoint_restore=eip",
            "cap_setuid,cap_setgid=ep cap_setgid-ep",
        ] {
            std::fs::write(&path, "").unwrap();
            let set = Command::new("setcap")
                .arg(text)
                .arg(&path)
                .status()
                .unwrap();
            assert!(set.success(), "setcap {text}");
            let mut value = [0; 64];
            let length =
                rustix::fs::getxattr(&path, "security.capability", &mut value[..]).unwrap();
            assert_eq!(attribute(text).as_deref(), Some(&value[..length]), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn nonsense_is_none() {
        for text in ["", "=", "cap_what=p", "cap_net_raw", "cap_net_raw=x"] {
            assert_eq!(attribute(text), None, "{text}");
        }
    }
}
