//! Addresses (wip)
pub mod config;
pub mod mac;
pub mod prefix;
