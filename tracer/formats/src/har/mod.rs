//! HAR 1.2 (the HTTP archive format).
//!
//! ```text
//! { "log": { "creator": …, "pages": […], "entries": [
//!     { "startedDateTime": …, "request": {…}, "response": {…}, "_webSocketMessages": […] },
//!     … ] } }
//! ```

mod read;
mod write;

pub use self::{
    read::{Counters, Reader},
    write::write,
};
