//! The program `tracer`, which catches browsers that report the pages their
//! users visit.
//!
//! [`cli`] holds its commands, [`sink`] writes alerts, and [`store`] keeps them.
//! The crates below do the rest: `tracer-host` captures, `tracer-core` decodes
//! and judges, `tracer-formats` reads and writes other tools' files, and
//! `tracer-audit` answers an audit's questions.

#![forbid(unsafe_code)]

pub mod cli;
pub mod sink;
pub mod store;
mod files;
mod otlp;
mod queue;
mod random;
mod top;
