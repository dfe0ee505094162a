//! Loading, in a folder instead of a system: sources that are media, folders and web servers, and what
//! happens to them meanwhile.

// A test that panics says why.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod media;
mod refusals;
mod servers;
mod store;
