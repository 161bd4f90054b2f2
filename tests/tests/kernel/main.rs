//! tracer's programs in the running kernel, loaded by the test process itself.
//!
//! One binary, so that the tests share loaded programs ([`tracer_tests::live`]):
//! verification takes longer than the tests do.

mod hooks;
mod load;
mod scope;
mod sends;
