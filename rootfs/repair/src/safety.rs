//! What speaks against writing to a file system: it is mounted read-only, or the disk below it is failing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kedge_doctor::Difference;
use kedge_doctor::shown::{text, typed, wrapped};
use kedge_mountinfo::Mount;
use kedge_sysroot::Sysroot;
use rustix::fs::OFlags;

use crate::kernel_log::{self, Trouble};
use crate::mounted;
use crate::plan::Task;
use crate::{Place, disks};

/// How many lines of the kernel's are shown.
const MOST_LINES: usize = 3;

/// What speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Objection {
    /// What, and what can be done.
    pub(crate) text: String,
    /// Whether `--force` goes over it.
    pub(crate) forceable: bool,
}

/// What speaks against repairing `tasks`.
pub(crate) fn objections(root: &Sysroot, place: &Place, tasks: &[Task]) -> Vec<Objection> {
    let mut objections = against_writing(root, place, tasks.iter().map(|task| &*task.path));
    objections.extend(
        tasks
            .iter()
            .flat_map(|task| &task.differences)
            .find_map(unreadable),
    );
    objections
}

/// What speaks against writing where `paths` are.
pub(crate) fn against_writing<'a>(
    root: &Sysroot,
    place: &Place,
    paths: impl Iterator<Item = &'a Path>,
) -> Vec<Objection> {
    let mut objections = Vec::new();
    let mut seen: BTreeMap<Mount, PathBuf> = BTreeMap::new();
    let state = Path::new("var/lib");
    for path in paths.filter_map(Path::parent).chain([state]) {
        // The nearest folder that is there.
        let Some((folder, handle)) = path
            .ancestors()
            .find_map(|above| Some((above, root.handle(above, OFlags::DIRECTORY).ok()?)))
        else {
            continue;
        };
        if let Some(mounted) = mounted::of(&handle)
            && seen.insert(mounted.clone(), folder.into()).is_none()
        {
            objections.extend(read_only(&mounted, mounted::is_read_only(&handle)));
            objections.extend(failing(&mounted, place));
        }
    }
    objections
}

/// Says them. Whether one of them is in the way.
pub(crate) fn stop(objections: &[Objection], force: bool) -> bool {
    for objection in objections {
        for line in format!("repair: {}", objection.text).lines() {
            eprintln!("{}", wrapped(&text(line), 4));
        }
    }
    objections.iter().any(|it| !(it.forceable && force))
}

fn read_only(mounted: &Mount, is: bool) -> Option<Objection> {
    is.then(|| Objection {
        text: format!(
            "{point} is mounted read-only: if that was not the kernel's own decision after an error (dmesg tells), mount -o \
             remount,rw {point}",
            point = typed(&mounted.target)
        ),
        forceable: false,
    })
}

fn failing(mounted: &Mount, place: &Place) -> Option<Objection> {
    let names: BTreeSet<String> = disks::under(mounted, &place.sys);
    let complaints = match kernel_log::complaints(&place.kernel_log, &names) {
        Ok(complaints) => complaints,
        Err(error) => {
            // A host may not let everybody read it; the image does.
            eprintln!(
                "repair: the kernel's log cannot be read ({error}), so nobody knows whether it complains about {}",
                typed(Path::new(&mounted.source))
            );
            return None;
        }
    };
    let first = complaints
        .iter()
        .find(|it| it.trouble == Trouble::Disk)
        .or(complaints.first())?;
    let advice = match first.trouble {
        Trouble::Disk => {
            "writing to it may cost what can still be read: image the disk first, and repair the copy"
        }
        Trouble::FileSystem => {
            "image it first, then check the file system (e2fsck, xfs_repair, btrfs check) on the copy"
        }
    };
    let lines: String = complaints
        .iter()
        .take(MOST_LINES)
        .map(|it| format!("\n    {}", text(&it.text)))
        .collect();
    Some(Objection {
        text: format!(
            "the kernel complains {} times about {} below {}:{lines}\n  {advice}; --force goes on anyway",
            complaints.len(),
            first.device.escape_debug(),
            typed(&mounted.target),
        ),
        forceable: true,
    })
}

/// A damaged file that the disk or its file system does not give.
fn unreadable(difference: &Difference) -> Option<Objection> {
    let Difference::Unreadable { error, .. } = difference else {
        return None;
    };
    difference.is_the_disk_s().then(|| Objection {
        text: format!(
            "{error}: the disk or its file system does not give it, so one of them is failing; image the disk first, and repair \
             the copy; --force goes on anyway"
        ),
        forceable: true,
    })
}
