//! What the parsers of this crate make of any bytes: for the fuzz targets of tests/fuzz, and for nobody else.

use kedge_sysroot::Sysroot;

use crate::{Accounts, closure, system};

/// Reads what configures a system, in which one file is hostile.
pub fn configuration(root: &Sysroot) {
    closure::fuzz(root);
    Accounts::of(root);
    system::fuzz(root);
}
