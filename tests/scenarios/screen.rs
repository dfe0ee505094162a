//! A screen and a keyboard, as a KVM console shows them, with and without a serial port.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::machine::IDENTITY;
use kedge_tests::{BOOT, COMMAND, Firmware, Machine, Medium, out, scenario};

#[test]
fn vga_text_alone_shows_the_banner_and_takes_commands() {
    scenario(|folder| {
        let iso = out::artefact("kedge.iso")?;
        let machine = Machine::new(folder, "machine").without_serial();
        let mut machine = machine.medium(Medium::UsbCd, &iso).start()?;
        let screen = machine.expect_on_screen("kedge help", BOOT)?;
        machine.save_screen("screen.png")?;
        for text in IDENTITY {
            ensure!(
                screen.contains(text),
                "{text:?} is not on the screen:\n{screen}"
            );
        }
        let line = |text: &str| screen.lines().position(|line| line.contains(text));
        let banner = line(IDENTITY[0])
            .zip(line("kedge help"))
            .context("looked for above")?;
        ensure!(
            banner.1 - banner.0 < 15,
            "the banner has more than 15 lines:\n{screen}"
        );

        type_until_answered(&mut machine)?;
        machine.save_screen("typed.png")?;
        machine.type_keys("poweroff\n")?;
        machine.ended("guest-shutdown", COMMAND)
    });
}

/// Types a sum until its result is there: what is typed before the shell is there may be lost.
fn type_until_answered(machine: &mut kedge_tests::Running) -> Result<()> {
    let mut tries = 0;
    loop {
        machine.type_keys("expr 4000 - 19\n")?;
        tries += 1;
        match machine.expect_on_screen("\n3981\n", Duration::from_secs(10)) {
            Ok(_) => return Ok(()),
            Err(error) if tries == 6 => return Err(error),
            Err(_) => {}
        }
    }
}

#[test]
fn efi_framebuffer_shows_the_shell_and_takes_commands() {
    scenario(|folder| {
        let iso = out::artefact("kedge.iso")?;
        let machine = Machine::new(folder, "machine").firmware(Firmware::Uefi);
        let mut machine = machine.medium(Medium::UsbCd, &iso).start()?;
        // The serial port tells when there is something to see.
        machine.wait_for_shell()?;
        ensure!(
            machine.lit_pixels()? > 1000,
            "the screen is blank: see screen.png"
        );
        machine.type_keys("touch /tmp/typed-on-the-keyboard\n")?;
        machine.run(
            "n=0; until [ -e /tmp/typed* ] || [ $n = 20 ]; do sleep 1; n=$((n+1)); done; \
             ls /tmp/typed-on-the-keyboard",
        )?;
        machine.save_screen("typed.png")?;
        // A cleared screen has a prompt and little else: the picture is the console's and not the
        // firmware's logo.
        let before = machine.lit_pixels()?;
        machine.type_keys("clear\n")?;
        machine.run("sleep 2")?;
        let after = machine.lit_pixels()?;
        ensure!(
            after > 0 && after < before / 2,
            "`clear` left {after} of {before} pixels lit"
        );
        machine.type_keys("poweroff\n")?;
        machine.ended("guest-shutdown", COMMAND)
    });
}
