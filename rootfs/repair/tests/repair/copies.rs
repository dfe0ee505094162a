//! Files out of another system, or copied from there by hand.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::XattrFlags;

use crate::fixture::{LIBRARY, System, run};

const NAMED: &str = "/usr/lib/libsample.so.1";

/// The system as it is now, beside it.
fn other(system: &System) -> PathBuf {
    let other = system.root.with_file_name("other");
    run(Command::new("cp").arg("-a").arg(&system.root).arg(&other));
    other
}

fn from<'a>(what: &'a [&'a str], place: &'a Path) -> Vec<&'a str> {
    [what, &["--from", place.to_str().unwrap()]].concat()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What two `tar`s that unpack into one folder leave.
fn become_a_husk(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::write(path, "").unwrap();
    set_mode(path, 0);
}

#[test]
fn another_system_has_what_is_damaged_here() {
    let system = System::new();
    let other = other(&system);
    let damaged = system.damage(LIBRARY);
    for path in ["usr/lib/libsample.so", "usr/bin/careful"] {
        become_a_husk(&system.path(path));
    }
    fs::remove_dir_all(system.path("usr/share/sample/deep")).unwrap();
    let twins = ["usr/bin/tool", "usr/bin/twin"].map(|path| system.path(path));
    system.damage("usr/bin/tool");

    let all = from(&["--all-damaged"], &other);
    assert_eq!(system.repair_from(&[&all[..], &["--dry-run"]].concat()), 0);
    assert_eq!(system.read(LIBRARY), damaged);
    assert!(!system.path("var/lib/kedge").exists());

    assert_eq!(system.repair_from(&all), 0);
    system.is_whole();
    let [tool, twin] = twins.map(|path| fs::metadata(path).unwrap().ino());
    assert_eq!(tool, twin);
    // A copy gives no rights: who made that system is not known.
    assert_eq!(mode(&system.path("usr/bin/careful")), 0o755);
    assert_eq!(mode(&system.path("usr/share/sample/deep/er/data")), 0o600);
    assert_eq!(mode(&system.path(LIBRARY)), 0o644);
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);

    // Unless the operator says so.
    become_a_husk(&system.path("usr/bin/careful"));
    let believed = from(&["/usr/bin/careful", "--unsigned"], &other);
    assert_eq!(system.repair_from(&believed), 0);
    assert_eq!(mode(&system.path("usr/bin/careful")), 0o4755);
}

