//! Tests that take whole files, real or made.

mod real;
