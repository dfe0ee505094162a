//! Addresses (wip)
pub mod advice;
pub mod assign;
pub mod config;
pub mod links;
pub mod mac;
pub mod neighbour;
mod packet;
pub mod prefix;
pub mod rtnetlink;
