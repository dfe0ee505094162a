//! Loads a repaired program or library with ROOT's own dynamic linker, as `ldd -r` does: does it map it, find all that it
//! needs, and can it relocate it?
//!
//! That runs code of ROOT (the linker, and resolvers of symbols), so it runs as nobody, in ROOT as its root, without
//! network, without seeing other processes, and not for long. No shell of ROOT is used.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kedge_sysroot::Sysroot;
use rustix::fs::OFlags;

/// No linker needs so long, from the slowest disk.
const LONGEST: Duration = Duration::from_secs(10);
/// How much later the waiter must have ended it.
const GRACE: Duration = Duration::from_secs(5);
/// What it may say.
const MOST_SAID: u64 = 1 << 20;
/// What it may map.
const MOST_MEMORY: u64 = 2 << 30;
/// `nobody`, in every family.
const NOBODY: u32 = 65534;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// It loads. With what the linker said of symbols that it did not find, which is usual for plugins.
    Loads(Vec<String>),
    /// It does not, and this is what the linker said.
    Fails(String),
    /// It could not be tried.
    Untried(String),
}

/// Tries the file at `path` (below ROOT, without links), whose interpreter is `interpreter` (as the file names it).
pub(crate) fn load(root: &Sysroot, interpreter: &Path, path: &Path) -> Trial {
    if !is_everybodys(root, path) {
        return Trial::Untried(
            "it is tried as nobody, who may not read it (that is no fault)".into(),
        );
    }
    let musl = interpreter.to_string_lossy().contains("ld-musl");
    if !musl {
        // 0: a program; 2: a library.
        match run(root, interpreter, &["--verify"], path, false) {
            Ok(Ran { status, .. }) if matches!(status.code(), Some(0 | 2)) => {}
            Ok(ran) => {
                return Trial::Fails(ran.words("does not take it for something it can load"));
            }
            Err(why) => return Trial::Untried(why),
        }
    }
    let list: &[&str] = if musl { &["--list"] } else { &[] };
    match run(root, interpreter, list, path, !musl) {
        Ok(ran) if ran.status.success() => {
            let is_missing = |line: &&str| {
                line.contains("=> not found")
                    || line.contains("not found (required by")
                    || line.contains("Error loading")
            };
            if let Some(line) = ran.said.lines().find(is_missing) {
                return Trial::Fails(line.trim().to_string());
            }
            let is_symbol = |line: &&str| {
                line.contains("undefined symbol") || line.contains("symbol not found")
            };
            Trial::Loads(
                ran.said
                    .lines()
                    .filter(is_symbol)
                    .map(|line| line.trim().to_string())
                    .collect(),
            )
        }
        Ok(ran) => Trial::Fails(ran.words("does not load it")),
        Err(why) => Trial::Untried(why),
    }
}

/// Whether everybody may read the file, and reach it.
fn is_everybodys(root: &Sysroot, path: &Path) -> bool {
    path.ancestors().enumerate().all(|(above, path)| {
        let needed = if above == 0 { 0o004 } else { 0o001 };
        // What cannot be seen is told by the linker.
        root.metadata(path)
            .map_or(true, |stat| stat.st_mode & needed != 0)
    })
}

/// A linker that ran.
struct Ran {
    status: ExitStatus,
    said: String,
}

impl Ran {
    fn words(&self, otherwise: &str) -> String {
        let line = self
            .said
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty());
        let line = line.unwrap_or(otherwise);
        match self.status.signal() {
            Some(signal) => format!("killed by signal {signal}: {line}"),
            None => line.to_string(),
        }
    }
}

/// Runs `interpreter OPTIONS PATH` in ROOT.
fn run(
    root: &Sysroot,
    interpreter: &Path,
    options: &[&str],
    path: &Path,
    trace: bool,
) -> Result<Ran, String> {
    let folder = root
        .handle(Path::new(""), OFlags::DIRECTORY)
        .map_err(|error| error.to_string())?;
    let mut command = Command::new(interpreter);
    command
        .args(options)
        .arg(Path::new("/").join(path))
        .env_clear();
    if trace {
        command.envs([
            ("LD_TRACE_LOADED_OBJECTS", "1"),
            ("LD_WARN", "yes"),
            ("LD_BIND_NOW", "yes"),
        ]);
    }
    let (mut reader, writer) = io::pipe().map_err(|error| error.to_string())?;
    let again = writer.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(again);
    let dot = CString::from(c".");
    let folder_number = folder.as_raw_fd();
    // SAFETY: between fork and exec only system calls are made (async-signal-safe), on memory that was made before.
    unsafe { command.pre_exec(move || enclose(folder_number, &dot)) };
    let began = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", interpreter.display()))?;
    // The command holds the writing ends; the reader would wait for them.
    drop(command);
    let collector = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = (&mut reader).take(MOST_SAID).read_to_end(&mut said);
        said
    });
    let status = wait(&mut child, began)?;
    let said = collector.join().unwrap_or_default();
    Ok(Ran {
        status,
        said: String::from_utf8_lossy(&said).into_owned(),
    })
}