#[test]
fn a_copy_by_hand_is_taken_if_it_is_the_file() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let copy = system.root.with_file_name("whatever it is called");
    fs::write(&copy, &whole).unwrap();
    set_mode(&copy, 0o4777);
    system.damage(LIBRARY);
    assert_eq!(system.repair_from(&from(&[NAMED], &copy)), 0);
    system.is_whole();
    assert_eq!(mode(&system.path(LIBRARY)), 0o644);

    // Where nothing is there any more, a mode is made up: programs can be executed.
    fs::remove_file(system.path(LIBRARY)).unwrap();
    assert_eq!(system.repair_from(&from(&[NAMED], &copy)), 0);
    assert_eq!(mode(&system.path(LIBRARY)), 0o644);
    let tool = system.read("usr/bin/tool");
    for path in ["usr/bin/tool", "usr/bin/twin"] {
        fs::remove_file(system.path(path)).unwrap();
    }
    fs::write(&copy, tool).unwrap();
    assert_eq!(system.repair_from(&from(&["/usr/bin/tool"], &copy)), 0);
    assert_eq!(mode(&system.path("usr/bin/tool")), 0o755);

    // Another file is none of it.
    let damaged = system.damage(LIBRARY);
    assert_eq!(system.repair_from(&from(&[NAMED], &copy)), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    // One file is not several.
    let both = from(&[NAMED, "/usr/bin/twin"], &copy);
    assert_eq!(system.repair_from(&both), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    assert!(!system.path("usr/bin/twin").exists());
    system.is_tidy();
}

#[test]
fn what_a_copy_cannot_prove_is_left_alone() {
    let system = System::new();
    let other = other(&system);
    fs::write(other.join(LIBRARY), "damaged there too").unwrap();
    let damaged = system.damage(LIBRARY);
    let careful = system.damage("usr/bin/careful");
    fs::remove_file(other.join("usr/bin/careful")).unwrap();
    let link = system.path("usr/lib/libsample.so");
    become_a_husk(&link);
    fs::remove_file(other.join("usr/lib/libsample.so")).unwrap();
    let names = [NAMED, "/usr/bin/careful", "/usr/lib/libsample.so"];
    for made in [
        // To a version that this system does not have.
        |path: &Path| symlink("libsample.so.2", path).unwrap(),
        // Nobody knows what this must be.
        |path: &Path| fs::write(path, "content").unwrap(),
    ] {
        let there = other.join("usr/lib/libsample.so");
        let _ = fs::remove_file(&there);
        made(&there);
        for name in names {
            assert_eq!(system.repair_from(&from(&[name], &other)), 1, "{name}");
        }
    }
    // Not even outside of that system.
    fs::remove_file(other.join("usr/bin/careful")).unwrap_err();
    let outside = system.root.with_file_name("outside");
    fs::write(&outside, "setuid").unwrap();
    symlink(&outside, other.join("usr/bin/careful")).unwrap();
    assert_eq!(system.repair_from(&from(&[names[1]], &other)), 1);

    assert_eq!(system.read(LIBRARY), damaged);
    assert_eq!(system.read("usr/bin/careful"), careful);
    assert_eq!(fs::read(&link).unwrap(), b"");
    system.is_tidy();
}

#[test]
fn what_a_port_sends_is_taken_if_it_is_the_file() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let send = |content: Vec<u8>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("tcp://{}", listener.local_addr().unwrap());
        let sender = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // It hangs up when it has enough.
            let _ = stream.write_all(&content);
        });
        (place, sender)
    };
    let damaged = system.damage(LIBRARY);
    for wrong in [
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], b"x"].concat(),
        Vec::new(),
    ] {
        let (place, sender) = send(wrong);
        assert_eq!(system.repair_from(&[NAMED, "--from", &place]), 1);
        assert_eq!(system.read(LIBRARY), damaged);
        sender.join().unwrap();
    }
    let (place, sender) = send(whole);
    // It answers once, so it is not asked by who only looks.
    let look = [NAMED, "--from", &place, "--dry-run"];
    assert_eq!(system.repair_from(&look), 0);
    assert_eq!(system.repair_from(&[NAMED, "--from", &place]), 0);
    sender.join().unwrap();
    system.is_whole();
    // Without a checksum the operator alone can believe it.
    let sums = system.path("var/lib/dpkg/info/sample.md5sums");
    fs::write(sums, "").unwrap();
    let careful = "/usr/bin/careful";
    fs::remove_file(system.path(careful)).unwrap();
    let (place, sender) = send(b"new".to_vec());
    assert_eq!(system.repair_from(&[careful, "--from", &place]), 1);
    let unsigned = [careful, "--from", &place, "--unsigned"];
    assert_eq!(system.repair_from(&unsigned), 0);
    sender.join().unwrap();
    assert_eq!(system.read(careful), b"new");
}

#[test]
fn nobody_at_a_port_changes_nothing() {
    let system = System::new();
    let place = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("tcp://{}", listener.local_addr().unwrap())
    };
    system.damage(LIBRARY);
    assert_eq!(system.repair_from(&[NAMED, "--from", &place]), 1);
    system.is_tidy();
}

#[test]
fn a_port_is_asked_once_for_all_names_of_a_file() {
    let system = System::new();
    let tool = system.read("usr/bin/tool");
    let twins = ["usr/bin/tool", "usr/bin/twin"].map(|path| system.path(path));
    system.damage("usr/bin/tool");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("tcp://{}", listener.local_addr().unwrap());
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // As nc does, that waits for one.
        drop(listener);
        stream.write_all(&tool).unwrap();
    });
    assert_eq!(system.repair_from(&["/usr/bin/tool", "--from", &place]), 0);
    sender.join().unwrap();
    system.is_whole();
    let [tool, twin] = twins.map(|path| fs::metadata(path).unwrap().ino());
    assert_eq!(tool, twin);
}

