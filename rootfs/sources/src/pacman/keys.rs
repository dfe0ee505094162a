//! Whose signatures pacman believes: keys of its keyring that are valid.
//!
//! `pacman-key` keeps a home of GnuPG's in `/etc/pacman.d/gnupg`: all keys, and how much each is trusted to certify others.
//! Where that is gone, the files it was made from are in `/usr/share/pacman/keyrings`.

use std::sync::Arc;

use crate::openpgp::{Keyring, OwnerTrust};
use crate::query::Query;

/// The longest keyring and the longest list that are read. Arch's keyring has 1.5 MB.
const MOST: u64 = 64 << 20;
const MOST_LIST: u64 = 1 << 20;

const HOME: &str = "etc/pacman.d/gnupg";
const KEYRINGS: &str = "usr/share/pacman/keyrings";

/// The valid keys.
pub(crate) fn of(query: &mut Query) -> Result<Arc<Keyring>, String> {
    let mut keyring = Keyring::default();
    let mut trust = OwnerTrust::default();
    let home = format!("{HOME}/pubring.gpg");
    let file = query.root.read(home.as_ref(), MOST).unwrap_or_default();
    if !file.is_empty() && keyring.add(&file, &format!("/{home}")).is_ok() {
        let database = format!("{HOME}/trustdb.gpg");
        let database = query.root.read(database.as_ref(), MOST).unwrap_or_default();
        trust = OwnerTrust::of_trustdb(&database);
    }
    let mut revoked = Vec::new();
    if trust.is_empty() {
        keyring = Keyring::default();
        for file in query.in_folder(KEYRINGS, &["gpg"]) {
            let bytes = query.root.read(&file, MOST).unwrap_or_default();
            let _ = keyring.add(&bytes, &format!("/{}", file.display()));
            let list = |ending: &str| {
                let mut path = file.with_extension("").into_os_string();
                path.push(ending);
                query.text(path.as_ref(), MOST_LIST).unwrap_or_default()
            };
            trust.add_trusted(&list("-trusted"));
            revoked.extend(
                list("-revoked")
                    .lines()
                    .map(|l| l.trim().to_ascii_uppercase()),
            );
        }
    }
    if keyring.is_empty() || trust.is_empty() {
        return Err(format!(
            "there are no keys to check packages with: neither in {HOME} nor in {KEYRINGS}"
        ));
    }
    keyring.retain(|key| !revoked.contains(&key.fingerprint()));
    let expired_too = query.options.accept_expired;
    let certifiers = trust.certifiers(&keyring, query.now, expired_too);
    keyring.retain(|key| trust.makes_valid(&certifiers, key, query.now));
    if keyring.is_empty() {
        return Err(format!(
            "no key of pacman's keyring is valid on {}, which is what this machine's clock says (clock shows it, and sets it): \
             those that vouch for the others were revoked or have expired; --accept-expired listens to the expired ones",
            crate::date::day(query.now)
        ));
    }
    Ok(Arc::new(keyring))
}
