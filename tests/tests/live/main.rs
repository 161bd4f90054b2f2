//! The `tracer` binary on the running kernel, as its users meet it.

mod android;
mod doctor;
mod packages;
mod run;
mod tls;
