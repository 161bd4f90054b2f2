//! File formats of other tools: HTTP archives (HAR) and packet captures
//! (pcapng, pcap).
//!
//! [`import`] reads recordings in place of what the kernel captures, and
//! [`export`] writes requests as evidence that DevTools, mitmproxy and
//! Wireshark open. Both work on readers and writers that the caller opened.

#![forbid(unsafe_code)]

pub mod export;
pub mod import;
