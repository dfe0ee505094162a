//! File systems that cannot take a repair, and disks that should not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::fixture::{LIBRARY, System, folder, run};

/// A system on a small ext4 of its own.
struct Mounted {
    system: Option<System>,
    mount: std::path::PathBuf,
}

impl Mounted {
    fn new() -> Mounted {
        let folder = folder();
        let image = folder.join("image");
        run(Command::new("truncate").args(["-s", "8M"]).arg(&image));
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .arg(&image));
        let mount = folder.join("root");
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&mount));
        let system = System::at(folder, mount.clone());
        Mounted {
            system: Some(system),
            mount,
        }
    }

    fn system(&self) -> &System {
        self.system.as_ref().unwrap()
    }

    fn remount(&self, option: &str) {
        run(Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.mount));
    }

    /// The kernel's name of the device.
    fn device(&self) -> String {
        let found = run(Command::new("findmnt")
            .args(["-no", "SOURCE"])
            .arg(&self.mount));
        let device = String::from_utf8(found.stdout).unwrap();
        device.trim().trim_start_matches("/dev/").to_string()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount).status();
        self.system = None;
    }
}

#[test]
fn read_only_is_refused_and_says_so() {
    let mounted = Mounted::new();
    let system = mounted.system();
    let damaged = system.damage(LIBRARY);
    mounted.remount("ro");
    for more in [&["--all-damaged"][..], &["--all-damaged", "--force"]] {
        assert_eq!(system.repair(more), 3);
    }
    assert_eq!(system.read(LIBRARY), damaged);
    mounted.remount("rw");
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
}

#[test]
fn a_full_file_system_keeps_what_it_has() {
    let mounted = Mounted::new();
    let system = mounted.system();
    let damaged = system.damage(LIBRARY);
    let filler = system.path("filler");
    // Until the last block; it is meant to fail.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k"])
        .arg(format!("of={}", filler.display()))
        .output();
    assert!(!filled.unwrap().status.success());
    assert_eq!(system.repair(&["--all-damaged"]), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    system.is_tidy();
    // Some room, and less than the library takes.
    let length = fs::metadata(&filler).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&filler)
        .unwrap()
        .set_len(length - 400_000)
        .unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    system.is_tidy();
    let kept = fs::read_dir(system.path("var/lib/kedge/quarantine"))
        .unwrap()
        .count();
    assert_eq!(kept, 0);
    fs::remove_file(filler).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
}

#[test]
fn what_may_not_be_changed_is_told() {
    let mounted = Mounted::new();
    let system = mounted.system();
    let damaged = system.damage(LIBRARY);
    for (flag, path) in [("i", LIBRARY), ("i", "usr/lib"), ("a", LIBRARY)] {
        run(Command::new("chattr")
            .arg(format!("+{flag}"))
            .arg(system.path(path)));
        assert_eq!(system.repair(&["--all-damaged"]), 1);
        assert_eq!(system.read(LIBRARY), damaged);
        system.is_tidy();
        run(Command::new("chattr")
            .arg(format!("-{flag}"))
            .arg(system.path(path)));
    }
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
}

#[test]
fn a_failing_disk_is_left_alone() {
    let mounted = Mounted::new();
    let system = mounted.system();
    let damaged = system.damage(LIBRARY);
    let device = mounted.device();
    let arguments = |more: &[&str]| {
        let package = system.package.to_str().unwrap().to_string();
        system.arguments(&[&["--all-damaged", "--from", &package][..], more].concat())
    };
    let other = system.place("3,1,1,-;I/O error, dev sdzz, sector 8 op 0x0:(READ) flags 0x0\n");
    assert_eq!(kedge_repair::run(&other, &arguments(&["--dry-run"])), 0);
    let log = format!("3,1,1,-;I/O error, dev {device}, sector 8 op 0x0:(READ) flags 0x80700\n");
    let failing = system.place(&log);
    assert_eq!(kedge_repair::run(&failing, &arguments(&[])), 3);
    assert_eq!(kedge_repair::run(&failing, &arguments(&["--dry-run"])), 3);
    assert_eq!(system.read(LIBRARY), damaged);
    assert!(!system.path("var/lib/kedge").exists());
    assert_eq!(kedge_repair::run(&failing, &arguments(&["--force"])), 0);
    system.is_whole();
}

