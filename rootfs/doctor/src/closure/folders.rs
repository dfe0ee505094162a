//! The folders in which a dynamic linker looks by itself, and those that a library's own words name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use super::Machine;

/// A list of folders is no longer than this.
const LONGEST: u64 = 1 << 20;
/// `include` in an `include`, and so on.
const DEEPEST: usize = 8;
const MOST: usize = 1000;

/// Folders that glibc's dynamic linker knows without being told, for any distribution; those for other machines are told
/// by what lies in them.
pub(super) fn glibc(machine: Machine) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(triplet) = machine.triplet() {
        folders.extend([format!("lib/{triplet}"), format!("usr/lib/{triplet}")]);
    }
    if machine.is_64 {
        folders.extend(["lib64", "usr/lib64"].map(String::from));
    }
    folders.extend(["lib", "usr/lib"].map(String::from));
    if !machine.is_64 {
        folders.extend(["lib32", "usr/lib32"].map(String::from));
    }
    folders.into_iter().map(PathBuf::from).collect()
}

/// `/etc/ld-musl-ARCH.path`, or what musl knows without it (ldso/dynlink.c).
pub(super) fn musl(root: &Sysroot, interpreter: &Path) -> Vec<PathBuf> {
    let name = interpreter
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let stem = name.strip_suffix(".so.1").unwrap_or(&name);
    match root.read(Path::new(&format!("etc/{stem}.path")), LONGEST) {
        Ok(text) => text
            .split(|&b| b == b'\n' || b == b':')
            .filter(|folder| !folder.is_empty())
            .take(MOST)
            .map(super::path)
            .collect(),
        Err(_) => ["lib", "usr/local/lib", "usr/lib"]
            .map(PathBuf::from)
            .into(),
    }
}

/// The folders of `/etc/ld.so.conf` with what it includes: `ldconfig` looks there, the dynamic linker does not
/// (ldconfig(8)).
pub(super) fn configured(root: &Sysroot) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut seen = BTreeSet::new();
    read(
        root,
        Path::new("etc/ld.so.conf"),
        0,
        &mut seen,
        &mut folders,
    );
    folders
}

fn read(
    root: &Sysroot,
    path: &Path,
    depth: usize,
    seen: &mut BTreeSet<PathBuf>,
    folders: &mut Vec<PathBuf>,
) {
    if depth > DEEPEST || !seen.insert(path.to_path_buf()) {
        return;
    }
    let Ok(text) = root.read(path, LONGEST) else {
        return;
    };
    for line in text.split(|&b| b == b'\n') {
        let line = line.split(|&b| b == b'#').next().unwrap_or_default();
        let line = line.trim_ascii();
        let word = line
            .strip_prefix(b"include")
            .filter(|rest| rest.starts_with(b" ") || rest.starts_with(b"\t"));
        if let Some(pattern) = word {
            for file in matching(root, &super::path(pattern.trim_ascii())) {
                read(root, &file, depth + 1, seen, folders);
            }
        } else if !line.is_empty() && !line.starts_with(b"hwcap") && folders.len() < MOST {
            // `folder=libc6` was a way to say the type.
            let folder = line.split(|&b| b == b'=').next().unwrap_or_default();
            folders.push(super::path(folder.trim_ascii()));
        }
    }
}

/// Files that the last part of `pattern`, with `*`, names; relative ones are in `/etc`.
fn matching(root: &Sysroot, pattern: &Path) -> Vec<PathBuf> {
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let folder = match pattern.starts_with("etc") || folder.components().count() > 1 {
        true => folder.to_path_buf(),
        false => Path::new("etc").join(folder),
    };
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((before, after)) = name.split_once('*') else {
        return vec![folder.join(&*name)];
    };
    let mut names = root.read_dir(&folder).unwrap_or_default();
    names.retain(|one| {
        let one = one.name.to_string_lossy();
        !one.starts_with('.')
            && one.len() >= before.len() + after.len()
            && one.starts_with(before)
            && one.ends_with(after)
    });
    names.sort_by(|a, b| a.name.cmp(&b.name));
    names.iter().map(|one| folder.join(&one.name)).collect()
}

