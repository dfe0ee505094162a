//! `DT_FLAGS` and `DT_FLAGS_1`: bits that say something, and what must be so where they are set.

use goblin::elf::dynamic::*;
use goblin::elf::header::{EM_AARCH64, ET_DYN};

use super::place;
use crate::Part;
use crate::check::Tables;
use crate::check::findings::Findings;
use crate::view::{Entry, View};

/// What GNU ld, gold, lld and mold can be told to set in `DT_FLAGS_1`.
const SETTABLE_FLAGS_1: u64 = DF_1_NOW
    | DF_1_GLOBAL
    | DF_1_GROUP
    | DF_1_NODELETE
    | DF_1_LOADFLTR
    | DF_1_INITFIRST
    | DF_1_NOOPEN
    | DF_1_ORIGIN
    | DF_1_INTERPOSE
    | DF_1_NODEFLIB
    | DF_1_NODUMP
    | DF_1_PIE;

pub(super) fn check(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    let entry = view.tag(DT_FLAGS);
    let entry_1 = view.tag(DT_FLAGS_1);
    let flags = entry.map_or(0, |e| e.value);
    let flags_1 = entry_1.map_or(0, |e| e.value);
    let at = |entry: Option<Entry>| entry.map_or(view.dynamic_range.clone(), |e| place(view, e));
    if flags & !0x1f != 0 {
        findings.damage(
            Part::Dynamic,
            at(entry),
            format!("DT_FLAGS is {flags:#x}, with bits that nobody knows"),
        );
    }
    let unknown = flags_1 & !SETTABLE_FLAGS_1;
    if unknown != 0 {
        findings.damage(
            Part::Dynamic,
            at(entry_1),
            format!("DT_FLAGS_1 is {flags_1:#x}: no linker sets {unknown:#x}"),
        );
    }
    // Linkers take "now" as one word for both.
    let (now, now_1) = (flags & DF_BIND_NOW != 0, flags_1 & DF_1_NOW != 0);
    let alone = now_1 && !now || now && !now_1 && entry_1.is_some();
    if alone && view.tag(DT_BIND_NOW).is_none() {
        let text = format!(
            "only one of DT_FLAGS ({flags:#x}) and DT_FLAGS_1 ({flags_1:#x}) says that symbols are looked up at once"
        );
        findings.damage(Part::Dynamic, at(entry_1), text);
    }
    let mut folders = view
        .dynamic
        .iter()
        .filter(|e| matches!(e.tag, DT_RPATH | DT_RUNPATH))
        .filter_map(|e| view.string(e.value));
    let origin = flags & DF_ORIGIN != 0 || flags_1 & DF_1_ORIGIN != 0;
    if origin && !folders.any(|f| super::names::has(f, b"ORIGIN")) {
        findings.damage(
            Part::Dynamic,
            at(entry),
            "the flags say that libraries' folders begin at its own ($ORIGIN), but none does",
        );
    }
    if entry.is_some() && (flags & 4 != 0) != view.tag(DT_TEXTREL).is_some() {
        findings.damage(
            Part::Dynamic,
            at(entry),
            "only one of DT_FLAGS and DT_TEXTREL says that code is relocated",
        );
    }
    if flags & DF_STATIC_TLS != 0 && !tables.has_tls() && view.header.e_machine != EM_AARCH64 {
        findings.damage(
            Part::Dynamic,
            at(entry),
            "DT_FLAGS says static thread-local storage, but nothing uses any",
        );
    }
    let is_library = view.interpreter().is_none() || view.tag(DT_SONAME).is_some();
    if flags_1 & DF_1_PIE != 0 && (view.header.e_type != ET_DYN || view.tag(DT_SONAME).is_some()) {
        findings.damage(
            Part::Dynamic,
            at(entry_1),
            "DT_FLAGS_1 says that this is a program for any address, which it is not",
        );
    }
    let for_libraries = DF_1_NODELETE | DF_1_INITFIRST | DF_1_NOOPEN | DF_1_GROUP | DF_1_LOADFLTR;
    if !is_library && flags_1 & for_libraries != 0 {
        findings.damage(
            Part::Dynamic,
            at(entry_1),
            format!("DT_FLAGS_1 is {flags_1:#x}, with bits for libraries; this is a program"),
        );
    }
}
