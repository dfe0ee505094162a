//! What every tool that takes over a second shares: a line that says how far it is, words for sizes and times, text made
//! fit for a terminal, and a flag for ctrl-C.

pub mod interrupt;
mod line;
mod shown;
mod words;

pub use line::Progress;
pub use shown::{shown, shown_lines};
pub use words::{bytes, seconds};
