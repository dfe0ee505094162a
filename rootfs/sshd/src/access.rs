//! How to get in, for other tools to tell: the host key's fingerprint, the port, and whether there is
//! anybody who may.

use std::path::Path;

use crate::authorized_keys;
use crate::password::Store;

/// The folder of what the running server leaves for others to read.
pub const RUN: &str = "/run/kedge/ssh";

/// Whose keys are taken.
pub const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";

/// The host's key.
pub const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// In [`RUN`]: one line, as ssh-keygen prints it.
pub(crate) const FINGERPRINT: &str = "fingerprint";

/// In [`RUN`]: the port, while the server listens.
pub(crate) const PORT: &str = "port";

/// The host key's fingerprint, `SHA256:...`, once the server has run.
pub fn fingerprint() -> Option<String> {
    read(FINGERPRINT).filter(|text| text.starts_with("SHA256:"))
}

/// The port that the server listens on, if it does.
pub fn port() -> Option<u16> {
    read(PORT)?.parse().ok()
}

/// Whether anybody could log in: a key that counts, or a one-time password.
pub fn has_key() -> bool {
    anybody(Path::new(AUTHORIZED_KEYS), Path::new(RUN))
}

/// The same for other places.
pub(crate) fn anybody(keys: &Path, run: &Path) -> bool {
    authorized_keys::load(keys).is_ok_and(|entries| !entries.is_empty()) || Store::new(run).exists()
}

fn read(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(RUN).join(name)).ok()?;
    Some(text.trim().to_string())
}