#[test]
fn an_undo_asks_first_whether_the_disk_can_take_it() {
    let mounted = Mounted::new();
    let system = mounted.system();
    system.damage(LIBRARY);
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    let log = format!(
        "3,1,1,-;I/O error, dev {}, sector 8 op 0x0:(READ) flags 0x80700\n",
        mounted.device()
    );
    let failing = system.place(&log);
    let undo = |more: &[&str]| {
        let arguments = [&["--undo", "1"], more].concat();
        kedge_repair::run(&failing, &system.arguments(&arguments))
    };
    assert_eq!((undo(&[]), undo(&["--dry-run"])), (3, 3));
    mounted.remount("ro");
    assert_eq!((undo(&[]), undo(&["--force"])), (3, 3));
    mounted.remount("rw");
    system.is_whole();
    assert_eq!(undo(&["--force"]), 0);
}

/// A damaged inode may say any length; so may one that somebody made.
#[test]
fn a_file_without_end_is_replaced_and_comes_back() {
    let system = System::new();
    let library = system.path(LIBRARY);
    let opened = fs::OpenOptions::new().write(true).open(&library);
    opened.unwrap().set_len(400 << 30).unwrap();
    let length = || fs::metadata(&library).unwrap().len();
    let began = std::time::Instant::now();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 0);
    system.is_whole();
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
    assert_eq!(length(), 400 << 30);
    assert_eq!(system.repair_from(&["--undo", "2"]), 0);
    system.is_whole();
    assert!(began.elapsed().as_secs() < 60);
}

#[test]
fn what_is_kept_may_be_on_another_file_system() {
    let mounted = Mounted::new();
    let other = folder();
    let system = mounted.system();
    let kept = system.path("var/lib/kedge");
    fs::create_dir_all(&kept).unwrap();
    run(Command::new("mount").arg("--bind").arg(&other).arg(&kept));
    let damaged = system.damage(LIBRARY);
    let library = system.path(LIBRARY);
    run(Command::new("setcap").arg("cap_net_raw=ep").arg(&library));
    let link = system.path("usr/lib/libsample.so");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    run(Command::new("touch")
        .args(["-hd", "@1600000000"])
        .arg(&link));
    run(Command::new("chown").args(["-h", "123:45"]).arg(&link));
    let repaired = system.repair(&["/usr/lib/libsample.so", "/usr/lib/libsample.so.1"]);
    let mut undone = Vec::new();
    if repaired == 0 {
        system.is_whole();
        undone = ["1", "2"]
            .iter()
            .map(|number| system.repair_from(&["--undo", number]))
            .collect();
    }
    let library = system.read(LIBRARY);
    let leads = fs::read_link(&link).unwrap();
    let capabilities = run(Command::new("getcap").arg(system.path(LIBRARY))).stdout;
    let stat = fs::symlink_metadata(&link).unwrap();
    run(Command::new("umount").arg(&kept));
    assert_eq!((repaired, undone), (0, vec![0, 0]));
    assert_eq!(library, damaged);
    assert_eq!(leads, Path::new("elsewhere"));
    assert!(String::from_utf8_lossy(&capabilities).contains("cap_net_raw=ep"));
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mtime()),
        (123, 45, 1_600_000_000)
    );
    fs::remove_dir_all(other).unwrap();
}

#[test]
fn two_do_not_meet() {
    let system = System::new();
    system.damage(LIBRARY);
    fs::write(system.path("var/lib/dpkg/lock"), "").unwrap();
    // As dpkg does it: the whole file, by fcntl(2), in another process.
    let script = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()";
    for path in ["var/lib/dpkg/lock", "var/lib/kedge/lock"] {
        let flock = path.contains("kedge");
        let script = if flock {
            script.replace("lockf", "flock")
        } else {
            script.to_string()
        };
        let mut holder = Command::new("python3")
            .args(["-c", &script])
            .arg(system.path(path))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        assert_eq!(system.repair(&["--all-damaged"]), 3, "{path}");
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
}
