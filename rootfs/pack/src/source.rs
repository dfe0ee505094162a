//! Where packs come from: something that gives bytes of an archive, and may stop doing so.

use std::time::Duration;

use crate::reader::Came;

/// Why bytes do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may go on when it is tried again.
    Passing(String),
    /// It will not.
    Lasting(String),
}

/// Something that has archives.
pub(crate) trait Source {
    /// What it is called, such as `/dev/sr0` or a URL.
    fn name(&self) -> String;

    /// An archive in it, for messages.
    fn place(&self, archive: &str) -> String;

    /// How long it may be silent before that is trouble.
    fn patience(&self) -> Duration;

    /// Begins to fetch bytes of an archive; what was begun before is forgotten.
    fn begin(&mut self, archive: &str, offset: u64, length: u64) -> Result<(), Trouble>;

    /// Waits so long for what comes next; it gives never more than was asked for.
    fn next(&mut self, wait: Duration) -> Result<Came, Trouble>;
}
