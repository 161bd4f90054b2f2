//! Encodings of mail: quoted-printable (RFC 2045 section 6.7), UTF-7 (RFC 2152), `uuencode`.

use super::{base64, text};

/// Decodes quoted-printable: `=3D` and lines that end in `=`. Returns `None` if an `=`
/// is something else, or if too little says that the text is encoded at all.
pub(super) fn quoted_printable(text: &str) -> Option<Vec<u8>> {
    /// Minimum number of triplets that show the encoding. A single `=3D` or broken line does.
    const MIN_TRIPLETS: usize = 3;
    memchr::memchr(b'=', text.as_bytes())?;
    let mut out = Vec::with_capacity(text.len());
    let (mut rest, mut triplets, mut is_sure) = (text, 0, false);
    while let Some(at) = memchr::memchr(b'=', rest.as_bytes()) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n')) {
            is_sure |= !next.is_empty();
            rest = next;
            continue;
        }
        if after.is_empty() {
            // A soft break at the cut, or padding.
            rest = after;
            break;
        }
        let digits = after
            .get(..2)
            .filter(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        is_sure |= digits == "3D";
        triplets += 1;
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    ((is_sure || triplets >= MIN_TRIPLETS) && text::as_text(&out, true).is_some()).then_some(out)
}

/// Decodes a word of a header field in quoted-printable (RFC 2047): `=?utf-8?Q?text?=`.
pub(super) fn encoded_word(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let word = rest.strip_prefix(['Q', 'q'])?.strip_prefix('?')?.strip_suffix("?=")?;
    quoted_printable(&word.replace('_', " "))
}

/// Decodes the first file in the form of `uuencode`: `begin 644 name`, lines that begin with
/// their length, `end`.
pub(super) fn uuencoded(text: &str) -> Option<Vec<u8>> {
    let start =
        text.strip_prefix("begin ").or_else(|| text.split_once("\nbegin ").map(|it| it.1))?;
    let (head, content) = start.split_once('\n')?;
    let mode = head.split(' ').next()?;
    if !matches!(mode.len(), 3 | 4) || !mode.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        return None;
    }
    let mut out = Vec::with_capacity(content.len());
    for line in content.lines() {
        let value = |byte: &u8| byte.checked_sub(b' ').map(|value| value & 0x3f);
        let Some(len) = line.as_bytes().first().and_then(value).filter(|len| *len > 0) else {
            break;
        };
        let digits: Vec<u8> = line.as_bytes()[1..].iter().map_while(value).collect();
        let bytes = digits.chunks(4).flat_map(|group| {
            let word = (0..4)
                .fold(0, |word, at| word << 6 | u32::from(group.get(at).copied().unwrap_or(0)));
            let [_, bytes @ ..] = word.to_be_bytes();
            bytes.into_iter().take(group.len().saturating_sub(1))
        });
        out.extend(bytes.take(len.into()));
    }
    (!out.is_empty()).then_some(out)
}

/// Decodes UTF-7, in which other characters are base64 of UTF-16: `https+ADo-//`.
/// Returns `None` unless this reveals an address.
pub(super) fn utf7(text: &str) -> Option<String> {
    memchr::memchr(b'+', text.as_bytes())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut any = false;
    while let Some(at) = memchr::memchr(b'+', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let run = &rest[at + 1..];
        let len = run.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/')));
        let len = len.unwrap_or(run.len());
        let after = &run[len..];
        rest = after.strip_prefix('-').unwrap_or(after);
        if len == 0 {
            out.push('+');
            continue;
        }
        let bytes = base64::decode(&run.as_bytes()[..len], true)?.bytes;
        let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        for c in char::decode_utf16(units) {
            out.push(c.ok().filter(|c| !c.is_control())?);
        }
        any = true;
    }
    out.push_str(rest);
    (any && out.contains("://") && !text.contains("://")).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/politics/story-42?q=private";

    #[test]
    fn words_of_header_fields_are_decoded() {
        let plain = b"https://news.example.org/?q=a b".to_vec();
        let text = "=?UTF-8?Q?https=3A=2F=2Fnews.example.org=2F=3Fq=3Da_b?=";
        assert_eq!(encoded_word(text), Some(plain));
        for other in ["=?UTF-8?B?aHR0cA?=", "=?a", "Q?a=3D?="] {
            assert_eq!(encoded_word(other), None);
        }
    }

    #[test]
    fn quoted_printable_is_decoded() {
        for text in [
            "https://news.example.org/politics/story-42?q=3Dprivate",
            "https://news.example.org/poli=\r\ntics/story-42?q=3Dprivate",
            "=68=74=74=70=73://news.example.org/politics/story-42?q=3Dprivate",
        ] {
            assert_eq!(quoted_printable(text).as_deref(), Some(URL.as_bytes()), "{text}");
        }
        for other in [URL, "a=20", "a=b", "dGVzdA==", "x=20&y=30", "plain"] {
            assert_eq!(quoted_printable(other), None, "{other}");
        }
    }

    #[test]
    fn uuencoded_files_are_decoded() {
        // From Python's `binascii`.
        let text = "begin 644 d\nM:'1T<',Z+R]N97=S+F5X86UP;&4N;W)G+W!O;&ET:6-S+W-T;W)Y+30R/W$]\n'<')I=F%T90  \n`\nend\n";
        let decoded = uuencoded(text).unwrap();
        assert_eq!(decoded, URL.as_bytes(), "{}", String::from_utf8_lossy(&decoded));
        for len in 0..text.len() {
            assert!(
                URL.as_bytes().starts_with(&uuencoded(&text[..len]).unwrap_or_default()),
                "{len}"
            );
        }
        for other in ["begin the day\nwith words", "begin 644 d", URL, "begin 999 d\n$AAAA"] {
            assert_eq!(uuencoded(other), None, "{other}");
        }
    }

    #[test]
    fn utf7_is_decoded_if_it_hides_an_address() {
        let text = "https+ADo-//news.example.org/politics/story-42?q+AD0-private";
        assert_eq!(utf7(text).as_deref(), Some(URL));
        assert_eq!(utf7("+AGgAdAB0AHAAcwA6AC8ALw-a.test/").as_deref(), Some("https://a.test/"));
        for other in [URL, "a+b+c", "1+1=2", "+ADo-"] {
            assert_eq!(utf7(other), None, "{other}");
        }
    }
}
