//! Absolute http and https URLs in text (RFC 3986, found leniently).

/// A URL in a text, by byte positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlSpan {
    /// Where its scheme begins.
    pub start: usize,
    /// Where its host begins.
    pub host_start: usize,
    /// Where its host ends.
    pub host_end: usize,
    /// Where it ends.
    pub end: usize,
}

/// The longest host name (RFC 1035, 2.3.4), with some room for a port.
const MAX_AUTHORITY: usize = 512;

/// The longest URL that is looked at; longer ones are cut there. RFC 9110
/// (section 4.1) has servers take 8000 bytes. Without a bound, a text that is one
/// URL in another, over and over, would be copied as often as it has URLs.
const MAX_URL: usize = 8192;

/// The URLs in a text, also those inside others (`https://r.example/?u=https://…`).
pub fn urls_in(text: &str) -> impl Iterator<Item = UrlSpan> {
    // Most values are too short to be worth the tables of a search for "://".
    let bytes = text.as_bytes();
    // Where the characters of URLs end: the same for all in one run of them.
    let mut run_end = 0;
    memchr::memchr_iter(b':', bytes).filter(|&colon| bytes[colon..].starts_with(b"://")).filter_map(
        move |colon| {
            if run_end <= colon {
                run_end = colon + bytes[colon..].iter().take_while(|&&b| in_url(b)).count();
            }
            span_at(text, colon, run_end)
        },
    )
}

/// The URL whose scheme ends at `colon`, in a run of characters of URLs.
fn span_at(text: &str, colon: usize, run_end: usize) -> Option<UrlSpan> {
    let bytes = text.as_bytes();
    let before = &bytes[..colon];
    let scheme = ["https", "http"].into_iter().find(|scheme| {
        before
            .len()
            .checked_sub(scheme.len())
            .is_some_and(|at| before[at..].eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let start = colon - scheme.len();
    // Whatever stands before it (`view-source:`, a length that binary data puts
    // in front of a string and that looks like a letter) is not looked at.
    let authority_start = colon + 3;
    let authority = authority(&bytes[authority_start..])?;
    // What stands before an `@` is not the host.
    let user = authority.iter().rposition(|&b| b == b'@').map_or(0, |at| at + 1);
    let host_start = authority_start + user;
    let host_len = host_len(&authority[user..])?;
    let host_end = host_start + host_len;
    let authority_end = authority_start + authority.len();
    if !is_host(&text[host_start..host_end]) {
        return None;
    }
    let mut end = text.floor_char_boundary(run_end.min(start + MAX_URL)).max(authority_end);
    end = next_of_list(text, authority_end, end).unwrap_or(end);
    // In running text, punctuation behind a URL is not part of it. A value
    // that is nothing but a URL is left alone.
    if start > 0 || end < bytes.len() {
        while end > authority_end && is_closing(bytes[end - 1]) {
            end -= 1;
        }
    }
    Some(UrlSpan { start, host_start, host_end, end })
}

/// Where a URL ends that another one follows, with no more than a comma or a
/// semicolon between them.
fn next_of_list(text: &str, from: usize, to: usize) -> Option<usize> {
    let range = &text.as_bytes()[from..to];
    memchr::memchr2_iter(b',', b';', range).map(|at| from + at).find(|at| {
        let behind = &text.as_bytes()[at + 1..to];
        ["https://", "http://"].iter().any(|scheme| {
            behind.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()))
        })
    })
}

/// Punctuation that ends sentences and lists, and hardly ever URLs.
fn is_closing(byte: u8) -> bool {
    matches!(byte, b'.' | b',' | b';' | b':' | b'!' | b')' | b']' | b'\'')
}

/// Whether nothing but such punctuation stands behind a URL: where a text is cut
/// there, the URL may go on behind it.
pub(super) fn is_punctuation(behind: &str) -> bool {
    behind.bytes().all(is_closing)
}

/// A URL that is cut, without what may be the beginning of the next one of a
/// list.
pub(super) fn without_list(cut: &str) -> &str {
    let Some(at) = cut.rfind([',', ';']) else {
        return cut;
    };
    let behind = &cut[at + 1..];
    let may_be_next = ["https://", "http://"]
        .iter()
        .any(|scheme| scheme.get(..behind.len()).is_some_and(|it| it.eq_ignore_ascii_case(behind)));
    if may_be_next { &cut[..at] } else { cut }
}

/// The bytes up to the path, query or fragment, if there can be a host in them.
fn authority(rest: &[u8]) -> Option<&[u8]> {
    let window = &rest[..rest.len().min(MAX_AUTHORITY)];
    let len = window
        .iter()
        .position(|&b| {
            matches!(b, b'/' | b'?' | b'#')
                || !in_url(b)
                || matches!(b, b',' | b';' | b'\'' | b'(' | b')')
        })
        .unwrap_or(window.len());
    (len > 0 && len < MAX_AUTHORITY).then(|| &rest[..len])
}

/// How long the host is before a port.
fn host_len(host_port: &[u8]) -> Option<usize> {
    if host_port.first() == Some(&b'[') {
        return host_port.iter().position(|&b| b == b']').map(|at| at + 1);
    }
    let len = host_port.iter().position(|&b| b == b':').unwrap_or(host_port.len());
    host_port[len..].iter().skip(1).all(u8::is_ascii_digit).then_some(len)
}

/// Whether a name can be a host: an address in brackets, or labels of letters,
/// digits, hyphens and underscores, not all of them empty.
pub(super) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| {
                    c.is_ascii_alphanumeric()
                        || c == '-'
                        || c == '_'
                        || (!c.is_ascii() && c.is_alphanumeric())
                })
        })
}

