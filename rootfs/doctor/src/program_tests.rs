//! What is said of programs of which one part is broken: `ls` of this machine, as dpkg knows it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use crate::Gravity;
use crate::closure::Closure;
use crate::examine_tests::Small;
use crate::program::{Diagnosis, diagnose};
use crate::trouble::Trouble;

const LIBRARY: &str = "lib/x86_64-linux-gnu/libpcre2-8.so.0";
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";

/// `program` with all that it loads, in a tree of which `/bin` is `/usr/bin`, and so on. dpkg knows links by their names
/// only. No link of it is absolute: what a test changes is in the tree.
pub(crate) fn installed(name: &str, program: &str) -> Small {
    let host = Sysroot::open(Path::new("/")).unwrap();
    let closure = Closure::of(&host, Path::new(program)).unwrap();
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    for member in &closure.members {
        let real = member.real.clone().unwrap();
        let folder = host.real_path(member.path.parent().unwrap()).unwrap();
        let path = folder.join(member.path.file_name().unwrap());
        if real != path {
            links.insert(path, real.clone());
        }
        files.insert(real.clone(), fs::read(Path::new("/").join(&real)).unwrap());
    }
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let all = files
        .iter()
        .map(|(path, bytes)| (text(path), bytes.clone()));
    let small = Small::new(name, &BTreeMap::from([("all".to_string(), all.collect())]));
    for path in files.keys() {
        let mode = fs::metadata(Path::new("/").join(path))
            .unwrap()
            .permissions();
        fs::set_permissions(small.path(&text(path)), mode).unwrap();
    }
    for folder in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(small.path(&format!("usr/{folder}"))).unwrap();
        symlink(format!("usr/{folder}"), small.path(folder)).unwrap();
    }
    let etc = small.path("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache")).unwrap();
    for (path, real) in links {
        small.list("all", &text(&path));
        let place = small.path(&text(&path));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let up = "../".repeat(path.components().count() - 1);
        symlink(Path::new(&up).join(real), place).unwrap();
    }
    small
}

pub(crate) fn ask(small: &Small, program: &str) -> Diagnosis {
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    diagnose(&root, &databases, &[PathBuf::from(program)])
}

/// What is told first, as it is printed.
fn first(small: &Small, program: &str) -> (Gravity, String) {
    let diagnosis = ask(small, program);
    assert!(
        diagnosis.complaints.is_empty(),
        "{:?}",
        diagnosis.complaints
    );
    match diagnosis.troubles.first() {
        Some(trouble) => (
            trouble.gravity,
            trouble.text().replace("\n           ", " "),
        ),
        None => (Gravity::Whole, String::new()),
    }
}

/// Where a path is, without links: the kernel would follow an absolute one out of the tree.
pub(crate) fn inside(small: &Small, path: &str) -> PathBuf {
    let path = Path::new(path);
    let folder = small.root().real_path(path.parent().unwrap()).unwrap();
    small.path(folder.join(path.file_name().unwrap()).to_str().unwrap())
}

pub(crate) fn put(small: &Small, path: &str, content: &[u8], mode: u32) {
    fs::create_dir_all(small.path(path).parent().unwrap()).unwrap();
    let place = inside(small, path);
    let _ = fs::remove_file(&place);
    fs::write(&place, content).unwrap();
    chmod(small, path, mode);
}

