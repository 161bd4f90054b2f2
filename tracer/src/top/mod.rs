//! The live view of `tracer top`, without its terminal.
//!
//! ```text
//! outputs of the pipeline ─▶ model ─┐
//! keys ─────────────────────▶ ui ───┴─▶ view ─▶ a buffer of cells
//! ```
//!
//! Nothing here reads a clock, a key or a terminal: [`model`] takes what was decoded, [`ui`] takes
//! keys, and [`view`] draws both into an area of any size.

pub(crate) mod model;
#[cfg(test)]
mod tests;
pub(crate) mod ui;
pub(crate) mod view;
