//! What `repair` does to systems that the real dpkg and rpm installed.

// A test that panics says why.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod capabilities;
mod copies;
mod errors;
mod faults;
mod files;
mod fixture;
mod hostile;
mod killed;
mod listed;
mod strangers;
mod unfinished;
