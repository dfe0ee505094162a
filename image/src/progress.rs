//! How long work is reported: the library says what happens, the program draws it.

/// Receives what a build is doing. Implementations draw; nothing here prints.
///
/// Calls come from one thread at a time, a bar is open from [`Progress::start`] to
/// [`Progress::finish`].
pub trait Progress: Sync {
    /// A stage that is short, or whose length nobody knows: one line.
    fn step(&self, what: &str);
    /// A stage whose length is known in units (objects, bytes): opens a bar.
    fn start(&self, what: &str, total: u64);
    /// `units` more are done.
    fn advance(&self, units: u64);
    /// The open bar is complete.
    fn finish(&self);
    /// Something that the reader should know and that is no error.
    fn note(&self, line: &str);
}

/// Says nothing: for tests, and for callers that need only the result.
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str) {}
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _units: u64) {}
    fn finish(&self) {}
    fn note(&self, _line: &str) {}
}