#[test]
fn a_copy_is_of_what_a_named_link_leads_to() {
    let system = System::new();
    let copy = system.root.with_file_name("copy");
    fs::copy(system.path(LIBRARY), &copy).unwrap();
    system.damage(LIBRARY);
    let link = from(&["/usr/lib/libsample.so"], &copy);
    assert_eq!(system.repair_from(&link), 0);
    system.is_whole();
}

#[test]
fn one_copy_is_not_two_files_of_which_nobody_knows_the_content() {
    let system = System::new();
    fs::write(system.path("var/lib/dpkg/info/sample.md5sums"), "").unwrap();
    let copy = system.root.with_file_name("copy");
    fs::copy(system.path(LIBRARY), &copy).unwrap();
    let names = ["/usr/bin/careful", "/usr/share/sample/deep/er/data"];
    for name in names {
        fs::remove_file(system.path(name)).unwrap();
    }
    let both = [names[0], names[1], "--unsigned"];
    assert_eq!(system.repair_from(&from(&both, &copy)), 1);
    assert!(names.iter().all(|name| !system.path(name).exists()));
}

#[test]
fn a_link_waits_for_what_it_leads_to() {
    let system = System::new();
    let other = other(&system);
    fs::remove_file(system.path("usr/lib/libsample.so")).unwrap();
    fs::remove_file(system.path(LIBRARY)).unwrap();
    let all = from(&["--all-damaged"], &other);
    assert_eq!(system.repair_from(&[&all[..], &["--dry-run"]].concat()), 0);
    assert_eq!(system.repair_from(&all), 0);
    system.is_whole();
}

#[test]
fn a_link_that_would_lead_to_itself_is_not_taken() {
    let system = System::new();
    let other = other(&system);
    let link = system.path("usr/lib/libsample.so");
    become_a_husk(&link);
    for leads in ["libsample.so", "back"] {
        symlink("libsample.so", system.path("usr/lib/back")).ok();
        let there = other.join("usr/lib/libsample.so");
        fs::remove_file(&there).unwrap();
        symlink(leads, &there).unwrap();
        let named = from(&["/usr/lib/libsample.so"], &other);
        assert_eq!(system.repair_from(&named), 1);
        assert_eq!(fs::read(&link).unwrap(), b"", "{leads}");
    }
}

#[test]
fn who_only_looks_is_told_what_could_not_be_taken() {
    let system = System::new();
    let other = other(&system);
    let link = "usr/lib/libsample.so";
    become_a_husk(&system.path(link));
    system.damage("usr/bin/careful");
    let dry = |name: &str| system.repair_from(&from(&[name, "--dry-run"], &other));
    let there = |path: &str, made: &[&str]| {
        fs::remove_file(other.join(path)).unwrap();
        run(Command::new(made[0]).args(&made[1..]).arg(other.join(path)));
    };
    there(link, &["ln", "-s", "libsample.so.2"]);
    assert_eq!(dry("/usr/lib/libsample.so"), 1);
    there(link, &["cp", "/dev/null"]);
    assert_eq!(dry("/usr/lib/libsample.so"), 1);
    there("usr/bin/careful", &["mkfifo"]);
    assert_eq!(dry("/usr/bin/careful"), 1);
    there("usr/bin/careful", &["mkdir"]);
    assert_eq!(dry("/usr/bin/careful"), 1);
}

#[test]
fn a_missing_folder_is_no_opener_than_the_other_systems() {
    let system = System::new();
    let data = "/usr/share/sample/deep/er/data";
    let deep = system.path("usr/share/sample/deep");
    set_mode(&deep, 0o700);
    let other = other(&system);
    fs::remove_dir_all(&deep).unwrap();
    assert_eq!(system.repair_from(&from(&[data], &other)), 0);
    assert_eq!(mode(&deep), 0o700);

    // What nobody knows is said.
    fs::remove_dir_all(&deep).unwrap();
    let copy = other.join(data.trim_start_matches('/'));
    let told = said(&system, &from(&[data], &copy));
    let note = "/usr/share/sample/deep: nothing here knows its mode: 0755 was taken";
    assert!(told.contains(note), "{told}");
}

