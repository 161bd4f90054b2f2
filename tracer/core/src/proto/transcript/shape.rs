//! The shape of the head of a message: enough of it to find its end.

use crate::proto::{
    begins_with_request,
    http1::{is_token, lines},
};

/// Maximum length of a head. Longer text is not taken for one.
const MAX_HEAD: usize = 256 << 10;

/// Minimum length of a line that separates messages.
const MIN_SEPARATOR: usize = 3;

/// The shape of a head: a first line, fields, and an empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeadShape {
    /// Length, with the empty line.
    pub(super) len: usize,
    /// Number of fields.
    pub(super) fields: usize,
    pub(super) has_host: bool,
    /// Set if lines end in CRLF.
    pub(super) has_cr: bool,
    /// Set if the empty line is known.
    pub(super) is_whole: bool,
}

impl HeadShape {
    /// Returns the shape of the head at the start of the bytes. Returns `None`
    /// if a line is not a field.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::examine(bytes).0
    }

    /// Returns the shape of the head at the start of the bytes, if there is one,
    /// and the number of bytes that were examined.
    pub(super) fn examine(bytes: &[u8]) -> (Option<Self>, usize) {
        let reachable = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let mut head = Self { len: 0, fields: 0, has_host: false, has_cr: false, is_whole: false };
        for (number, line) in reachable.split_inclusive(|&b| b == b'\n').enumerate() {
            head.len += line.len();
            head.has_cr |= line.ends_with(b"\r\n");
            let is_ended = line.ends_with(b"\n");
            let text = line.trim_ascii_end();
            match number {
                0 => continue,
                _ if text.is_empty() && is_ended => {
                    head.is_whole = true;
                    let len = head.len;
                    return (Some(head), len);
                }
                _ if line.starts_with(b" ") || line.starts_with(b"\t") => continue,
                _ => {}
            }
            let Some(name) = field_name(text) else {
                // The last line may be cut.
                let len = head.len;
                let is_cut = !is_ended && text.iter().all(|&b| is_token(b));
                return (is_cut.then_some(head), len);
            };
            head.fields += 1;
            head.has_host |= name.eq_ignore_ascii_case(b"host");
        }
        ((reachable.len() == bytes.len()).then_some(head), reachable.len())
    }
}

fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.get(..memchr::memchr(b':', line)?)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(|&b| is_token(b))).then_some(name)
}

/// Returns the value of the first field of that name in a head.
pub(super) fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut fields = lines(head).skip(1);
    fields.find_map(|(line, _)| {
        field_name(line).filter(|found| found.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(line.get(memchr::memchr(b':', line)? + 1..)?.trim_ascii())
    })
}

/// Reports whether the bytes start with a status line.
pub(super) fn is_status_line(bytes: &[u8]) -> bool {
    status(bytes).is_some()
}

/// Returns the status in the status line at the start of the bytes.
pub(super) fn status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/")?;
    let rest = match rest {
        [b'0' | b'1', b'.', b'0'..=b'9', b' ', rest @ ..]
        | [b'2' | b'3', b'.', b'0', b' ', rest @ ..]
        | [b'2' | b'3', b' ', rest @ ..] => rest,
        _ => return None,
    };
    let (digits, behind) = rest.split_at_checked(3)?;
    let is_end = matches!(behind, [] | [b' ' | b'\r' | b'\n', ..]);
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (is_end && digits.iter().all(u8::is_ascii_digit) && status >= 100).then_some(status)
}

/// Reports whether the bytes start with the head of a response: its status line,
/// and fields up to an empty line.
pub(super) fn is_response(bytes: &[u8]) -> bool {
    is_status_line(bytes) && HeadShape::parse(bytes).is_some_and(|head| head.is_whole)
}

/// Reports whether the bytes start with the first line of a message.
pub(super) fn starts_message(bytes: &[u8]) -> bool {
    is_status_line(bytes) || begins_with_request(bytes)
}

/// Reports whether a line, without its end, is the first of a message.
pub(super) fn starts_message_in_line(line: &[u8]) -> bool {
    let line = line.get(..MAX_HEAD).unwrap_or(line);
    is_status_line(line) || begins_with_request(&[line, b"\n"].concat())
}

/// Reports whether a line separates messages: it begins and ends with the same
/// sign, three times or more. Files of REST clients write a name behind `###`.
pub(super) fn is_separator(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let Some(&sign) = line.first().filter(|sign| b"-=#*_~+.".contains(sign)) else {
        return false;
    };
    let leading = line.iter().take_while(|&&b| b == sign).count();
    let trailing = line.iter().rev().take_while(|&&b| b == sign).count();
    leading >= MIN_SEPARATOR && (trailing >= MIN_SEPARATOR || sign == b'#')
}
