//! `$releasever`, `$basearch` and others in the configuration of dnf, yum and zypper.

use std::collections::HashMap;

use kedge_packages::Family;

use crate::query::Query;

const MOST: u64 = 1 << 20;
/// The longest value, and the longest text with values in it: a line full of variables grows no further.
const MOST_VALUE: usize = 256;
const MOST_FILLED: usize = 16 << 10;

/// Their values.
pub(super) struct Variables(HashMap<String, String>);

impl Variables {
    /// With these values, for the fuzz targets.
    pub(super) fn known(values: &[(&str, &str)]) -> Variables {
        let values = values.iter().map(|&(a, b)| (a.to_owned(), b.to_owned()));
        Variables(values.collect())
    }

    pub(super) fn of(query: &Query) -> Variables {
        let mut values = HashMap::new();
        let release = query
            .text("etc/os-release".as_ref(), MOST)
            .or_else(|| query.text("usr/lib/os-release".as_ref(), MOST))
            .unwrap_or_default();
        values.insert("releasever".to_owned(), release_version(&release));
        let machine = machine(query);
        values.insert("basearch".to_owned(), base(&machine).to_owned());
        values.insert("arch".to_owned(), machine);
        for folder in ["etc/yum/vars", "etc/dnf/vars", "etc/zypp/vars.d"] {
            for file in query.all_in_folder(folder) {
                let name = file.file_name().map(|n| n.to_string_lossy().into_owned());
                let value = query.text(&file, MOST);
                if let (Some(name), Some(value)) = (name, value) {
                    let value = value.lines().next().unwrap_or_default().trim().to_owned();
                    values.insert(name, value);
                }
            }
        }
        values.retain(|_, value| value.len() <= MOST_VALUE);
        let version = values.get("releasever").cloned().unwrap_or_default();
        let (major, minor) = version.split_once('.').unwrap_or((&version, ""));
        for (name, value) in [("releasever_major", major), ("releasever_minor", minor)] {
            values
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        Variables(values)
    }

    /// A text with the variables filled in: `$name` and `${name}`. One that is not known stays.
    pub(super) fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            if filled.len() > MOST_FILLED {
                break;
            }
            filled.push_str(before);
            let (braces, from) = match after.strip_prefix('{') {
                Some(from) => (true, from),
                None => (false, after),
            };
            let length = from
                .bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                .count();
            let (name, behind) = from.split_at(length);
            let behind = match (braces, behind.strip_prefix('}')) {
                (true, Some(behind)) => Some(behind),
                (true, None) => None,
                (false, _) => Some(behind),
            };
            match (self.0.get(name), behind) {
                (Some(value), Some(behind)) => {
                    filled.push_str(value);
                    rest = behind;
                }
                _ => {
                    filled.push('$');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// The version as repositories have it: RHEL and those made of it count the first number only.
fn release_version(release: &str) -> String {
    let value = |name: &str| {
        let mut lines = release.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default()
            .trim_matches(['"', '\''])
            .to_owned()
    };
    let version = value("VERSION_ID");
    let names = format!("{} {}", value("ID"), value("ID_LIKE"));
    let enterprise = names
        .split_ascii_whitespace()
        .any(|name| matches!(name, "rhel" | "centos" | "rocky" | "almalinux" | "ol"));
    match version.split_once('.') {
        Some((major, _)) if enterprise => major.to_owned(),
        _ => version,
    }
}

fn machine(query: &Query) -> String {
    let mut names = query
        .lacking(Family::Rpm)
        .map(|package| &package.architecture);
    let other = names.find(|name| {
        // A 64-bit system has packages of the other kind as well.
        !matches!(
            name.as_str(),
            "" | "noarch" | "i386" | "i486" | "i586" | "i686"
        )
    });
    other.map_or_else(|| std::env::consts::ARCH.into(), Clone::clone)
}

/// The architecture as repositories are named.
fn base(machine: &str) -> &str {
    match machine {
        "i386" | "i486" | "i586" | "i686" | "athlon" => "i386",
        "x86_64" | "amd64" | "x86_64_v2" | "x86_64_v3" => "x86_64",
        "armv7hl" | "armv7hnl" => "armhfp",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions() {
        for (release, expected) in [
            ("ID=fedora\nVERSION_ID=40\n", "40"),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n",
                "9",
            ),
            (
                "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\n",
                "15.6",
            ),
            ("", ""),
        ] {
            assert_eq!(release_version(release), expected);
        }
    }

    #[test]
    fn variables_are_filled_in() {
        let variables = Variables::known(&[("releasever", "9"), ("basearch", "x86_64")]);
        for (text, expected) in [
            (
                "http://h/$releasever/${basearch}/os",
                "http://h/9/x86_64/os",
            ),
            ("$releasever-$other-${basearch", "9-$other-${basearch"),
            ("$", "$"),
        ] {
            assert_eq!(variables.filled(text), expected);
        }
        let long = Variables::known(&[("a", &"x".repeat(MOST_VALUE))]);
        let filled = long.filled(&"$a".repeat(100_000));
        assert!(filled.len() < 300_000, "{}", filled.len());
    }
}
