//! tracer catches browsers that report the pages their users visit.
//!
//! Data flows one way, and the modules stand in its order:
//! [`hook`] → [`record`] → [`stream`] → [`proto`] → [`content`] → [`detect`] →
//! [`judge`] → [`sink`].
//!
//! `stream`, `proto`, `content`, `detect` and `judge` are pure: bytes and a
//! timestamp in, values out. `ARCHITECTURE.md` names the invariants.

#![forbid(unsafe_code)]

pub mod record;
pub mod stream;
pub mod proto;
pub mod content;
pub mod locate;
