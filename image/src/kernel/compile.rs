//! Runs the kernel's make: quiet, reproducible, and ended with the build that started it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Error;
use crate::boot::EPOCH_DATE;
use crate::program;

/// How many lines of a failed build an error shows.
const TAIL_LINES: usize = 20;

/// The program in the kernel's tree that stands before xz, as seen from the tree's root.
const XZ: &str = "./xz-for-kedge";

/// Puts a program into `tree` that is xz, but for a kernel takes the LZMA2 options `lzma2` too, and
/// returns what make's variable XZ must be. scripts/xz_wrap.sh hands xz `--lzma2=[its own],dict=…`
/// for a kernel on x86 with none of its own, and leaves no other way in.
///
/// # Errors
/// When it cannot be written.
pub(super) fn xz_with(tree: &Path, lzma2: &str) -> Result<&'static str, Error> {
    let path = tree.join(XZ);
    let script = format!(
        "#!/bin/sh\n\
         for argument; do\n\
         \tshift\n\
         \tcase $argument in --lzma2=,dict=*) argument=--lzma2={lzma2},${{argument#--lzma2=,}};; esac\n\
         \tset -- \"$@\" \"$argument\"\n\
         done\n\
         exec xz \"$@\"\n"
    );
    std::fs::write(&path, script)
        .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)))
        .map_err(|source| Error::File { path, source })?;
    Ok(XZ)
}

/// A running make, which is ended, with what it started, when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let pid = rustix::process::Pid::from_child(&self.0);
            // make hands the signal on to what it started, and waits for that.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

/// Runs `make` with `arguments` (targets and variables) in `tree`, adds its output to the file
/// `log`, and reports each line that stands for a step (`  CC      file.o`) to `step`.
///
/// # Errors
/// When make cannot be started or fails.
pub(super) fn run(
    tree: &Path,
    arguments: &[&str],
    log: &Path,
    step: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let file = |source| Error::File {
        path: log.into(),
        source,
    };
    let mut output = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(file)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    // Errors go to the same place, in their order, as seen from the reader.
    let (reader, writer) = std::io::pipe().map_err(file)?;
    let mut command = Command::new("make");
    command
        .current_dir(tree)
        .arg(format!("-j{jobs}"))
        .args(arguments)
        // The environment must not reach into a build that is kept under a key.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"))
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        // Documentation/kbuild/reproducible-builds.rst.
        .env("KBUILD_BUILD_USER", "kedge")
        .env("KBUILD_BUILD_HOST", "kedge")
        .env("KBUILD_BUILD_VERSION", "1")
        .env("KBUILD_BUILD_TIMESTAMP", EPOCH_DATE)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(file)?)
        .stderr(writer);
    let mut child = Running(
        program::end_with_parent(&mut command)
            .spawn()
            .map_err(|source| program::Error::Start {
                program: "make".into(),
                source,
            })?,
    );
    drop(command); // and with it this end of the pipe, so that the reader sees make's end

    let mut tail = std::collections::VecDeque::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.map_err(file)?;
        output
            .write_all(&line)
            .and_then(|()| output.write_all(b"\n"))
            .map_err(file)?;
        if line.starts_with(b"  ") {
            step(1);
        }
        tail.push_back(String::from_utf8_lossy(&line).into_owned());
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
    if child.0.wait().map_err(file)?.success() {
        return Ok(());
    }
    let tail = Vec::from(tail).join("\n");
    Err(Error::Make {
        log: log.into(),
        tail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(makefile: &str) -> (Result<(), Error>, u64, String) {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("Makefile"), makefile).unwrap();
        let log = scratch.path().join("log");
        let mut steps = 0;
        let result = run(scratch.path(), &["all"], &log, &mut |count| steps += count);
        (result, steps, std::fs::read_to_string(log).unwrap())
    }

    #[test]
    fn steps_are_counted_and_the_output_is_kept() {
        let (result, steps, log) =
            make("all:\n\t@echo '  CC      a.o'; echo other >&2; echo '  LD      b'\n");
        result.unwrap();
        assert_eq!(steps, 2);
        assert_eq!(log, "  CC      a.o\nother\n  LD      b\n");
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log_and_where_it_is() {
        let (result, ..) = make("all:\n\t@seq 100 >&2; echo no rule for this >&2; exit 1\n");
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("no rule for this") && text.contains("/log"),
            "{text}"
        );
        assert!(!text.contains("\n12\n"), "{text}");
    }

    #[test]
    fn only_a_kernels_options_are_changed_for_xz() {
        let scratch = tempfile::tempdir().unwrap();
        let xz = scratch
            .path()
            .join(xz_with(scratch.path(), "lc=4,pb=1").unwrap());
        // In xz's place one that tells its arguments.
        let echo = scratch.path().join("xz");
        std::fs::write(&echo, "#!/bin/sh\necho \"$@\"\n").unwrap();
        std::fs::set_permissions(&echo, PermissionsExt::from_mode(0o755)).unwrap();
        let arguments = |last: &str| {
            let output = Command::new(&xz)
                .env("PATH", scratch.path())
                .args(["--check=crc32", "--x86", last])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(
            arguments("--lzma2=,dict=128MiB"),
            "--check=crc32 --x86 --lzma2=lc=4,pb=1,dict=128MiB\n"
        );
        assert_eq!(
            arguments("--lzma2=dict=1MiB"),
            "--check=crc32 --x86 --lzma2=dict=1MiB\n"
        );
    }

    #[test]
    fn make_and_what_it_started_end_with_an_error_on_our_side() {
        let scratch = tempfile::tempdir().unwrap();
        let child = program::end_with_parent(
            Command::new("make")
                .current_dir(scratch.path())
                .args(["-s", "-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        )
        .spawn()
        .unwrap();
        let mut running = Running(child);
        running
            .0
            .stdin
            .take()
            .unwrap()
            .write_all(b"all:\n\t@sh -c 'echo $$$$; exec sleep 600'\n")
            .unwrap();
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let grandchild = Path::new("/proc").join(line.trim());
        assert!(grandchild.exists());
        drop(running);
        let gone = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            // Where nothing reaps orphans a dead one stays as a zombie.
            std::fs::read_to_string(grandchild.join("stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        });
        assert!(gone, "{} is still there", grandchild.display());
    }

    #[test]
    fn the_users_environment_does_not_reach_the_build() {
        // cargo sets this for every test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let (_, _, log) = make("all:\n\t@echo \"[$(CARGO_MANIFEST_DIR)] $(KBUILD_BUILD_USER)\"\n");
        assert_eq!(log, "[] kedge\n");
    }
}
