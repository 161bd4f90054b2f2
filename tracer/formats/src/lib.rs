//! File formats of other tools: HTTP archives (HAR) and packet captures
//! (pcapng, pcap).
//!
//! ```text
//! HAR          ─▶ har::Reader    ─▶ requests ─┐               ┌─▶ har::write    ─▶ HAR
//!                                             ├─▶ pipeline ─▶ Evidence
//! pcapng, pcap ─▶ pcapng::Reader ─▶ events   ─┘               └─▶ pcapng::write ─▶ pcapng
//! ```
//!
//! | format | read from | written for |
//! |---|---|---|
//! | [`har`] | mitmproxy, DevTools, PCAPdroid, Charles | DevTools, mitmproxy, Charles |
//! | [`pcapng`] | Wireshark, tcpdump, PCAPdroid | Wireshark, tshark |
//!
//! Files may be packed ([`unpack`]). Files of other tools that are neither are
//! recognised and named ([`detect_foreign`]).
//!
//! Each format is read and written in one module. Recordings go through the
//! same decoding and judgement as captured sends. A recording contains less: a
//! HAR has requests as a tool understood them, a capture has packets and no
//! processes. Everything that a recording lacks or lost is counted.
//!
//! This crate is separate from `tracer-core` because other tools' formats
//! change for reasons that do not concern decoding and judgement, and because
//! reading captured TLS needs ciphers, which the core does without. Like the
//! core, it is pure: it works on readers and writers that the caller opened.

#![forbid(unsafe_code)]

mod evidence;
mod foreign;
mod json;
mod packed;
mod recording;

pub mod har;
pub mod pcapng;

#[cfg(test)]
mod tests;

pub use self::{
    evidence::Evidence,
    foreign::{Foreign, detect as detect_foreign},
    packed::{Content, UnpackError, unpack},
    recording::{CLOCK, DETECT_LEN, ReadError, Recording},
};
