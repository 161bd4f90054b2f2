//! What a byte stream speaks, by the first bytes of a message.

use super::{has_prefix, http1};

/// What the bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// An HTTP/1 request, as far as these bytes go. Its request line decides.
    Http1,
    /// An HTTP/2 connection: all of the client's preface.
    Http2,
    /// A TLS record.
    Tls,
    /// Too few bytes to say. Never the answer to [`ENOUGH`] bytes.
    Unclear,
    /// Nothing known here.
    Other,
}

/// With so many bytes there is always an answer: the longest method, a space
/// and the longest beginning of a target.
pub(super) const ENOUGH: usize = MAX_METHOD + 1 + 8;

/// The client's connection preface (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest registered method, `UPDATEREDIRECTREF`, has 17 bytes.
const MAX_METHOD: usize = 24;

/// The targets of requests begin with one of these (RFC 9112, section 3.2);
/// `CONNECT` alone has another form.
const TARGETS: [&[u8]; 6] = [b"/", b"*", b"http://", b"https://", b"ws://", b"wss://"];

/// The largest TLS record: 2¹⁴ bytes and what encryption may add to them in
/// TLS 1.2 (RFC 5246, section 6.2.3).
const MAX_TLS_RECORD: u16 = (1 << 14) + 2048;

/// Says what the bytes begin. Takes them to be the first of a message.
pub(super) fn detect(bytes: &[u8]) -> Start {
    match [http2(bytes), tls(bytes), http1(bytes)] {
        [Start::Other, Start::Other, start] | [Start::Other, start, _] | [start, _, _] => start,
    }
}

/// The bytes begin with a whole request line or preface: evidence enough to
/// take them for a message where none was expected.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    is_http2(bytes) || http1(bytes) == Start::Http1 && http1::begins_with_request_line(bytes)
}

/// The bytes begin with a whole preface.
pub(super) fn is_http2(bytes: &[u8]) -> bool {
    bytes.starts_with(HTTP2_PREFACE)
}

/// The bytes begin with a whole header of a TLS record.
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    tls(bytes) == Start::Tls
}

fn http2(bytes: &[u8]) -> Start {
    // "P" can begin the preface as well as a POST: http1 answers.
    if is_http2(bytes) {
        Start::Http2
    } else if bytes.len() > 3 && HTTP2_PREFACE.starts_with(bytes) {
        Start::Unclear
    } else {
        Start::Other
    }
}

/// `type (20–24) | version 0x0300–0x0304 | length` (RFC 8446, section 5.1).
fn tls(bytes: &[u8]) -> Start {
    let fits = |at: usize, fit: &dyn Fn(u8) -> bool| bytes.get(at).is_none_or(|&b| fit(b));
    let [high, _] = MAX_TLS_RECORD.to_be_bytes();
    let possible = fits(0, &|b| (20..=24).contains(&b))
        && fits(1, &|b| b == 3)
        && fits(2, &|b| b <= 4)
        && fits(3, &|b| b <= high);
    match (possible, bytes.len()) {
        (false, _) => Start::Other,
        (true, 0..5) => Start::Unclear,
        (true, _) => Start::Tls,
    }
}

/// `method SP target …`
fn http1(bytes: &[u8]) -> Start {
    let method = bytes.iter().take_while(|&&b| http1::is_token(b)).count();
    let starts_alphabetic = bytes.first().is_none_or(u8::is_ascii_alphabetic);
    if method > MAX_METHOD || !starts_alphabetic {
        return Start::Other;
    }
    let (name, rest) = bytes.split_at(method);
    let target = match rest {
        [] => return Start::Unclear,
        [b' ', target @ ..] if method > 0 => target,
        _ => return Start::Other,
    };
    let begins = |form: &&[u8]| target.len() >= form.len() && has_prefix(target, form);
    let could_begin = |form: &&[u8]| has_prefix(form, target);
    match target {
        [] => Start::Unclear,
        [b'!'..=b'~', ..] if name == b"CONNECT" => Start::Http1,
        _ if TARGETS.iter().any(begins) => Start::Http1,
        _ if TARGETS.iter().any(could_begin) => Start::Unclear,
        _ => Start::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_what_browsers_speak() {
        for (bytes, start) in [
            (&b"GET / HTTP/1.1\r\n"[..], Start::Http1),
            (b"POST /sa?project=x", Start::Http1),
            (b"GET http://example.org/", Start::Http1),
            (b"GET HTTPS://example.org/", Start::Http1),
            (b"CONNECT example.org:443 HTTP/1.1\r\n", Start::Http1),
            (b"OPTIONS * HTTP/1.1", Start::Http1),
            (b"M-SEARCH * HTTP/1.1", Start::Http1),
            (HTTP2_PREFACE, Start::Http2),
            (b"\x16\x03\x01\x02\x00\x01", Start::Tls),
            (b"\x17\x03\x03\x40\x18", Start::Tls),
            (b"", Start::Unclear),
            (b"P", Start::Unclear),
            (b"PRI * HTTP/2.0\r\n", Start::Unclear),
            (b"POST ", Start::Unclear),
            (b"GET htt", Start::Unclear),
            (b"\x16\x03", Start::Unclear),
            (b"\x16\x03\x01\xff\x00", Start::Other),
            (b"\x16\x03\x09", Start::Other),
            (b"HTTP/1.1 200 OK", Start::Other),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Start::Other),
            (b"EHLO example.org", Start::Other),
            (b"\0GET / HTTP/1.1", Start::Other),
            (b" GET /", Start::Other),
            (b"GET\t/", Start::Other),
        ] {
            assert_eq!(detect(bytes), start, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_message_needs_its_whole_first_line() {
        assert!(is_message(b"GET / HTTP/1.1\r\nHost"));
        assert!(is_message(b"GET / HTTP/1.0\n"));
        assert!(is_message(HTTP2_PREFACE));
        assert!(!is_message(b"GET / HTTP/1.1"));
        assert!(!is_message(b"GET /\r\nHost: a\r\n"));
        assert!(!is_message(b"GET / FTP/1.1\r\n"));
    }

    proptest! {
        #[test]
        fn enough_is_enough(bytes in proptest::collection::vec(any::<u8>(), ENOUGH..80)) {
            prop_assert_ne!(detect(&bytes), Start::Unclear);
        }

        /// Methods and targets as long as they get.
        #[test]
        fn enough_is_enough_for_text(text in "[A-Za-z]{0,26} ?(https?:?/?/?)?[a-z]{40}") {
            prop_assert_ne!(detect(&text.as_bytes()[..ENOUGH]), Start::Unclear);
        }
    }
}
