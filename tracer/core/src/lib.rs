//! The pure core of tracer: bytes and a timestamp in, values out.
//!
//! A module imports only modules that are declared above it; a test checks that.
//! Data flows in this order: [`record`] → [`stream`] → [`proto`] → [`content`] →
//! [`detect`] → [`judge`] → [`alert`]. [`pipeline`] joins them, and [`account`]
//! counts the bytes that were sent, read and not read.
//!
//! [`application`], [`address`], [`finding`] and [`visits`] are the vocabulary that
//! the later modules share. [`rules`] holds vendor knowledge as data; [`knowledge`]
//! joins it with the lexicon that detection compiles from it.
//!
//! This crate does no I/O and reads no clock: it has no dependency that could,
//! and `cargo xtask test` checks that. `ARCHITECTURE.md` names the invariants.

#![forbid(unsafe_code)]

pub mod wording;
pub mod packages;
pub mod record;
pub mod schedule;
pub mod extensions;
pub mod stream;
pub mod proto;
pub mod content;
pub mod application;
pub mod address;
pub mod finding;
pub mod visits;
pub mod rules;
pub mod detect;
pub mod knowledge;
pub mod judge;
pub mod account;
pub mod pipeline;
pub mod alert;

#[cfg(test)]
mod layers;
