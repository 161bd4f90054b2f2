//! HAR 1.2 (the HTTP archive format).
//!
//! ```text
//! { "log": { "creator": …, "pages": […], "entries": [
//!     { "startedDateTime": …, "request": {…}, "response": {…}, "_webSocketMessages": […] },
//!     … ] } }
//! ```
//!
//! The format cannot express a body that is not text, or one that is missing.
//! `read::body` lists what tools write instead.

mod read;
mod write;

pub use self::{
    read::{Counters, Reader},
    write::write,
};