pub(crate) fn chmod(small: &Small, path: &str, mode: u32) {
    let real = small.root().real_path(Path::new(path)).unwrap();
    let place = small.path(real.to_str().unwrap());
    assert!(!fs::symlink_metadata(&place).unwrap().is_symlink());
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

/// Bytes that are no file of any kind.
fn noise() -> Vec<u8> {
    (1..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80)
        .collect()
}

#[test]
fn nothing_is_said_of_whole_programs() {
    for program in ["/bin/ls", "/usr/sbin/sshd", "/bin/su", "/bin/mount"] {
        let small = installed(&format!("whole{}", program.replace('/', "-")), program);
        let (gravity, text) = first(&small, program);
        assert_eq!(gravity, Gravity::Whole, "{text}");
    }
}

#[test]
fn a_library_that_is_no_elf_file_is_told_though_dpkg_knows_its_name_only() {
    let small = installed("husks", "/bin/ls");
    for (content, says) in [
        (Vec::new(), "file too short"),
        (noise(), "invalid ELF header"),
    ] {
        put(&small, LIBRARY, &content, 0o644);
        let (gravity, text) = first(&small, "/bin/ls");
        assert_eq!(gravity, Gravity::Fatal, "{text}");
        let says = format!("error while loading shared libraries: /{LIBRARY}: {says}");
        assert!(
            text.contains(&says) && text.contains("ls dies at start"),
            "{text}"
        );
        assert!(text.contains("next: repair"), "{text}");
        // Asked about itself it is no better.
        assert_eq!(first(&small, LIBRARY).0, Gravity::Fatal);
    }
    // What takes its place has a mode of its own.
    put(&small, LIBRARY, b"", 0);
    let (_, text) = first(&small, "/bin/ls");
    assert!(text.contains("next: repair"), "{text}");
    assert!(!text.contains("chmod"), "{text}");
}

#[test]
fn an_interpreter_that_is_no_elf_file_is_told() {
    let small = installed("interpreter", "/bin/ls");
    for content in [Vec::new(), noise()] {
        put(&small, LOADER, &content, 0o755);
        let (gravity, text) = first(&small, "/bin/ls");
        assert_eq!(gravity, Gravity::Fatal, "{text}");
        assert!(text.contains(LOADER) && text.contains("kernel"), "{text}");
    }
}

#[test]
fn a_preloaded_library_that_is_none_is_told() {
    let small = installed("preload", "/bin/ls");
    put(
        &small,
        "etc/ld.so.preload",
        b"/usr/local/lib/mine.so\n",
        0o644,
    );
    put(&small, "usr/local/lib/mine.so", &noise(), 0o644);
    let (gravity, text) = first(&small, "/bin/ls");
    assert_eq!(gravity, Gravity::Damaged, "{text}");
    assert!(
        text.contains("cannot be preloaded (invalid ELF header)"),
        "{text}"
    );
}

#[test]
fn what_nobody_s_package_has_is_told_when_nothing_can_start_it() {
    let small = installed("own", "/bin/ls");
    for (content, gravity) in [
        (Vec::new(), Gravity::Fatal),
        (noise(), Gravity::Fatal),
        // A shell takes it for its own.
        (b"echo hello\n".to_vec(), Gravity::Odd),
    ] {
        put(&small, "usr/local/bin/e", &content, 0o755);
        let (is, text) = first(&small, "/usr/local/bin/e");
        assert_eq!(is, gravity, "{text}");
    }
    put(&small, "usr/share/doc/words", b"words\n", 0o644);
    assert_eq!(first(&small, "/usr/share/doc/words").0, Gravity::Whole);
}

#[test]
fn what_may_not_be_executed_is_told_with_what_to_type() {
    let small = installed("rights", "/bin/ls");
    chmod(&small, "bin/ls", 0o644);
    let (gravity, text) = first(&small, "/bin/ls");
    assert_eq!(gravity, Gravity::Fatal, "{text}");
    let outside = small.path("usr/bin/ls");
    assert!(
        text.contains(&format!("next: chmod 0755 {}", outside.display())),
        "{text}"
    );
    assert!(text.contains("Permission denied"), "{text}");
    chmod(&small, "bin/ls", 0o755);

    chmod(&small, LOADER, 0o644);
    assert_eq!(first(&small, "/bin/ls").0, Gravity::Fatal);
    chmod(&small, LOADER, 0o755);

    let libc = "lib/x86_64-linux-gnu/libc.so.6";
    for (mode, gravity) in [(0, Gravity::Damaged), (0o750, Gravity::Rights)] {
        chmod(&small, libc, mode);
        let (is, text) = first(&small, "/bin/ls");
        assert_eq!(is, gravity, "{text}");
        assert!(text.contains(&format!("{mode:04o}")), "{text}");
    }
}

#[test]
fn su_without_its_setuid_bit_is_told() {
    let small = installed("setuid", "/bin/su");
    chmod(&small, "bin/su", 0o755);
    let (gravity, text) = first(&small, "/bin/su");
    assert_eq!(gravity, Gravity::Rights, "{text}");
    assert!(text.contains("next: chmod 4755"), "{text}");
}

#[test]
fn a_link_that_leads_nowhere_is_mended_at_its_end() {
    let small = installed("link", "/bin/ls");
    symlink("ls", inside(&small, "bin/dir")).unwrap();
    small.list("all", "bin/dir");
    fs::remove_file(inside(&small, "bin/ls")).unwrap();
    let (gravity, text) = first(&small, "/bin/dir");
    assert_eq!(gravity, Gravity::Fatal, "{text}");
    assert!(
        text.contains("it leads to /usr/bin/ls, which is not there"),
        "{text}"
    );
    let root = small.path("").display().to_string();
    let next = format!("next: repair {} /usr/bin/ls\n", root.trim_end_matches('/'));
    assert!(text.contains(&next), "{text}");
}

/// A name that the file system does not take stands in for a damaged one: what is neither there nor not there.
#[test]
fn what_the_file_system_does_not_give_is_not_called_absent() {
    let small = installed("loop", "/bin/ls");
    fs::remove_file(inside(&small, LIBRARY)).unwrap();
    symlink("libpcre2-8.so.0", inside(&small, LIBRARY)).unwrap();
    let diagnosis = ask(&small, "/bin/ls");
    let text: String = diagnosis.troubles.iter().map(Trouble::text).collect();
    assert!(text.contains("Too many levels"), "{text}");
    assert!(!text.contains("is not there"), "{text}");
}

#[test]
fn a_link_to_another_library_is_told_with_the_one_that_is_meant() {
    let small = installed("swapped", "/bin/ls");
    let link = inside(&small, LIBRARY);
    let meant = fs::read_link(&link).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("libselinux.so.1", &link).unwrap();
    let (gravity, text) = first(&small, "/bin/ls");
    assert_eq!(gravity, Gravity::Fatal, "{text}");
    assert!(text.contains("it calls itself libselinux.so.1; "), "{text}");
    let next = format!("next: ln -sfn {} ", meant.file_name().unwrap().display());
    assert!(text.contains(&next), "{text}");

    // A link to a successor has no such neighbour.
    fs::remove_file(link.with_file_name(meant.file_name().unwrap())).unwrap();
    let text: String = ask(&small, "/bin/ls")
        .troubles
        .iter()
        .map(Trouble::text)
        .collect();
    assert!(!text.contains("another library"), "{text}");
}

/// As many bytes, which are something else.
fn patch(small: &Small, path: &str, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let place = inside(small, path);
    let mut bytes = fs::read(&place).unwrap();
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    fs::write(place, bytes).unwrap();
}

#[test]
fn a_version_that_the_library_does_not_have_is_told() {
    let small = installed("versions", "/bin/ls");
    patch(&small, "bin/ls", b"LIBSELINUX_1.0", b"LIBSELINUX_9.0");
    let troubles = ask(&small, "/bin/ls").troubles;
    let told = troubles
        .iter()
        .find(|t| t.headline.contains("has no version LIBSELINUX_9.0"));
    let (_, says) = &told.expect("it needs one that is not there").facts[0];
    assert!(
        says.contains("version `LIBSELINUX_9.0' not found"),
        "{says}"
    );
}

#[test]
fn the_origin_is_replaced_in_what_is_needed() {
    let small = installed("origin", "/bin/ls");
    patch(&small, "bin/ls", b"libselinux.so.1", b"$ORIGIN/x.so.12");
    let library = fs::read(inside(&small, "lib/x86_64-linux-gnu/libselinux.so.1")).unwrap();
    put(&small, "usr/bin/x.so.12", &library, 0o644);
    let closure = Closure::of(&small.root(), Path::new("/bin/ls")).unwrap();
    assert_eq!(closure.absent, []);
    let found = Path::new("usr/bin/x.so.12");
    assert!(
        closure
            .members
            .iter()
            .any(|m| m.real.as_deref() == Some(found))
    );
}

#[test]
fn the_link_of_a_merged_usr_is_the_cause() {
    let small = installed("merged", "/bin/ls");
    fs::remove_file(small.path("lib64")).unwrap();
    let (gravity, text) = first(&small, "/usr/bin/ls");
    assert_eq!(gravity, Gravity::Fatal, "{text}");
    assert!(
        text.starts_with("/lib64 is not there, and must be a link to usr/lib64"),
        "{text}"
    );
    let outside = small.path("lib64").display().to_string();
    assert!(
        text.contains(&format!("next: ln -s usr/lib64 {outside}\n")),
        "{text}"
    );
}

#[test]
fn a_path_from_outside_and_a_bare_name_mean_the_program() {
    let small = installed("meant", "/bin/ls");
    let root = small.root();
    let meant = |typed: &Path| crate::links::meant(&root, typed);
    assert_eq!(meant(&small.path("usr/bin/ls")), Path::new("usr/bin/ls"));
    assert_eq!(meant(Path::new("ls")), Path::new("usr/bin/ls"));
    let above = small.path("usr/..");
    let root = Sysroot::open(&above).unwrap();
    let typed = small.path("usr/bin/ls");
    let below = crate::links::meant(&root, &typed);
    assert_eq!(below, Path::new("usr/bin/ls"), "however ROOT is named");
    for same in ["/bin/ls", "nothing", "/usr/nothing"] {
        assert_eq!(meant(Path::new(same)), Path::new(same));
    }
}

#[test]
fn a_module_that_pam_goes_on_without_is_odd_only() {
    let small = installed("minor", "/bin/su");
    let mut list = String::from("session optional pam_nothing.so\n");
    for (more, gravity) in [
        ("", Gravity::Odd),
        ("auth required pam_nothing.so\n", Gravity::Damaged),
    ] {
        list += more;
        put(&small, "etc/pam.d/su", list.as_bytes(), 0o644);
        let troubles = ask(&small, "/bin/su").troubles;
        let told = troubles
            .iter()
            .find(|t| t.headline.starts_with("pam_nothing.so is not there"));
        assert_eq!(told.map(|t| t.gravity), Some(gravity));
    }
}

#[test]
fn a_path_in_a_command_is_quoted() {
    let small = installed("quoted", "/bin/ls");
    put(&small, "usr/bin/a$(touch x)b", b"", 0o755);
    let (_, text) = first(&small, "/usr/bin/a$(touch x)b");
    assert!(!text.contains("next: repair"), "no package has it: {text}");
    let library = "usr/lib/$(x)/libselinux.so.1";
    let content = fs::read(inside(&small, "lib/x86_64-linux-gnu/libselinux.so.1")).unwrap();
    put(&small, library, &content, 0o644);
    let link = inside(&small, "lib/x86_64-linux-gnu/libselinux.so.1");
    fs::remove_file(&link).unwrap();
    put(
        &small,
        "etc/ld.so.preload",
        format!("/{library}\n").as_bytes(),
        0o644,
    );
    patch(&small, "bin/ls", b"LIBSELINUX_1.0", b"LIBSELINUX_9.0");
    let next: Vec<String> = ask(&small, "/bin/ls")
        .troubles
        .into_iter()
        .flat_map(|t| t.next)
        .collect();
    assert!(
        next.iter()
            .any(|next| next.contains(&format!("'/{library}'"))),
        "{next:?}"
    );
    let bare = |next: &String| next.replace(&format!("'/{library}'"), "").contains("$(");
    assert!(!next.iter().any(bare), "{next:?}");
}
