//! From names to groups.

use std::collections::BTreeSet;

use kedge_pack_index::{Index, Program};

use crate::Error;

/// What a name of a pack or a program stands for. A pack wins over a program of the same name.
pub(crate) fn groups(index: &Index, name: &str) -> Option<BTreeSet<usize>> {
    let pack = index.packs.iter().position(|pack| pack.name == name);
    pack.map(|pack| index.groups_of_pack(pack))
        .or_else(|| program(index, name).map(|program| program.groups.clone()))
}

/// The program of that name.
pub(crate) fn program<'a>(index: &'a Index, name: &str) -> Option<&'a Program> {
    index.programs.iter().find(|program| program.name == name)
}

/// What all these names stand for.
pub(crate) fn all(index: &Index, names: &[String]) -> Result<BTreeSet<usize>, Error> {
    let mut all = BTreeSet::new();
    for name in names {
        let groups = groups(index, name).ok_or_else(|| unknown(index, name))?;
        all.extend(groups);
    }
    Ok(all)
}

/// Names what was meant, perhaps.
pub(crate) fn unknown(index: &Index, name: &str) -> Error {
    let packs = index.packs.iter().map(|pack| &pack.name);
    let programs = index.programs.iter().map(|program| &program.name);
    let near = packs.chain(programs).find(|known| is_near(known, name));
    Error::Unknown {
        name: name.into(),
        hint: near.map_or(String::new(), |known| format!(" (is it {known}?)")),
    }
}

/// Differs by case, by `-` for `_`, or is the begin of it: `xfs-repair`, `smart`.
fn is_near(known: &str, name: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let (known, name) = (plain(known), plain(name));
    name.len() >= 3 && known.starts_with(&name)
}

/// Bytes to load.
pub(crate) fn packed<'a>(index: &Index, groups: impl IntoIterator<Item = &'a usize>) -> u64 {
    let sizes = groups.into_iter().map(|group| index.groups[*group].packed);
    sizes.fold(0, u64::saturating_add)
}
