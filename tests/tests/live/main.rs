//! The `tracer` binary on the running kernel, as users run it.

mod android;
mod attempts;
mod doctor;
mod faults;
mod hostile;
mod once;
mod otlp;
mod packages;
mod pressure;
mod privileges;
mod run;
mod sandbox;
mod status;
mod tls;