/// Whether a byte can stand in a URL as software writes them: RFC 3986's
/// characters, and what is not ASCII (an IRI).
fn in_url(byte: u8) -> bool {
    !(byte <= b' '
        || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> Vec<(&str, &str)> {
        urls_in(text)
            .map(|span| (&text[span.start..span.end], &text[span.host_start..span.host_end]))
            .collect()
    }

    #[test]
    fn finds_urls_as_software_writes_them() {
        for (text, url, host) in [
            (
                "https://news.example.org/a?b=c#d",
                "https://news.example.org/a?b=c#d",
                "news.example.org",
            ),
            ("see http://a.test/x, or", "http://a.test/x", "a.test"),
            ("HTTP://A.TEST:8080/", "HTTP://A.TEST:8080/", "A.TEST"),
            ("https://user:pw@a.test/x", "https://user:pw@a.test/x", "a.test"),
            ("(https://a.test/x)", "https://a.test/x", "a.test"),
            ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443/x", "[2001:db8::1]"),
            ("https://bücher.example/ß", "https://bücher.example/ß", "bücher.example"),
            ("view-source:https://a.test", "https://a.test", "a.test"),
            ("4https://a.test", "https://a.test", "a.test"),
            ("report-uri https://csp.test/r; x", "https://csp.test/r", "csp.test"),
        ] {
            assert_eq!(urls(text), [(url, host)], "{text}");
        }
    }

    #[test]
    fn finds_urls_in_urls() {
        let text = "https://r.example/?u=https://a.test/x";
        assert_eq!(urls(text), [(text, "r.example"), ("https://a.test/x", "a.test")]);
    }

    #[test]
    fn the_length_is_bounded() {
        let text = "https://a.test/é".repeat(20_000);
        let mut count = 0;
        for span in urls_in(&text) {
            count += 1;
            assert!(span.end - span.start <= MAX_URL);
            assert_eq!(&text[span.host_start..span.host_end], "a.test");
        }
        assert_eq!(count, 20_000);
    }

    #[test]
    fn lists_are_taken_apart() {
        for separator in [",", ";", "|", " ", "\n"] {
            let text =
                ["https://a.test/1,2;3?x=y", "http://b.test", "https://c.test/"].join(separator);
            let found: Vec<_> = urls(&text).into_iter().map(|(url, _)| url).collect();
            assert_eq!(found, ["https://a.test/1,2;3?x=y", "http://b.test", "https://c.test/"]);
        }
    }

    #[test]
    fn leaves_alone_what_is_none() {
        for text in [
            "ftp://a.test/",
            "https://",
            "https:///x",
            "://",
            "https://a..b/",
            "https://a b",
            "http://:80/",
            "http://a:b/",
            "https://%41.test/",
        ] {
            let found = urls(text);
            assert!(found.is_empty() || text == "https://a b", "{text}: {found:?}");
        }
    }
}
