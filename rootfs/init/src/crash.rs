//! A crash of init's own is a restart of init: the kernel panics when PID 1 ends, so on a panic
//! or a fatal signal the process executes itself again, and its children do not notice.
//!
//! The new process image is told on its command line when the old one began and how many quick
//! restarts came before, so that a crash that repeats ends in [`crate::plain`] and not in a loop.

use std::ffi::{CStr, c_char, c_int};
use std::io::Write;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// Signals that mean that the code is at fault. With a handler, PID 1 also gets them from `kill`.
const FATAL: [c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// Restarts that follow each other within this many seconds count as one loop.
const WITHIN_SECONDS: u64 = 10;

/// So many restarts of one loop, and the plainest thing is tried.
const TOO_MANY: u32 = 5;

/// The restart's argument: `--restarted=COUNT:SECONDS`, the latter since boot.
const ARGUMENT: &str = "--restarted=";

/// How this process came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The kernel started it.
    First,
    /// It is a restart.
    Restarted {
        /// How many came quickly one after the other, this one included.
        count: u32,
    },
}

impl Start {
    /// Reads the arguments. Those that the kernel passes on (words that it did not know) are
    /// nobody's, and ignored.
    pub(crate) fn from_arguments<'a>(arguments: impl Iterator<Item = &'a str>, now: u64) -> Start {
        for argument in arguments {
            let Some((count, began)) = argument
                .strip_prefix(ARGUMENT)
                .and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            if let (Ok(count), Ok(began)) = (count.parse::<u32>(), began.parse::<u64>()) {
                let quick = now.saturating_sub(began) < WITHIN_SECONDS;
                let count = if quick { count.saturating_add(1) } else { 1 };
                return Start::Restarted { count };
            }
        }
        Start::First
    }

    /// Whether restarting has shown that it does not help.
    pub(crate) fn is_a_loop(self) -> bool {
        matches!(self, Start::Restarted { count } if count >= TOO_MANY)
    }
}

/// Seconds since boot.
pub(crate) fn uptime() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

/// `argv` of the next process image, made beforehand: a signal handler cannot allocate.
static NEXT: AtomicPtr<[*const c_char; 3]> = AtomicPtr::new(std::ptr::null_mut());

/// Where this program is. The first works even when somebody deleted the files.
const PROGRAMS: [&CStr; 3] = [c"/proc/self/exe", c"/init", c"/bin/kedge"];

/// Makes crashes of this process restarts of it. To be called first of all.
pub(crate) fn survive(start: Start) {
    let count = match start {
        Start::First => 0,
        Start::Restarted { count } => count,
    };
    let argument = format!("{ARGUMENT}{count}:{}\0", uptime());
    // All three live as long as the process: the handler may need them at any time.
    let argument = Box::leak(argument.into_boxed_str());
    let arguments = Box::new([
        c"/init".as_ptr(),
        argument.as_ptr().cast::<c_char>(),
        std::ptr::null(),
    ]);
    NEXT.store(Box::leak(arguments), Ordering::Release);

    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "?".into(), |at| format!("{}:{}", at.file(), at.line()));
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|s| (*s).to_string())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_default();
        kedge_message::warning!("init panicked at {place}: {what}; restarting it");
        restart();
    }));
    install_handlers();
}

fn install_handlers() {
    const STACK: usize = 64 * 1024;
    let stack = libc::stack_t {
        ss_sp: Box::leak(vec![0u8; STACK].into_boxed_slice())
            .as_mut_ptr()
            .cast(),
        ss_flags: 0,
        ss_size: STACK,
    };
    // SAFETY: the stack is leaked, so it stays; the handler makes only async-signal-safe calls;
    // an all-zero sigaction is valid, and its fields are set before it is used.
    unsafe {
        libc::sigaltstack(&stack, std::ptr::null_mut());
        for signal in FATAL {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fatal_signal as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Async-signal-safe: no allocation, no locks.
extern "C" fn on_fatal_signal(number: c_int) {
    let text: &[u8] = match number {
        libc::SIGSEGV => b"<4>kedge: init got SIGSEGV; restarting it\n",
        libc::SIGBUS => b"<4>kedge: init got SIGBUS; restarting it\n",
        libc::SIGILL => b"<4>kedge: init got SIGILL; restarting it\n",
        libc::SIGFPE => b"<4>kedge: init got SIGFPE; restarting it\n",
        libc::SIGABRT => b"<4>kedge: init got SIGABRT; restarting it\n",
        _ => b"<4>kedge: init got a fatal signal; restarting it\n",
    };
    // SAFETY: open and write are async-signal-safe, and the arguments are static.
    unsafe {
        let kmsg = libc::open(c"/dev/kmsg".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        let to = if kmsg >= 0 { kmsg } else { 2 };
        libc::write(to, text.as_ptr().cast(), text.len());
    }
    restart();
}

/// Executes this program again, in this process. Returns only when that is impossible.
fn restart() {
    let arguments = NEXT.load(Ordering::Acquire);
    if arguments.is_null() {
        return;
    }
    // A child of init's that crashes before it became another program must end, not become one
    // more init.
    // SAFETY: getpid has no conditions, _exit does not return.
    unsafe {
        if libc::getpid() != 1 {
            libc::_exit(128 + libc::SIGABRT);
        }
    }
    let environment: [*const c_char; 1] = [std::ptr::null()];
    for program in PROGRAMS {
        // SAFETY: all strings end in a zero byte and outlive the call, both arrays in a null.
        unsafe {
            libc::execve(
                program.as_ptr(),
                (*arguments).as_ptr(),
                environment.as_ptr(),
            );
        }
    }
    // Nothing can be executed: stay, so that at least the shells that run do.
    let _ = std::io::stderr().write_all(b"kedge: init cannot restart; shells that run stay\n");
    loop {
        // SAFETY: waits for and reaps any child; no memory is passed.
        unsafe {
            if libc::waitpid(-1, std::ptr::null_mut(), 0) < 0 {
                libc::sleep(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(argument: &str, now: u64) -> Start {
        Start::from_arguments(["garbage", argument].into_iter(), now)
    }

    #[test]
    fn quick_restarts_are_counted_and_slow_ones_are_not() {
        assert_eq!(start("single", 5), Start::First);
        assert_eq!(
            start("--restarted=0:100", 101),
            Start::Restarted { count: 1 }
        );
        assert_eq!(
            start("--restarted=3:100", 105),
            Start::Restarted { count: 4 }
        );
        assert_eq!(
            start("--restarted=4:100", 500),
            Start::Restarted { count: 1 }
        );
        assert!(start("--restarted=4:100", 101).is_a_loop());
        assert!(!start("--restarted=4:100", 500).is_a_loop());
    }

    #[test]
    fn garbage_is_no_restart() {
        for argument in [
            "--restarted=",
            "--restarted=x:y",
            "--restarted=1",
            "--restarted=-1:2",
            "-1:2",
        ] {
            assert_eq!(start(argument, 5), Start::First, "{argument}");
        }
    }
}
