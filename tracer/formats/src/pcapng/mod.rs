//! Packet captures: pcapng, and the classic pcap (read only).

mod format;
mod read;
mod write;

#[cfg(test)]
pub(crate) use self::write::http1;
pub use self::{
    read::{Counters, Other, Reader, Secrets, is_capture},
    write::write,
};
