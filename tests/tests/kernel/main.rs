//! The programs in the running kernel, loaded by the tests' own process.
//!
//! One binary, so that the tests share the programs that are loaded
//! ([`tracer_tests::live`]): the verifier takes longer than the tests do.

mod hooks;
mod load;
mod scope;
mod sends;
