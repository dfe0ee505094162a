//! After a repair: what the doctor says of the file now, and whether it can be loaded.

use std::path::{Path, PathBuf};

use kedge_doctor::{Gravity, examine};
use kedge_elf::{Object, Severity, is_elf};
use kedge_packages::Database;
use kedge_sysroot::Sysroot;

use crate::trial::{self, Trial};

/// Larger ones are not read as a whole: no library or program that others need to start is.
const MOST: u64 = 256 << 20;
/// `e_machine` of 32-bit and 64-bit x86, and of ARM's.
const LINKERS: [(u16, bool, &[&str]); 4] = [
    (
        62,
        true,
        &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"],
    ),
    (62, false, &["/libx32/ld-linux-x32.so.2"]),
    (3, false, &["/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1"]),
    (
        183,
        true,
        &["/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"],
    ),
];

/// What the doctor still sees.
pub(crate) fn remains(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    path: &Path,
) -> Vec<String> {
    let examined = match examine(root, databases, path) {
        Ok(examined) => examined,
        Err(error) => return vec![error.to_string()],
    };
    let differences = examined.owned.iter().flat_map(|owned| &owned.differences);
    let mut remains: Vec<String> = differences
        .map(|difference| match difference.sides() {
            (Some(is), Some(must)) => format!("{}: is {is}, must be {must}", difference.word()),
            (Some(is), None) => format!("{}: {is}", difference.word()),
            _ => difference.word().to_string(),
        })
        .collect();
    // What is what the database says is whole, however odd it was made.
    let elf = examined
        .elf
        .iter()
        .filter(|finding| !examined.proven && finding.severity >= Severity::Damage);
    remains.extend(elf.map(|finding| finding.text.clone()));
    let odd = examined
        .oddities
        .iter()
        .filter(|oddity| oddity.gravity > Gravity::Odd);
    remains.extend(odd.map(|oddity| oddity.text.clone()));
    remains
}

/// Loads it, if it is something that is loaded dynamically.
pub(crate) fn trial(root: &Sysroot, path: &Path) -> Option<Trial> {
    let object = Object::read(&elf(root, path)?)?;
    if object.interpreter.is_none() && object.needed.is_empty() && object.soname.is_none() {
        // Static, or a module of the kernel.
        return None;
    }
    let interpreter = object.interpreter.clone().map(PathBuf::from).or_else(|| {
        let (.., linkers) = LINKERS
            .iter()
            .find(|(machine, is_64, _)| (*machine, *is_64) == (object.machine, object.is_64))?;
        let there = |linker: &&&str| root.exists(Path::new(linker));
        linkers.iter().find(there).map(PathBuf::from)
    });
    Some(match interpreter {
        Some(interpreter) => trial::load(root, &interpreter, path),
        None => Trial::Untried("this system has no dynamic linker for it".into()),
    })
}

fn elf(root: &Sysroot, path: &Path) -> Option<Vec<u8>> {
    let bytes = root.read(path, MOST).ok()?;
    is_elf(&bytes).then_some(bytes)
}