fn wait(child: &mut Child, began: Instant) -> Result<ExitStatus, String> {
    let late = || format!("the linker did not end within {} s", LONGEST.as_secs());
    loop {
        match child.try_wait() {
            // The waiter ended it.
            Ok(Some(_)) if began.elapsed() >= LONGEST => return Err(late()),
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() < LONGEST + GRACE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(late());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// What the process gives up before it runs anything of ROOT.
fn enclose(folder: i32, dot: &CString) -> io::Result<()> {
    let done = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    let limit = |what, most: u64| {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        // SAFETY: reads one struct.
        done(unsafe { libc::setrlimit(what, &limit) })
    };
    // A kernel without some of these still has the others; what encloses in any case is chroot and the user.
    for space in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWPID,
    ] {
        // SAFETY: takes a number.
        unsafe { libc::unshare(space) };
    }
    // The process numbers begin with the next child, which is who goes on here.
    // SAFETY: the process has one thread.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        child => become_waiter(child),
    }
    // SAFETY: numbers, and strings that live.
    unsafe {
        done(libc::fchdir(folder))?;
        done(libc::chroot(dot.as_ptr()))?;
        done(libc::setgroups(0, std::ptr::null()))?;
        done(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
        done(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
        done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        // After the change of user, which takes it away.
        done(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
    }
    limit(libc::RLIMIT_CPU, LONGEST.as_secs())?;
    limit(libc::RLIMIT_AS, MOST_MEMORY)?;
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    limit(libc::RLIMIT_NPROC, 1)
}

/// Waits for `child`, not for ever, and ends as it ended. Whatever the child does about signals, and when nobody waits for
/// the waiter any more: it is this process that ends it, and all others of its process numbers end with it.
fn become_waiter(child: libc::pid_t) -> ! {
    const STEP: libc::timespec = libc::timespec {
        tv_sec: 0,
        tv_nsec: 5_000_000,
    };
    let mut status = 0;
    // SAFETY: waitpid and clock_gettime write what is given; the others take numbers, or read a constant.
    unsafe {
        // ctrl-C reaches this process too.
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_IGN);
        }
        // The pipe over which std learns of a failed exec is the child's now; held here it would never be closed.
        for fd in 3..256 {
            libc::close(fd);
        }
        let now = || {
            let mut now = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now);
            now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
        };
        // A little later than whoever waits for this one: they must not take it for an end of its own.
        let end = now() + LONGEST.as_millis() as u64 + 100;
        loop {
            match libc::waitpid(child, &mut status, libc::WNOHANG) {
                0 if now() < end => {
                    libc::nanosleep(&STEP, std::ptr::null_mut());
                }
                0 => {
                    libc::kill(child, libc::SIGKILL);
                    libc::waitpid(child, &mut status, 0);
                    libc::_exit(127);
                }
                -1 => libc::_exit(127),
                _ => break,
            }
        }
        if libc::WIFSIGNALED(status) {
            libc::signal(libc::WTERMSIG(status), libc::SIG_DFL);
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::kill(libc::getpid(), libc::WTERMSIG(status));
        }
        libc::_exit(libc::WEXITSTATUS(status))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// Ignores all that can be ignored, and that it should end with who waits for it.
    const HOSTILE: &str = r"
        #include <signal.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        int main(void) {
            prctl(PR_SET_PDEATHSIG, 0);
            for (int i = 1; i < 32; i++) signal(i, SIG_IGN);
            for (;;) sleep(1000);
        }";

    fn system(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("kedge-trial-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("bin")).unwrap();
        root
    }

    #[test]
    fn a_linker_that_does_not_end_is_ended() {
        let root = system("hostile");
        let (source, linker) = (root.join("ld.c"), root.join("bin/ld"));
        fs::write(&source, HOSTILE).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-static", "-o"]).arg(&linker).arg(&source);
        assert!(compiler.status().unwrap().success());
        fs::write(root.join("bin/tool"), "").unwrap();
        let open = Sysroot::open(&root).unwrap();
        let trial = load(&open, Path::new("/bin/ld"), Path::new("bin/tool"));
        assert!(
            matches!(&trial, Trial::Untried(why) if why.contains("did not end")),
            "{trial:?}"
        );
        let runs = |process: &PathBuf| {
            let name = fs::read(process.join("cmdline")).unwrap_or_default();
            name.starts_with(b"/bin/ld\0")
                && fs::read_link(process.join("exe")).is_ok_and(|exe| exe == linker)
        };
        let processes = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let left: Vec<PathBuf> = processes.filter(runs).collect();
        assert!(left.is_empty(), "{left:?}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_library_is_loaded_by_its_linker() {
        let root = system("whole");
        let linkers = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
        let linker = linkers.iter().find(|linker| Path::new(linker).exists());
        fs::copy(linker.unwrap(), root.join("bin/ld")).unwrap();
        let library = root.join("bin/lib.so");
        fs::write(root.join("lib.c"), "int answer(void) { return 42; }").unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-nostdlib", "-o"]);
        compiler.arg(&library).arg(root.join("lib.c"));
        assert!(compiler.status().unwrap().success());
        let open = Sysroot::open(&root).unwrap();
        let load = || load(&open, Path::new("/bin/ld"), Path::new("bin/lib.so"));
        assert_eq!(load(), Trial::Loads(Vec::new()));
        let whole = fs::read(&library).unwrap();
        fs::write(&library, &whole[..100]).unwrap();
        assert!(matches!(load(), Trial::Fails(_)));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_nobody_may_read_is_not_tried() {
        let root = system("rights");
        let tool = root.join("bin/tool");
        fs::write(&tool, "").unwrap();
        let open = Sysroot::open(&root).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let may = |tool_has, folder_has| {
            mode(&tool, tool_has).unwrap();
            mode(&root.join("bin"), folder_has).unwrap();
            is_everybodys(&open, Path::new("bin/tool"))
        };
        assert!(may(0o644, 0o755) && may(0o4755, 0o711));
        assert!(!may(0o750, 0o755) && !may(0o4111, 0o755) && !may(0o644, 0o700));
        let trial = load(&open, Path::new("/bin/ld"), Path::new("bin/tool"));
        assert!(matches!(trial, Trial::Untried(_)));
        fs::remove_dir_all(root).unwrap();
    }
}
