//! Reading what files contain, and holding it beside what it must be: many at once, in the order of the disk.

mod batch;
mod content;
mod folders;
mod order;
mod read;
mod side_by_side;

pub(crate) use batch::{Batch, Seen};
use content::is_hole;
pub(crate) use content::{BUFFER, check, unreadable};
pub(crate) use folders::Folders;
pub(crate) use order::{Devices, DiskOrder};
pub(crate) use read::{Wrong, more_of_one_file, order, read, threads};
