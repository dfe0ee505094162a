//! What every tool that takes over a second shares: a line that says how far it is, words for sizes and times, and
//! a flag for ctrl-C.

pub mod interrupt;
mod line;
mod words;

pub use line::Progress;
pub use words::{bytes, seconds};
