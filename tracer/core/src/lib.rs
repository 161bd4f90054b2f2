//! The pure core of tracer: bytes and a timestamp in, values out.
//!
//! Data flows one way, in the order of the modules: [`record`] → [`stream`] →
//! [`proto`] → [`content`] → [`detect`] → [`judge`] → [`alert`]. [`pipeline`]
//! joins them. [`account`] counts the bytes that were sent, read and not read.
//! [`rules`] holds vendor knowledge as data, for `detect` and `judge`, and
//! [`packages`] reads Android's list of packages.
//!
//! This crate does no I/O and reads no clock: it has no dependency that could,
//! and `cargo xtask test` checks that. `ARCHITECTURE.md` names the invariants.

#![forbid(unsafe_code)]

pub mod record;
pub mod stream;
pub mod proto;
pub mod content;
pub mod rules;
pub mod detect;
pub mod judge;
pub mod account;
pub mod pipeline;
pub mod alert;

pub mod packages;