#[test]
fn a_place_without_the_file_is_told_what_was_asked_for() {
    let system = System::new();
    let damaged = system.damage(LIBRARY);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/nowhere", listener.local_addr().unwrap());
    let sender = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            if request[..length].starts_with(b"GET /nowhere/usr/lib/libsample.so.1 ") {
                break;
            }
        }
    });
    let told = said(&system, &[NAMED, "--from", &url]);
    sender.join().unwrap();
    let asked = format!("{url}{NAMED}: it is not there");
    assert!(told.contains(&asked), "{told}");

    let empty = system.root.with_file_name("empty");
    fs::create_dir(&empty).unwrap();
    let told = said(&system, &from(&[NAMED], &empty));
    let asked = format!("{}{NAMED}: it is not there", empty.display());
    assert!(told.contains(&asked), "{told}");

    // What has another content, what to do.
    fs::write(empty.join("copy"), "other").unwrap();
    let told = said(&system, &from(&[NAMED], &empty.join("copy")));
    assert!(told.contains("nothing was changed; --from names"), "{told}");
    let told = said(&system, &from(&[NAMED], &system.root));
    assert!(told.contains("is the very system"), "{told}");
    assert_eq!(system.read(LIBRARY), damaged);
}

#[test]
fn who_only_looks_hears_ctrl_c() {
    let system = System::new();
    system.damage(LIBRARY);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let arguments = system.arguments(&[NAMED, "--from", &url, "--dry-run"]);
    let mut child = crate::killed::child(&arguments).spawn().unwrap();
    // It never gets an answer.
    let _asks = listener.accept().unwrap();
    run(Command::new("kill").args(["-INT", &child.id().to_string()]));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn what_users_of_another_system_noted_stays_there() {
    let system = System::new();
    let other = other(&system);
    let name = c"user.rsync.%stat";
    let note = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        rustix::fs::fsetxattr(file, name, b"100644 0,0 0:0", XattrFlags::empty())
    };
    if note(&other.join(LIBRARY)).is_err() {
        eprintln!("this file system has no attributes");
        return;
    }
    let has = || rustix::fs::getxattr(system.path(LIBRARY), name, &mut [0u8; 64][..]).is_ok();
    system.damage(LIBRARY);
    assert_eq!(system.repair_from(&from(&[NAMED], &other)), 0);
    assert!(!has());
    system.damage(LIBRARY);
    let unsigned = [NAMED, "--unsigned"];
    assert_eq!(system.repair_from(&from(&unsigned, &other)), 0);
    assert!(has());
}

#[test]
fn unsigned_believes_a_copy_where_nothing_speaks_against_the_file() {
    let system = System::new();
    let other = other(&system);
    fs::write(system.path("var/lib/dpkg/info/sample.md5sums"), "").unwrap();
    let careful = system.damage("usr/bin/careful");
    for place in [other.clone(), other.join("usr/bin/careful")] {
        fs::write(system.path("usr/bin/careful"), &careful).unwrap();
        let named = ["/usr/bin/careful"];
        assert_eq!(system.repair_from(&from(&named, &place)), 0);
        assert_eq!(system.read("usr/bin/careful"), careful);
        let unsigned = [named[0], "--unsigned"];
        assert_eq!(system.repair_from(&from(&unsigned, &place)), 0);
        assert_eq!(system.read("usr/bin/careful"), b"setuid");
    }
    // What leads to it stays a link.
    let link = ["/usr/lib/libsample.so", "--unsigned"];
    let library = other.join(LIBRARY);
    assert_eq!(system.repair_from(&from(&link, &library)), 0);
    assert!(system.path(link[0]).is_symlink());
}

/// What a process of its own says.
fn said(system: &System, arguments: &[&str]) -> String {
    let output = crate::killed::child(&system.arguments(arguments)).output();
    let output = output.unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}
