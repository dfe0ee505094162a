//! What the parsers of this crate make of any bytes: for the fuzz targets of tests/fuzz, and for nobody else.

use std::time::Duration;

use kedge_digest::{Algorithm, Hasher};
use kedge_sysroot::Sysroot;

use crate::{Accounts, closure, system, undone};

/// Reads what configures a system, in which one file is hostile.
pub fn configuration(root: &Sysroot) {
    closure::fuzz(root);
    Accounts::of(root);
    system::fuzz(root);
}

/// Looks for what was done to these bytes: two of their blocks are in each other's place. What is found has to be right.
pub fn what_was_done(bytes: &[u8]) {
    let mut damaged = bytes.to_vec();
    if let Some((first, rest)) = damaged.split_at_mut_checked(512)
        && let Some(second) = rest.first_chunk_mut::<512>()
    {
        first.swap_with_slice(second);
    }
    let digest = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Md5);
        hasher.update(bytes);
        hasher.finish()
    };
    let must = digest(bytes);
    let findings = kedge_elf::check(&damaged);
    let mut patience = Duration::from_millis(20);
    if let Some(change) = undone::look_for(&damaged, must, &findings, &mut patience) {
        change.undo(&mut damaged);
        assert_eq!(digest(&damaged), must, "{change}");
    }
}
