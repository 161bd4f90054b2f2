//! The `tracer` binary on the running kernel, as users run it.

mod android;
mod doctor;
mod once;
mod packages;
mod run;
mod tls;
