//! Detects the protocol of a byte stream from the first bytes of a message.

use super::{has_prefix, http1};

/// The result of detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detected {
    /// An HTTP/1 request so far; its complete request line decides.
    Http1,
    /// An HTTP/2 connection, with its complete client preface.
    Http2,
    /// A TLS record.
    Tls,
    /// Too few bytes to decide. Never returned for [`DECISIVE_LEN`] bytes or
    /// more.
    Unclear,
    /// Another protocol.
    Other,
}

/// Number of bytes that always suffice for a decision: the longest method, the
/// longest white space, and the longest prefix of a target.
pub(super) const DECISIVE_LEN: usize = MAX_METHOD + MAX_SPACES + 8;

/// The client connection preface (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Maximum length of a method. The longest registered one, `UPDATEREDIRECTREF`,
/// has 17 bytes.
const MAX_METHOD: usize = 24;

/// Maximum number of characters between method and target. Requests have one;
/// servers accept more.
const MAX_SPACES: usize = 16;

/// Prefixes of request targets (RFC 9112 section 3.2). Only `CONNECT` has
/// another form.
const TARGETS: [&[u8]; 6] = [b"/", b"*", b"http://", b"https://", b"ws://", b"wss://"];

/// Maximum length of a TLS record: 2¹⁴ bytes plus the expansion allowed in TLS
/// 1.2 (RFC 5246 section 6.2.3).
const MAX_TLS_RECORD: u16 = (1 << 14) + 2048;

/// Detects the protocol of bytes that are assumed to start a message.
pub(super) fn detect(bytes: &[u8]) -> Detected {
    match [http2(bytes), tls(bytes), http1(bytes)] {
        [Detected::Other, Detected::Other, start] | [Detected::Other, start, _] | [start, _, _] => {
            start
        }
    }
}

/// Reports whether the bytes start with a complete request line or preface,
/// which is sufficient evidence for a message in an unexpected place.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    is_http2(bytes) || http1(bytes) == Detected::Http1 && http1::begins_with_request_line(bytes)
}

/// Reports whether the bytes start with a complete preface.
pub(super) fn is_http2(bytes: &[u8]) -> bool {
    bytes.starts_with(HTTP2_PREFACE)
}

/// Reports whether the bytes start with a complete TLS record header.
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    tls(bytes) == Detected::Tls
}

fn http2(bytes: &[u8]) -> Detected {
    // "P" may also start a POST; http1 decides.
    if is_http2(bytes) {
        Detected::Http2
    } else if bytes.len() > 3 && HTTP2_PREFACE.starts_with(bytes) {
        Detected::Unclear
    } else {
        Detected::Other
    }
}

/// Checks `type (20–24)
///
/// version 0x0300–0x0304
///
/// length` (RFC 8446 section 5.1).
fn tls(bytes: &[u8]) -> Detected {
    let fits = |at: usize, fit: &dyn Fn(u8) -> bool| bytes.get(at).is_none_or(|&b| fit(b));
    let [high, _] = MAX_TLS_RECORD.to_be_bytes();
    let possible = fits(0, &|b| (20..=24).contains(&b))
        && fits(1, &|b| b == 3)
        && fits(2, &|b| b <= 4)
        && fits(3, &|b| b <= high);
    match (possible, bytes.len()) {
        (false, _) => Detected::Other,
        (true, 0..5) => Detected::Unclear,
        (true, _) => Detected::Tls,
    }
}

/// Checks `method SP target …`, with white space as servers accept it.
fn http1(bytes: &[u8]) -> Detected {
    let method = bytes.iter().take_while(|&&b| http1::is_token(b)).count();
    let starts_alphabetic = bytes.first().is_none_or(u8::is_ascii_alphabetic);
    if method > MAX_METHOD || !starts_alphabetic {
        return Detected::Other;
    }
    let (name, rest) = bytes.split_at(method);
    let spaces = rest.iter().take_while(|&&b| http1::is_space(b)).count();
    let target = match rest.get(spaces..) {
        _ if rest.is_empty() => return Detected::Unclear,
        Some(target) if method > 0 && (1..=MAX_SPACES).contains(&spaces) => target,
        _ => return Detected::Other,
    };
    let begins = |form: &&[u8]| target.len() >= form.len() && has_prefix(target, form);
    let could_begin = |form: &&[u8]| has_prefix(form, target);
    match target {
        [] => Detected::Unclear,
        [b'!'..=b'~', ..] if name == b"CONNECT" => Detected::Http1,
        _ if TARGETS.iter().any(begins) => Detected::Http1,
        _ if TARGETS.iter().any(could_begin) => Detected::Unclear,
        _ => Detected::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn detects_the_protocols_of_browsers() {
        for (bytes, start) in [
            (&b"GET / HTTP/1.1\r\n"[..], Detected::Http1),
            (b"POST /sa?project=x", Detected::Http1),
            (b"GET http://example.org/", Detected::Http1),
            (b"GET HTTPS://example.org/", Detected::Http1),
            (b"CONNECT example.org:443 HTTP/1.1\r\n", Detected::Http1),
            (b"OPTIONS * HTTP/1.1", Detected::Http1),
            (b"M-SEARCH * HTTP/1.1", Detected::Http1),
            (HTTP2_PREFACE, Detected::Http2),
            (b"\x16\x03\x01\x02\x00\x01", Detected::Tls),
            (b"\x17\x03\x03\x40\x18", Detected::Tls),
            (b"", Detected::Unclear),
            (b"P", Detected::Unclear),
            (b"PRI * HTTP/2.0\r\n", Detected::Unclear),
            (b"POST ", Detected::Unclear),
            (b"GET htt", Detected::Unclear),
            (b"\x16\x03", Detected::Unclear),
            (b"\x16\x03\x01\xff\x00", Detected::Other),
            (b"\x16\x03\x09", Detected::Other),
            (b"HTTP/1.1 200 OK", Detected::Other),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Detected::Other),
            (b"EHLO example.org", Detected::Other),
            (b"\0GET / HTTP/1.1", Detected::Other),
            (b" GET /", Detected::Other),
            (b"GET\t/", Detected::Http1),
            (b"GET    /a", Detected::Http1),
            (b"get /a", Detected::Http1),
            (b"GET \t", Detected::Unclear),
            (b"GET                 /", Detected::Other),
            (b"GET\r/", Detected::Other),
        ] {
            assert_eq!(detect(bytes), start, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_message_needs_a_complete_first_line() {
        assert!(is_message(b"GET / HTTP/1.1\r\nHost"));
        assert!(is_message(b"GET / HTTP/1.0\n"));
        assert!(is_message(HTTP2_PREFACE));
        assert!(!is_message(b"GET / HTTP/1.1"));
        assert!(!is_message(b"GET /\r\nHost: a\r\n"));
        assert!(!is_message(b"GET / FTP/1.1\r\n"));
    }

    proptest! {
        #[test]
        fn decisive_len_always_decides(bytes in proptest::collection::vec(any::<u8>(), DECISIVE_LEN..80)) {
            prop_assert_ne!(detect(&bytes), Detected::Unclear);
        }

        /// Generates methods and targets of maximum length.
        #[test]
        fn decisive_len_always_decides_on_text(text in "[A-Za-z]{0,26}[ \t]{0,18}(https?:?/?/?)?[a-z]{48}") {
            prop_assert_ne!(detect(&text.as_bytes()[..DECISIVE_LEN]), Detected::Unclear);
        }
    }
}
