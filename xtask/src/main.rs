//! Sets up, builds and tests tracer.
fn main() {}
