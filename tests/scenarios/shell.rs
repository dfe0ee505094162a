//! The shell on the consoles: job control, completion, history, and that it is always there.

use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::{COMMAND, Console, Folder, Machine, Running, scenario};

/// For what should happen at once.
const SOON: Duration = Duration::from_secs(20);

const ARROW_UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

fn with_shell(folder: &Folder, story: impl FnOnce(&mut Running) -> Result<()>) -> Result<()> {
    let mut machine = Machine::new(folder, "machine").direct("")?.start()?;
    machine.wait_for_shell()?;
    story(&mut machine)?;
    machine.power_off()
}

/// Starts `sleep 1000` in the foreground; it runs when this returns.
fn sleep_in_the_foreground(console: &mut Console) -> Result<()> {
    // A background look, because the shell itself waits; the quotes keep the echo from matching.
    console.send(
        "(until grep -qs ^sleep /proc/[0-9]*/comm; do :; done; echo it sl''eeps) & sleep 1000\n",
    )?;
    console.expect("it sleeps", SOON)?;
    Ok(())
}

/// ctrl-C, ctrl-Z and jobs, completion and history, as on any terminal.
fn is_a_full_terminal(console: &mut Console) -> Result<()> {
    sleep_in_the_foreground(console)?;
    console.send(CTRL_C)?;
    console.send("echo ended with $?\n")?;
    console.expect("ended with 130", SOON)?;

    sleep_in_the_foreground(console)?;
    console.send(CTRL_Z)?;
    console.expect("Stopped", SOON)?;
    let jobs = console.run("jobs")?;
    ensure!(
        jobs.contains("Stopped") && jobs.contains("sleep 1000"),
        "jobs says {jobs:?}"
    );
    console.run("kill -KILL $(pidof sleep) && wait 2>/dev/null; ! pidof sleep")?;

    console.send("cat /proc/sys/kernel/ostyp\t\n")?;
    console.expect("\r\nLinux\r\n", SOON)?;

    console.run("echo $((1000 * 7)) >/tmp/history")?;
    console.send("cat /tmp/history\n")?;
    console.expect("\r\n7000\r\n", SOON)?;
    console.send(ARROW_UP)?;
    console.send("\n")?;
    console.expect("\r\n7000\r\n", SOON)?;
    Ok(())
}

#[test]
fn serial_line_is_a_full_terminal() {
    scenario(|folder| with_shell(folder, |machine| is_a_full_terminal(machine.console()?)));
}

#[test]
fn every_console_has_a_shell_of_its_own() {
    scenario(|folder| {
        let machine = Machine::new(folder, "machine")
            .console("ttyS1")
            .console("hvc0");
        let mut machine = machine.direct("")?.start()?;
        machine.wait_for_shell()?;
        for name in ["ttyS1", "hvc0"] {
            let console = machine.console_named(name)?;
            console.wait_for_shell(kedge_tests::BOOT)?;
            let tty = console.run("tty")?;
            ensure!(
                tty.trim_end() == format!("/dev/{name}"),
                "the shell on {name} is on {tty:?}"
            );
            is_a_full_terminal(console)?;
        }
        // Leaders of their own sessions, and where they read from.
        let leaders = machine.run(
            "for p in /proc/[0-9]*; do set -- $(sed 's/.*) //' $p/stat); \
             [ /proc/$4 = $p ] && readlink $p/fd/0; done; true",
        )?;
        for name in ["tty1", "tty2", "tty3", "tty4", "ttyS0", "ttyS1", "hvc0"] {
            let terminal = format!("/dev/{name}");
            let shells = leaders.lines().filter(|line| *line == terminal).count();
            ensure!(shells == 1, "{shells} shells on {name}: {leaders}");
        }
        // A shell on the second screen: its console is switched to, and it is typed on.
        machine.press(&["alt", "f2"])?;
        machine.type_keys("touch /tmp/typed-on-tty2\n")?;
        machine.run(
            "n=0; until [ -e /tmp/typed-on-tty2 ] || [ $n = 20 ]; do sleep 1; n=$((n+1)); done; \
             ls /tmp/typed-on-tty2",
        )?;
        machine.save_screen("tty2.png")?;
        machine.power_off()
    });
}

