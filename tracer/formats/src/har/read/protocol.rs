//! Names of protocols in a HAR.

use tracer_core::proto::Protocol;

/// Parses a tool's name of a protocol. Returns `None` for a name that says
/// nothing (`unknown`, `data`, an empty one).
///
/// Tools write the name of the request line (`HTTP/2`), that of the TLS
/// handshake with drafts and versions of QUIC (`h3-29`, `h3-Q050`, `hq-29`), and
/// names of their own (`QUIC`, `http/2+quic/46`). SPDY, the predecessor of HTTP/2,
/// sends the same fields.
pub(super) fn parse(name: &[u8]) -> Option<Protocol> {
    let name = name.trim_ascii().to_ascii_lowercase();
    let name = std::str::from_utf8(&name).ok()?;
    if name.contains("quic") || name.starts_with("hq") {
        return Some(Protocol::Http3);
    }
    if name.starts_with("spdy") {
        return Some(Protocol::Http2);
    }
    let version = ["https", "http", "h"].iter().find_map(|start| name.strip_prefix(start));
    let version = version.unwrap_or(name).trim_start_matches(['/', ' ', '-', '_', 'v']);
    match version.as_bytes() {
        [b'3', rest @ ..] if !starts_with_digit(rest) => Some(Protocol::Http3),
        [b'2', rest @ ..] if !starts_with_digit(rest) => Some(Protocol::Http2),
        [b'0' | b'1', rest @ ..] if !starts_with_digit(rest) => Some(Protocol::Http1),
        _ => None,
    }
}

fn starts_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_tool_are_recognised() {
        for (protocol, names) in [
            (
                Some(Protocol::Http3),
                &[
                    "h3",
                    "HTTP/3",
                    "HTTP/3.0",
                    "h3-29",
                    "h3-Q050",
                    "QUIC",
                    "http/2+quic/46",
                    "hq-29",
                ][..],
            ),
            (
                Some(Protocol::Http2),
                &["h2", "h2c", "h2-14", "HTTP/2", "http/2.0", "HTTP2", "HTTP 2", "2.0", "spdy/3.1"],
            ),
            (
                Some(Protocol::Http1),
                &["HTTP/1.1", "http/1.0", "http/0.9", "h1", "1.1", " HTTP/1.1"],
            ),
            (None, &["", "unknown", "data", "blob", "http", "HTTP/", "23", "\u{fffd}"]),
        ] {
            for name in names {
                assert_eq!(parse(name.as_bytes()), protocol, "{name}");
            }
        }
        assert_eq!(parse(b"\xff"), None);
    }
}
