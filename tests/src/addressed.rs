//! What scenarios ask of a guest in a network: until it has an address, until it reaches somebody.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::running::Running;

/// How long a guest may take to have an address that it can have at once.
const SOON: Duration = Duration::from_secs(60);

impl Running {
    /// Waits in the guest until a shell command succeeds; gives what it said then.
    ///
    /// # Errors
    /// When it did not within `patience`; the guest's view of its network is part of the message.
    pub fn until(&mut self, command: &str, patience: Duration) -> Result<String> {
        // In pieces of fifteen seconds, since one command on the console is given a minute, and a busy
        // machine makes of fifteen thirty.
        for _ in 0..patience.as_secs().div_ceil(15) {
            let looked = self.run(&format!(
                "n=0; until {command}; do [ $n = 30 ] && echo not yet && break; sleep 0.5; n=$((n+1)); done"
            ))?;
            if !looked.contains("not yet") {
                return Ok(looked);
            }
        }
        let status = self.run("net status; ip route; ip -6 route; dmesg | grep kedge: | tail")?;
        bail!("in {patience:?} never: {command}\n{status}")
    }

    /// Until a link has an address with this beginning (`192.0.2.7/24`) that is not being checked any
    /// more.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn has_address(&mut self, link: &str, address: &str) -> Result<()> {
        self.until(
            &format!("ip addr show {link} | grep -v tentative | grep -qF ' {address}'"),
            SOON,
        )?;
        Ok(())
    }

    /// Until somebody answers a ping.
    ///
    /// # Errors
    /// When they do not within a minute.
    pub fn reaches(&mut self, address: &str) -> Result<()> {
        self.until(&format!("ping -c 1 -W 2 {address} >/dev/null"), SOON)?;
        Ok(())
    }
}
