//! Names of libraries and folders in the dynamic section.

use goblin::elf::dynamic::*;

use super::{called, place};
use crate::Part;
use crate::check::findings::Findings;
use crate::view::{DT_AUXILIARY, DT_FILTER, View, escaped};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let strings = view.strings();
    if strings.is_empty() {
        return;
    }
    let last = view.part(strings.end - 1..strings.end);
    if view.part(strings.start..strings.start + 1) != Some(&[0]) || last != Some(&[0]) {
        let text = format!(
            "the strings (DT_STRTAB, {} bytes at {:#x}) do not begin and end with a zero byte",
            strings.end - strings.start,
            strings.start
        );
        findings.crash(Part::Dynamic, strings.clone(), text);
    }
    for entry in &view.dynamic {
        if !matches!(
            entry.tag,
            DT_NEEDED | DT_SONAME | DT_RPATH | DT_RUNPATH | DT_AUXILIARY | DT_FILTER
        ) {
            continue;
        }
        let (called, bytes) = (called(entry.tag), place(view, *entry));
        let Some(text) = view.string(entry.value) else {
            let text = format!(
                "{called} is string {:#x}, behind the end of the strings",
                entry.value
            );
            findings.crash(Part::Dynamic, bytes, text);
            continue;
        };
        let shown = escaped(&text[..text.len().min(80)]);
        if text.iter().any(|b| b.is_ascii_control()) {
            findings.damage(
                Part::Dynamic,
                bytes.clone(),
                format!("{called} is \"{shown}\", which is no text"),
            );
        }
        let before = strings
            .start
            .checked_add(entry.value)
            .and_then(|at| view.part(at.checked_sub(1)?..at));
        let whole = entry.value > 0 && before == Some(&[0]);
        let library = matches!(entry.tag, DT_NEEDED | DT_SONAME);
        if library && !whole {
            let text = format!("{called} is \"{shown}\", the end of another name");
            let says =
                format!("{shown}: cannot open shared object file: No such file or directory");
            findings.fatal(Part::Dynamic, bytes.clone(), text, &says);
        } else if entry.tag == DT_NEEDED && !is_library(text) {
            let text = format!("{called} is \"{shown}\", which is no library's name");
            let says =
                format!("{shown}: cannot open shared object file: No such file or directory");
            findings.fatal(Part::Dynamic, bytes.clone(), text, &says);
        }
        if matches!(entry.tag, DT_RPATH | DT_RUNPATH)
            && !text.is_empty()
            && !text.contains(&b'/')
            && !text.contains(&b'$')
        {
            findings.damage(
                Part::Dynamic,
                bytes,
                format!("{called} is \"{shown}\", which is no folder"),
            );
        }
    }
}

/// "libc.so.6", "XS.so", "/usr/lib/libm.so", "libcom32.c32" (SYSLINUX's).
fn is_library(name: &[u8]) -> bool {
    has(name, b".so") || name.contains(&b'/') || (name.starts_with(b"lib") && name.contains(&b'.'))
}

pub(super) fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
