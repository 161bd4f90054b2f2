//! The part of tracer that touches the kernel and the files of programs.
//!
//! [`hook`] loads the eBPF programs, attaches them and turns what they capture
//! into [`tracer_core::record::Event`]s. [`locate`] finds the functions in TLS
//! libraries to which `hook` attaches probes. [`sandbox`] restricts the processes
//! that parse untrusted bytes. [`extensions`] finds the names of browser extensions.
//! [`doctor`] reports which of this works on the machine.

#![forbid(unsafe_code)]

pub mod doctor;
pub mod extensions;
pub mod hook;
pub mod locate;
mod passing;
pub mod sandbox;
