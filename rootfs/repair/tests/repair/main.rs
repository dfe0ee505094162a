//! What `repair` does to systems that the real dpkg and rpm installed.

mod faults;
mod files;
mod fixture;
mod killed;
