//! Whether the libraries that were found are those that are meant: their own names, and the versions of their symbols.

use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::closure::{Closure, Member, Role, read_object};
use crate::trouble::Trouble;
use crate::{Gravity, shown};

/// So many files with a longer name are asked what they are.
const MOST: usize = 16;

/// What is wrong with the libraries of the program that is called `name`.
pub(crate) fn troubles(root: &Sysroot, name: &str, closure: &Closure) -> Vec<Trouble> {
    let members = closure.members.iter();
    let others = members.filter_map(|member| another_library(root, member));
    others.chain(versions(root, name, closure)).collect()
}

/// Found by a name that is not its own, while the library of that name lies beside it: links to a successor, which are
/// usual, have no such neighbour.
fn another_library(root: &Sysroot, member: &Member) -> Option<Trouble> {
    let soname = member.object.as_ref()?.soname.as_deref()?;
    let wanted = member.name();
    if member.role != Role::Library || soname == wanted || wanted.contains('/') {
        return None;
    }
    let folder = member.path.parent()?;
    let meant = neighbours(root, folder, wanted).into_iter().find(|path| {
        read_object(root, path).is_some_and(|o| o.soname.as_deref() == Some(wanted))
    })?;
    let path = shown::path(&member.path);
    let headline = format!("{path} is another library: what needs {wanted} dies");
    let facts = format!(
        "it calls itself {soname}; {} calls itself {wanted}",
        shown::path(&meant)
    );
    let mut trouble = Trouble::new(Gravity::Fatal, headline).fact("ELF", facts);
    trouble.path = Some(member.path.clone());
    let kind = root.symlink_metadata(&member.path).ok()?.st_mode;
    if FileType::from_raw_mode(kind) == FileType::Symlink {
        let target = shown::typed(Path::new(meant.file_name()?));
        let link = shown::typed(&root.outside(&member.path));
        return Some(trouble.next(format!("ln -sfn {target} {link}")));
    }
    let root = shown::typed(root.path());
    Some(trouble.next(format!("repair {root} {}", shown::typed(Path::new(&path)))))
}

/// Files whose names are `wanted`'s with a longer number.
fn neighbours(root: &Sysroot, folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let longer = format!("{wanted}.");
    let mut names = root.read_dir(folder).unwrap_or_default();
    names.retain(|name| name.name.to_string_lossy().starts_with(&longer));
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let paths = names.iter().take(MOST).map(|name| folder.join(&name.name));
    paths.collect()
}

/// Versions of symbols that a library does not have: `_dl_check_map_versions`.
fn versions(root: &Sysroot, name: &str, closure: &Closure) -> Vec<Trouble> {
    let members = &closure.members;
    let mut troubles = Vec::new();
    for member in members {
        let Some(object) = &member.object else {
            continue;
        };
        for needed in &object.versions_needed {
            let provider = members.iter().find(|m| m.is_called(&needed.library));
            let Some((provider, provided)) = provider.and_then(|p| Some((p, p.object.as_ref()?)))
            else {
                continue;
            };
            // Without any versions the dynamic linker only warns.
            if provided.versions_provided.is_empty() {
                continue;
            }
            let lacks = needed
                .versions
                .iter()
                .filter(|(version, weak)| !weak && !provided.versions_provided.contains(version));
            for (version, _) in lacks {
                let (library, by) = (shown::path(&provider.path), shown::path(&member.path));
                let says = format!("{library}: version `{version}' not found (required by {by})");
                let headline = format!(
                    "{library} has no version {version}, which {by} needs: {name} dies at start"
                );
                let mut trouble = Trouble::new(Gravity::Fatal, headline).fact("ld.so", says);
                trouble.rank = 50;
                if let Some(soname) = provided.soname.as_ref().filter(|s| **s != needed.library) {
                    trouble = trouble.fact("ELF", format!("it calls itself {soname}"));
                }
                troubles.push(trouble.next(format!(
                    "doctor {} {}   (one of the two is of another release)",
                    shown::typed(root.path()),
                    shown::typed(Path::new(&library))
                )));
            }
        }
    }
    troubles
}
