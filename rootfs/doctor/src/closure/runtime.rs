//! What programs load when they run, because a configuration file says so: PAM modules (pam.conf(5)), name services
//! (nsswitch.conf(5)), OpenSSL's providers and engines (config(5)).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

/// A configuration file is no longer than this.
const LONGEST: u64 = 1 << 20;
/// The most modules, and settings of OpenSSL's, that are looked at; and the longest name of a section, which each
/// of its settings has. Real systems have less than a hundred; what is hostile is not to cost gigabytes or hours.
const MOST_MODULES: usize = 4096;
const MOST_SETTINGS: usize = 4096;
const MOST_NAME: usize = 256;
/// `include` in an `include`, and so on; Linux-PAM's own limit is 32.
const DEEPEST: usize = 16;

/// A module that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// What the configuration has: a path, or a file's name.
    pub(super) name: String,
    /// The configuration file, below ROOT.
    pub(super) from: PathBuf,
    /// What happens when it is not there.
    pub(super) absence: Absence,
}

/// What whoever loads a module does when it is not there, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Absence {
    /// Goes on, and says nothing.
    Unnoticed,
    /// Goes on, and it is in the log.
    Logged,
    /// Fails.
    Fails,
}

/// Modules, and the configuration files that were read for them.
#[derive(Debug, Default)]
pub(super) struct Modules {
    pub(super) modules: Vec<Module>,
    pub(super) files: Vec<PathBuf>,
}

