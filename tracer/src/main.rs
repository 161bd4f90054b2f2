//! tracer.
fn main(){}