/// The subfolders of `glibc-hwcaps` that this processor can use, best first (glibc's sysdeps/x86_64/dl-hwcaps_subdirs.c).
pub(super) fn hwcaps(machine: Machine) -> &'static [&'static str] {
    let all: &[&str] = &["x86-64-v4", "x86-64-v3", "x86-64-v2"];
    match machine.is_x86_64() {
        true => &all[all.len() - level()..],
        false => &[],
    }
}

#[cfg(target_arch = "x86_64")]
fn level() -> usize {
    macro_rules! has {
        ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature) &&)* true };
    }
    let second = has!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "cmpxchg16b");
    let third = second && has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
    let fourth = third && has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
    usize::from(second) + usize::from(third) + usize::from(fourth)
}

#[cfg(not(target_arch = "x86_64"))]
fn level() -> usize {
    0
}

/// `$ORIGIN`, `$LIB`, `$PLATFORM` in `DT_RPATH` and `DT_RUNPATH` (ld.so(8)): the folders that are meant, without
/// leading `/`. `origin` is the folder of the file that says so.
pub(super) fn named(word: &str, origin: &Path, machine: Machine) -> Vec<PathBuf> {
    let origin = format!("/{}", origin.display());
    let put = |name: &str, value: &str, word: &str| {
        word.replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value)
    };
    let word = put("ORIGIN", &origin, word);
    let word = put("PLATFORM", machine.platform(), &word);
    let libs: Vec<String> = match machine.triplet() {
        _ if !word.contains("$LIB") && !word.contains("${LIB}") => vec![word],
        // Which of them it is was decided when the dynamic linker was built.
        triplet => {
            let triplet = triplet.map(|triplet| format!("lib/{triplet}"));
            let lib64 = machine.is_64.then(|| "lib64".to_string());
            let all = triplet.into_iter().chain(lib64).chain(["lib".into()]);
            all.map(|lib| put("LIB", &lib, &word)).collect()
        }
    };
    let absolute = libs.iter().filter(|folder| folder.starts_with('/'));
    absolute
        .map(|folder| super::path(folder.as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: Machine = Machine {
        is_64: true,
        number: 62,
    };

    #[test]
    fn words_in_a_runpath_are_replaced() {
        let named = |word| named(word, Path::new("opt/app/bin"), X86_64);
        assert_eq!(named("$ORIGIN/../lib"), [Path::new("opt/app/bin/../lib")]);
        assert_eq!(named("${ORIGIN}"), [Path::new("opt/app/bin")]);
        assert_eq!(
            named("/opt/$LIB/$PLATFORM"),
            [
                "opt/lib/x86_64-linux-gnu/x86_64",
                "opt/lib64/x86_64",
                "opt/lib/x86_64"
            ]
            .map(PathBuf::from)
        );
        // Relative to wherever a program is started: no place of ROOT's.
        assert!(named("lib").is_empty());
    }

    #[test]
    fn included_lists_are_followed_once() {
        let folder = std::env::temp_dir().join(format!("kedge-ldconf-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("etc/ld.so.conf.d")).unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.join("etc").join(name), text).unwrap();
        write(
            "ld.so.conf",
            "include /etc/ld.so.conf.d/*.conf\n/opt/last\n",
        );
        write(
            "ld.so.conf.d/b.conf",
            "# words\n/opt/b # why\ninclude ld.so.conf\n",
        );
        write("ld.so.conf.d/a.conf", "/opt/a=libc6\n");
        write("ld.so.conf.d/c.dpkg-old", "/opt/no\n");
        let root = Sysroot::open(&folder).unwrap();
        assert_eq!(
            configured(&root),
            ["opt/a", "opt/b", "opt/last"].map(PathBuf::from)
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