impl Modules {
    fn read(&mut self, root: &Sysroot, path: &Path) -> Option<String> {
        let text = match root.read(path, LONGEST) {
            Err(error) if error.is_missing() => return None,
            // It is there; why it cannot be read is found when it is looked at, as all that is read.
            text => text.unwrap_or_default(),
        };
        self.files.push(path.to_path_buf());
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn add(&mut self, name: &str, from: &Path, absence: Absence) {
        if let Some(known) = self.modules.iter_mut().find(|m| m.name == name) {
            known.absence = known.absence.max(absence);
        } else if self.modules.len() < MOST_MODULES {
            self.modules.push(Module {
                name: name.into(),
                from: from.into(),
                absence,
            });
        }
    }
}

/// The modules of the service that a program of this name uses; of `other`, where it has no list of its own and `asks` for
/// one all the same.
pub(super) fn pam(root: &Sysroot, program: &str, asks: bool) -> Modules {
    let mut modules = Modules::default();
    let mut seen = BTreeSet::new();
    let other = asks.then_some("other");
    for service in [Some(program), other].into_iter().flatten() {
        if pam_service(root, service, 0, &mut seen, &mut modules) {
            break;
        }
    }
    modules
}

fn pam_service(
    root: &Sysroot,
    service: &str,
    depth: usize,
    seen: &mut BTreeSet<String>,
    modules: &mut Modules,
) -> bool {
    if depth > DEEPEST || !seen.insert(service.into()) {
        return true;
    }
    let places = match service.starts_with('/') {
        true => vec![super::path(service.as_bytes())],
        false => ["etc/pam.d", "usr/lib/pam.d", "usr/etc/pam.d"]
            .map(|folder| Path::new(folder).join(service))
            .into(),
    };
    let Some((path, text)) = places
        .into_iter()
        .find_map(|path| Some((path.clone(), modules.read(root, &path)?)))
    else {
        return false;
    };
    for line in text.replace("\\\n", " ").lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(included) = line.strip_prefix("@include") {
            pam_service(root, included.trim(), depth + 1, seen, modules);
            continue;
        }
        // `-session [success=1 default=ignore] pam_x.so word`
        let Some((kind, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        let (control, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((actions, rest)) => (actions, rest),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let Some(what) = rest.split_whitespace().next() else {
            continue;
        };
        match control {
            "include" | "substack" => {
                pam_service(root, what, depth + 1, seen, modules);
            }
            _ => {
                let name = what.replace("$ISA/", "").replace("/$ISA", "");
                let absence = match kind.starts_with('-') {
                    true => Absence::Unnoticed,
                    false => absence(control),
                };
                modules.add(&name, &path, absence);
            }
        }
    }
    true
}

/// Of a control of pam.conf(5): what is not there returns `module_unknown`. That it is ignored is not enough: where success
/// jumps over a `pam_deny.so`, nobody succeeds without it.
fn absence(control: &str) -> Absence {
    let value = |name: &str| {
        let mut actions = control.split_whitespace();
        actions.find_map(|action| action.strip_prefix(name)?.strip_prefix('='))
    };
    let ignored = value("module_unknown").or(value("default")) == Some("ignore");
    let only_counts = matches!(value("success"), None | Some("ok" | "ignore"));
    match control == "optional" || ignored && only_counts {
        true => Absence::Logged,
        false => Absence::Fails,
    }
}

/// `libnss_NAME.so.2` for each service named; those that glibc has built in or that are not installed are no fault.
pub(super) fn name_services(root: &Sysroot) -> Modules {
    let mut modules = Modules::default();
    let path = Path::new("etc/nsswitch.conf");
    let text = modules.read(root, path).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((_, services)) = line.split_once(':') else {
            continue;
        };
        // `[NOTFOUND=return]` may be without blanks around it.
        let mut bracket = false;
        let names: String = services
            .chars()
            .map(|c| {
                bracket = (bracket || c == '[') && c != ']';
                if bracket || c == ']' { ' ' } else { c }
            })
            .collect();
        for name in names.split_whitespace() {
            modules.add(&format!("libnss_{name}.so.2"), path, Absence::Unnoticed);
        }
    }
    modules
}

/// The providers and engines that OpenSSL's configuration loads at start.
pub(super) fn openssl(root: &Sysroot) -> Modules {
    let mut modules = Modules::default();
    let places = [
        "usr/lib/ssl/openssl.cnf",
        "etc/pki/tls/openssl.cnf",
        "etc/ssl/openssl.cnf",
    ];
    for place in places.map(Path::new) {
        let mut settings = Vec::new();
        if !settings_of(
            root,
            place,
            0,
            &mut String::new(),
            &mut settings,
            &mut modules,
        ) {
            continue;
        }
        let of = |section: &str, name: &str| {
            let fits = |s: &&Setting| s.section == section && s.name == name;
            settings.iter().rev().find(fits).map(|s| s.value.clone())
        };
        let Some(init) = of("", "openssl_conf") else {
            break;
        };
        for (list, path) in [("providers", "module"), ("engines", "dynamic_path")] {
            let Some(list) = of(&init, list) else {
                continue;
            };
            for one in settings.iter().filter(|s| s.section == list) {
                let active = of(&one.value, "activate");
                let active = active.is_some_and(|a| !matches!(&*a, "0" | "no" | "off" | "false"));
                let module = of(&one.value, path);
                let built_in = matches!(&*one.name, "default" | "base" | "null");
                match module {
                    Some(module) => modules.add(&module, place, Absence::Fails),
                    None if active && !built_in => {
                        modules.add(&format!("{}.so", one.name), place, Absence::Fails);
                    }
                    None => {}
                }
            }
        }
        break;
    }
    modules
}

struct Setting {
    section: String,
    name: String,
    value: String,
}

fn settings_of(
    root: &Sysroot,
    path: &Path,
    depth: usize,
    section: &mut String,
    settings: &mut Vec<Setting>,
    modules: &mut Modules,
) -> bool {
    if depth > DEEPEST || modules.files.iter().any(|file| file == path) {
        return false;
    }
    let Some(text) = modules.read(root, path) else {
        return false;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']').trim();
            *section = name.chars().take(MOST_NAME).collect();
        } else if let Some(included) = line.strip_prefix(".include") {
            let included = included.trim().trim_start_matches('=').trim();
            let included = super::path(included.as_bytes());
            settings_of(root, &included, depth + 1, section, settings, modules);
        } else if let Some((name, value)) = line.split_once('=')
            && settings.len() < MOST_SETTINGS
        {
            settings.push(Setting {
                // What stands before the first section is in "default".
                section: if section == "default" {
                    String::new()
                } else {
                    section.clone()
                },
                name: name.trim().into(),
                value: value.trim().into(),
            });
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str, files: &[(&str, &str)]) -> (PathBuf, Sysroot) {
        let folder =
            std::env::temp_dir().join(format!("kedge-runtime-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Sysroot::open(&folder).unwrap();
        (folder, root)
    }

    fn names(modules: &Modules) -> Vec<&str> {
        modules.modules.iter().map(|m| m.name.as_str()).collect()
    }

    #[test]
    fn pam_modules_are_found_through_includes() {
        let (folder, root) = tree(
            "pam",
            &[
                (
                    "etc/pam.d/sshd",
                    "# words\n@include common-auth\naccount required pam_nologin.so # why\n\
                     -session optional pam_systemd.so\nsession [success=ok ignore=ignore] pam_selinux.so close\n\
                     auth include sshd\nauth required \\\n /opt/$ISA/pam_x.so\nnonsense\n",
                ),
                (
                    "etc/pam.d/common-auth",
                    "auth\t[success=1 default=ignore]\tpam_unix.so nullok\nauth substack deeper\n",
                ),
                ("usr/lib/pam.d/deeper", "auth requisite pam_deny.so\n"),
                ("etc/pam.d/other", "auth required pam_warn.so\n"),
            ],
        );
        let modules = pam(&root, "sshd", true);
        assert_eq!(
            names(&modules),
            [
                "pam_unix.so",
                "pam_deny.so",
                "pam_nologin.so",
                "pam_systemd.so",
                "pam_selinux.so",
                "/opt/pam_x.so"
            ]
        );
        use Absence::{Fails, Unnoticed};
        let absence: Vec<Absence> = modules.modules.iter().map(|m| m.absence).collect();
        assert_eq!(
            absence,
            [Fails, Fails, Fails, Unnoticed, Fails, Fails],
            "success=1 jumps, and without `ignore` nothing is"
        );
        assert_eq!(names(&pam(&root, "unheard-of", true)), ["pam_warn.so"]);
        assert!(names(&pam(&root, "unheard-of", false)).is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_pam_goes_on_without_is_known_by_its_control() {
        for (control, expected) in [
            ("required", Absence::Fails),
            ("optional", Absence::Logged),
            ("success=ok default=ignore", Absence::Logged),
            (
                "success=ok module_unknown=ignore default=bad",
                Absence::Logged,
            ),
            ("success=1 default=ignore", Absence::Fails),
            ("default=die", Absence::Fails),
        ] {
            assert_eq!(absence(control), expected, "{control}");
        }
        let both = "session optional pam_x.so\nsession required pam_x.so\n";
        let (folder, root) = tree("both", &[("etc/pam.d/a", both)]);
        assert_eq!(pam(&root, "a", true).modules[0].absence, Absence::Fails);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn configuration_does_not_multiply_without_end() {
        let modules: String = (0..100_000)
            .map(|n| format!("a b m{n}\n"))
            .take(60_000)
            .collect();
        let settings = format!(
            "openssl_conf=i\n[i]\nproviders=p\n[{}]\n{}",
            "p".repeat(500_000),
            "=\n".repeat(200_000)
        );
        let (folder, root) = tree(
            "many",
            &[
                ("etc/pam.d/sshd", &modules),
                ("etc/ssl/openssl.cnf", &settings),
            ],
        );
        assert_eq!(pam(&root, "sshd", false).modules.len(), MOST_MODULES);
        assert!(openssl(&root).modules.is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn name_services_and_providers_are_found() {
        let (folder, root) = tree(
            "others",
            &[
                (
                    "etc/nsswitch.conf",
                    "passwd: files systemd\nhosts: files mdns4_minimal[NOTFOUND=return]dns # x\n",
                ),
                (
                    "etc/ssl/openssl.cnf",
                    "openssl_conf = init\n.include /etc/ssl/more.cnf\n[init]\nproviders = list\nengines=es\n[list]\n\
                     default = d\nlegacy = l\noff = o\nown=w\n[d]\nactivate = 1\n[l]\nactivate = yes\n[o]\nactivate=0\n\
                     [w]\nmodule = /opt/own.so\n[es]\npkcs11 = p\n[p]\ndynamic_path = /opt/e.so\n",
                ),
                ("etc/ssl/more.cnf", ".include /etc/ssl/openssl.cnf\n"),
            ],
        );
        assert_eq!(
            names(&name_services(&root)),
            [
                "libnss_files.so.2",
                "libnss_systemd.so.2",
                "libnss_mdns4_minimal.so.2",
                "libnss_dns.so.2"
            ]
        );
        assert_eq!(
            names(&openssl(&root)),
            ["legacy.so", "/opt/own.so", "/opt/e.so"]
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
