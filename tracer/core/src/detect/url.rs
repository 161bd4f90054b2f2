//! Absolute http and https URLs in text (RFC 3986, found leniently).

/// The position of a URL in a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlSpan {
    /// Start of the scheme.
    pub start: usize,
    /// Start of the host.
    pub host_start: usize,
    /// End of the host.
    pub host_end: usize,
    /// End of the URL.
    pub end: usize,
}

/// Maximum length of an authority: that of a host name (RFC 1035, section 2.3.4)
/// with room for a user and a port.
const MAX_AUTHORITY: usize = 512;

/// Maximum length of a URL; longer ones are cut. RFC 9110 (section 4.1) recommends
/// support for 8000 bytes. Without a bound, a text of deeply nested URLs would be
/// copied once for each of them.
const MAX_URL: usize = 8192;

/// Finds the URLs in a text, also those inside others
/// (`https://r.example/?u=https://…`).
pub fn urls_in(text: &str) -> impl Iterator<Item = UrlSpan> {
    // Most values are too short for a substring search to repay its setup.
    let bytes = text.as_bytes();
    // End of the current run of URL characters, shared by all URLs in the run.
    let mut run_end = 0;
    memchr::memchr_iter(b':', bytes).filter(|&colon| bytes[colon..].starts_with(b"://")).filter_map(
        move |colon| {
            if run_end <= colon {
                run_end = colon + bytes[colon..].iter().take_while(|&&b| is_url_byte(b)).count();
            }
            span_at(text, colon, run_end)
        },
    )
}

/// Returns the URL whose scheme ends at `colon`, in a run of URL characters that
/// ends at `run_end`.
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
    // Any text may precede the scheme: `view-source:`, or in binary data a length
    // prefix that happens to be a letter.
    let authority_start = colon + 3;
    let authority = authority(&bytes[authority_start..])?;
    // Skip user and password before an `@`.
    let user = authority.iter().rposition(|&b| b == b'@').map_or(0, |at| at + 1);
    let host_start = authority_start + user;
    let host_len = host_len(&authority[user..])?;
    let host_end = host_start + host_len;
    let authority_end = authority_start + authority.len();
    if !is_host(&text[host_start..host_end]) {
        return None;
    }
    let mut end = text.floor_char_boundary(run_end.min(start + MAX_URL)).max(authority_end);
    end = end_before_next_url(text, authority_end, end).unwrap_or(end);
    // In running text, punctuation after a URL is not part of it. A value that
    // consists of a URL is kept whole.
    if start > 0 || end < bytes.len() {
        while end > authority_end && is_closing(bytes[end - 1]) {
            end -= 1;
        }
    }
    Some(UrlSpan { start, host_start, host_end, end })
}

/// Returns the end of a URL that another one follows, separated by only a comma or
/// a semicolon.
fn end_before_next_url(text: &str, from: usize, to: usize) -> Option<usize> {
    let range = &text.as_bytes()[from..to];
    memchr::memchr2_iter(b',', b';', range).map(|at| from + at).find(|at| {
        let rest = &text.as_bytes()[at + 1..to];
        ["https://", "http://"].iter().any(|scheme| {
            rest.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()))
        })
    })
}

/// Reports whether a byte is punctuation that ends sentences and lists, but hardly
/// ever URLs.
fn is_closing(byte: u8) -> bool {
    matches!(byte, b'.' | b',' | b';' | b':' | b'!' | b')' | b']' | b'\'')
}

/// Reports whether only closing punctuation follows a URL. If the text is cut after
/// it, the URL may continue.
pub(super) fn is_closing_punctuation(rest: &str) -> bool {
    rest.bytes().all(is_closing)
}

/// Removes from a truncated URL the possible beginning of the next URL in a list.
pub(super) fn trim_next_url(cut: &str) -> &str {
    let Some(at) = cut.rfind([',', ';']) else {
        return cut;
    };
    let rest = &cut[at + 1..];
    let may_be_next = ["https://", "http://"]
        .iter()
        .any(|scheme| scheme.get(..rest.len()).is_some_and(|it| it.eq_ignore_ascii_case(rest)));
    if may_be_next { &cut[..at] } else { cut }
}

/// Returns the bytes before the path, query or fragment, if they can contain a
/// host.
fn authority(rest: &[u8]) -> Option<&[u8]> {
    let window = &rest[..rest.len().min(MAX_AUTHORITY)];
    let len = window
        .iter()
        .position(|&b| {
            matches!(b, b'/' | b'?' | b'#')
                || !is_url_byte(b)
                || matches!(b, b',' | b';' | b'\'' | b'(' | b')')
        })
        .unwrap_or(window.len());
    (len > 0 && len < MAX_AUTHORITY).then(|| &rest[..len])
}

/// Returns the length of the host before a port.
fn host_len(host_port: &[u8]) -> Option<usize> {
    if host_port.first() == Some(&b'[') {
        return host_port.iter().position(|&b| b == b']').map(|at| at + 1);
    }
    let len = host_port.iter().position(|&b| b == b':').unwrap_or(host_port.len());
    host_port[len..].iter().skip(1).all(u8::is_ascii_digit).then_some(len)
}

/// Reports whether a name can be a host: an IPv6 address in brackets, or non-empty
/// labels of letters, digits, hyphens and underscores.
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

/// Reports whether a byte can occur in a URL: the characters of RFC 3986, and any
/// that is not ASCII (as in an IRI).
fn is_url_byte(byte: u8) -> bool {
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
    fn finds_urls_in_running_text() {
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
    fn bounds_the_length() {
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
    fn splits_lists() {
        for separator in [",", ";", "|", " ", "\n"] {
            let text =
                ["https://a.test/1,2;3?x=y", "http://b.test", "https://c.test/"].join(separator);
            let found: Vec<_> = urls(&text).into_iter().map(|(url, _)| url).collect();
            assert_eq!(found, ["https://a.test/1,2;3?x=y", "http://b.test", "https://c.test/"]);
        }
    }

    #[test]
    fn ignores_text_that_is_not_a_url() {
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
