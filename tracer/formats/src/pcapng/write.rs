//! Writes requests as pcapng: each as an exported PDU (link type 252), which
//! Wireshark shows as HTTP.
//!
//! ```text
//! section │ interface "tracer-tls" │ interface "tracer-tcp" │ packet │ packet │ …
//!
//! packet: tags (dissector "http", addresses, position) │ bytes of a request
//!         comments: verdict, findings │ u-UID
//! ```
//!
//! The packets on the network had other bytes: they were encrypted, and divided
//! differently. The file contains what the application sent, in the form of
//! HTTP/1.1 (`http1`), and no made-up packets.
//!
//! A long request continues in the next packet. Missing bytes are skipped in the
//! positions, and at the end of a request they are part of the packet's length.

pub(crate) mod http1;

use std::{
    collections::HashMap,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use self::http1::Piece;
use super::format::{
    BYTE_ORDER_MAGIC, CLEAR_INTERFACE, PLAINTEXT_INTERFACE, UID_COMMENT, block,
    link::UPPER_PDU,
    option, tag,
    tcp_flags::{ACK, PUSH},
};
use crate::Evidence;
use tracer_core::{
    alert::{Alert, FindingReport},
    record::Transport,
};

/// Maximum number of bytes of a request in one packet. Wireshark reads packets
/// of up to 256 KiB, and the tags need some hundred bytes.
const MAX_PACKET: usize = (256 << 10) - 512;

/// Maximum number of findings in the comments. The bytes contain the rest.
const MAX_FINDINGS: usize = 16;

/// Maximum length of a comment, so that it can be read. The format allows 64
/// KiB.
const MAX_COMMENT: usize = 4096;

/// Writes a capture of the requests, in their order.
///
/// # Errors
/// Returns an error if `out` cannot be written to.
pub fn write(out: impl Write, entries: &[Evidence<'_>]) -> io::Result<()> {
    let mut file = File { out };
    file.section()?;
    file.interface(PLAINTEXT_INTERFACE, "plaintext passed to TLS libraries")?;
    file.interface(CLEAR_INTERFACE, "unencrypted sends")?;
    let mut connections: HashMap<Endpoints, Position> = HashMap::new();
    for entry in entries {
        let connection = &entry.decoded.sent.connection;
        let endpoints = (connection.local, connection.remote, connection.transport);
        let position = connections.entry(endpoints).or_default();
        file.request(entry, position)?;
    }
    file.out.flush()
}

type Endpoints = (Option<SocketAddr>, Option<SocketAddr>, Transport);

/// Position in a connection. Connections with the same endpoints share it, so
/// their requests follow each other.
#[derive(Debug, Default)]
struct Position {
    seq: u32,
    /// Key of the connection whose WebSocket handshake was written last.
    websocket: Option<u64>,
}

struct File<W> {
    out: W,
}

impl<W: Write> File<W> {
    fn section(&mut self) -> io::Result<()> {
        const VERSION: [u8; 4] = [1, 0, 0, 0];
        /// The length of the section is not specified.
        const LENGTH: [u8; 8] = [0xff; 8];
        let mut body = [&BYTE_ORDER_MAGIC.to_le_bytes()[..], &VERSION, &LENGTH].concat();
        put_option(
            &mut body,
            option::SECTION_APPLICATION,
            concat!("tracer ", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        end_options(&mut body);
        self.block(block::SECTION_HEADER, &body)
    }

    fn interface(&mut self, name: &str, description: &str) -> io::Result<()> {
        const NANOSECONDS: &[u8] = &[9];
        let mut body = [&UPPER_PDU.to_le_bytes()[..], &[0; 6]].concat();
        put_option(&mut body, option::INTERFACE_NAME, name.as_bytes());
        put_option(&mut body, option::INTERFACE_DESCRIPTION, description.as_bytes());
        put_option(&mut body, option::INTERFACE_RESOLUTION, NANOSECONDS);
        end_options(&mut body);
        self.block(block::INTERFACE, &body)
    }

    fn request(&mut self, entry: &Evidence<'_>, position: &mut Position) -> io::Result<()> {
        let sent = &entry.decoded.sent;
        let request = &sent.message;
        let has_handshake = position.websocket == Some(sent.connection.key);
        if http1::opens_websocket(request) {
            position.websocket = Some(sent.connection.key);
        } else if has_handshake {
            position.websocket = None;
        }
        let pieces = http1::pieces(request, has_handshake);
        let mut comments = comments(entry);
        let mut rest = pieces.iter().peekable();
        while let Some(piece) = rest.next() {
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::Gap(len) => {
                    position.seq = position.seq.wrapping_add(*len as u32);
                    continue;
                }
            };
            let mut chunks = bytes.chunks(MAX_PACKET).peekable();
            while let Some(chunk) = chunks.next() {
                let ends = chunks.peek().is_none();
                let gap = match rest.peek() {
                    Some(Piece::Gap(len)) if ends => *len,
                    _ => 0,
                };
                let last = ends && !rest.clone().any(|piece| matches!(piece, Piece::Bytes(_)));
                self.packet(entry, position.seq, chunk, gap, last, &comments)?;
                position.seq = position.seq.wrapping_add(chunk.len() as u32);
                // The other comments are written once.
                comments.retain(|comment| comment.starts_with(UID_COMMENT));
            }
        }
        Ok(())
    }

    /// Writes a packet, after which `gap` bytes of the request are missing.
    fn packet(
        &mut self,
        entry: &Evidence<'_>,
        seq: u32,
        bytes: &[u8],
        gap: u64,
        last: bool,
        comments: &[String],
    ) -> io::Result<()> {
        /// Sent, not received.
        const OUTBOUND: [u8; 4] = [2, 0, 0, 0];
        let connection = &entry.decoded.sent.connection;
        let mut data = tags(connection.local, connection.remote, seq, bytes.len(), last);
        data.extend_from_slice(bytes);
        let unix = entry.decoded.unix.unwrap_or_default();
        let len = (data.len() as u64).saturating_add(gap);
        let interface = u32::from(!connection.transport.is_before_encryption());
        let mut body = Vec::new();
        for number in [
            interface,
            (unix >> 32) as u32,
            unix as u32,
            data.len() as u32,
            u32::try_from(len).unwrap_or(u32::MAX),
        ] {
            body.extend(number.to_le_bytes());
        }
        body.extend_from_slice(&data);
        pad(&mut body);
        comments
            .iter()
            .for_each(|comment| put_option(&mut body, option::COMMENT, comment.as_bytes()));
        put_option(&mut body, option::PACKET_FLAGS, &OUTBOUND);
        end_options(&mut body);
        self.block(block::ENHANCED_PACKET, &body)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let padding = body.len().next_multiple_of(4) - body.len();
        let len = ((body.len() + padding + 12) as u32).to_le_bytes();
        for part in [&kind.to_le_bytes()[..], &len, body, &[0; 3][..padding], &len] {
            self.out.write_all(part)?;
        }
        Ok(())
    }
}

/// Returns the comments on a request: the verdict, a summary, the findings, and
/// the UID.
fn comments(entry: &Evidence<'_>) -> Vec<String> {
    let alert = Alert::new(entry.decoded);
    let process = &alert.process;
    let content = &alert.content;
    let mut all = vec![
        entry.comment(&alert),
        format!(
            "{} (uid {}, pid {}), {} by {}, to {} ({})",
            alert.application,
            process.uid,
            process.pid,
            content.request.protocol.as_str(),
            content.sender.as_str(),
            alert.host(),
            content.recipient.describe(),
        ),
    ];
    let finding = |found: &FindingReport| {
        let kind = found.kind.as_str();
        let class = found.class.as_deref().map(|class| format!(" ({class})")).unwrap_or_default();
        let cut = if found.truncated { "… (cut)" } else { "" };
        format!("{kind}{class}: {}{cut}, by {}", found.value, found.chain)
    };
    all.extend(content.findings.iter().take(MAX_FINDINGS).map(finding));
    all.push(format!("{UID_COMMENT}{}", process.uid));
    for comment in &mut all {
        let end =
            (0..=MAX_COMMENT.min(comment.len())).rev().find(|&at| comment.is_char_boundary(at));
        comment.truncate(end.unwrap_or(0));
    }
    all
}

/// Returns the tags in front of the bytes of a packet.
fn tags(
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    seq: u32,
    len: usize,
    last: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |kind: u16, value: &[u8]| {
        out.extend(kind.to_be_bytes());
        out.extend((value.len().next_multiple_of(4) as u16).to_be_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    };
    put(tag::DISSECTOR, b"http");
    let ends = [
        (local, tag::IPV4_SOURCE, tag::IPV6_SOURCE, tag::SOURCE_PORT),
        (remote, tag::IPV4_DESTINATION, tag::IPV6_DESTINATION, tag::DESTINATION_PORT),
    ];
    for (end, v4, v6, port) in ends {
        let Some(end) = end else { continue };
        match end.ip() {
            IpAddr::V4(ip) => put(v4, &ip.octets()),
            IpAddr::V6(ip) => put(v6, &ip.octets()),
        }
        put(port, &u32::from(end.port()).to_be_bytes());
    }
    if local.is_some() || remote.is_some() {
        put(tag::PORT_TYPE, &tag::PORT_TYPE_TCP.to_be_bytes());
    }
    let next = seq.wrapping_add(len as u32);
    let flags = if last { PUSH | ACK } else { ACK };
    let mut info = 1_u16.to_be_bytes().to_vec();
    for number in [seq, next, 0] {
        info.extend(number.to_be_bytes());
    }
    info.push(0);
    info.extend(flags.to_be_bytes());
    info.extend([0; 2]);
    put(tag::TCP_INFO, &info);
    put(tag::END, b"");
    out
}

fn put_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

fn end_options(body: &mut Vec<u8>) {
    put_option(body, option::END, b"");
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