#[test]
fn orphans_are_reaped() {
    scenario(|folder| {
        with_shell(folder, |machine| {
            machine.run("i=0; while [ $i -lt 200 ]; do (sleep 1 & ); i=$((i+1)); done")?;
            machine
                .run("n=0; while pidof sleep && [ $n -lt 30 ]; do sleep 0.5; n=$((n+1)); done")?;
            let left =
                machine.run("grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l")?;
            ensure!(
                left.trim_end() == "0",
                "{} zombies are left",
                left.trim_end()
            );
            Ok(())
        })
    });
}

#[test]
fn crashes_leave_a_shell() {
    scenario(|folder| {
        with_shell(folder, |machine| {
            let console = machine.console()?;
            let tool = console.try_run("sh -c 'kill -SEGV $$'")?;
            ensure!(
                tool.status == 139,
                "a tool that crashed ended with {}",
                tool.status
            );
            // PID 1 itself, by what would end any other process.
            for signal in ["SEGV", "ABRT", "KILL"] {
                console.run(&format!("kill -{signal} 1; sleep 1; test -d /proc/1"))?;
            }
            let before = console.run("echo $$")?;
            // A shell that is killed is a shell that ended.
            console.send("kill -KILL $$\n")?;
            console.expect("here is a new one", SOON)?;
            console.wait_for_prompt(SOON)?;
            let after = console.run("echo $$")?;
            ensure!(before != after, "the shell was not started again");
            Ok(())
        })
    });
}

#[test]
fn shell_that_exits_is_started_again() {
    scenario(|folder| {
        with_shell(folder, |machine| {
            let console = machine.console()?;
            let before = console.run("echo $$")?;
            console.send("exit\n")?;
            console.wait_for_prompt(SOON)?;
            let after = console.run("echo $$")?;
            ensure!(before != after, "the shell did not exit");
            is_a_full_terminal(console)
        })
    });
}

#[test]
fn garbage_on_the_kernel_command_line_is_reported_and_skipped() {
    scenario(|folder| {
        let garbage = "kedge.nonsense=7 kedge. kedge.hostname=-bad_name- =x = ip=:::x::: ip= BOOTIF=zz \
            console=ttyS9,zebra console= console=/dev/../etc nameserver=256.1.1 vlan= bond=:: \
            \"unclosed quote";
        let mut machine = Machine::new(folder, "machine").direct(garbage)?.start()?;
        machine.wait_for_shell()?;
        machine.run("grep -q 'unclosed quote' /proc/cmdline")?;
        let messages = machine.run("dmesg | tr -d '[' | grep kedge:")?;
        for word in ["kedge.nonsense", "kedge.hostname"] {
            ensure!(
                messages.contains(word),
                "{word} was not reported:\n{messages}"
            );
        }
        ensure!(
            machine.run("hostname")?.trim_end() == "kedge",
            "the bad name was taken"
        );
        machine.tour()?;
        machine.power_off()
    });
}

#[test]
fn power_button_powers_off() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "machine").direct("")?.start()?;
        machine.wait_for_shell()?;
        machine.press_power_button()?;
        machine.ended("guest-shutdown", COMMAND)
    });
}

#[test]
fn ctrl_alt_del_restarts() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "machine").direct("")?.start()?;
        machine.wait_for_shell()?;
        machine.press(&["ctrl", "alt", "delete"])?;
        machine.ended("guest-reset", COMMAND)
    });
}

#[test]
fn reboot_restarts() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "machine").direct("")?.start()?;
        machine.wait_for_shell()?;
        machine.console()?.send("reboot\n")?;
        machine.ended("guest-reset", COMMAND)
    });
}
