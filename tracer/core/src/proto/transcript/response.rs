//! The length of the body of a response (RFC 9112 section 6.3).

use super::shape::{HeadShape, field, status};

/// Returns the length of the body behind a head, if the head and the body show
/// it. `method` is that of the request.
pub(super) fn body_len(bytes: &[u8], head: &HeadShape, method: Option<&str>) -> Option<usize> {
    let (fields, body) = bytes.split_at_checked(head.len)?;
    match (status(bytes), method) {
        (Some(100..=199 | 204 | 304), _) | (_, Some("HEAD")) => return Some(0),
        (Some(200..=299), Some("CONNECT")) => return Some(0),
        _ => {}
    }
    if let Some(coding) = field(fields, "transfer-encoding") {
        return coding.to_ascii_lowercase().ends_with(b"chunked").then(|| chunked_len(body))?;
    }
    let length = std::str::from_utf8(field(fields, "content-length")?).ok()?;
    length.bytes().all(|b| b.is_ascii_digit()).then(|| length.parse().ok())?
}

/// Returns the length of a chunked body, with its trailer section. Returns
/// `None` if a tool has removed the chunks.
fn chunked_len(body: &[u8]) -> Option<usize> {
    let line_end = |at: usize| Some(at + memchr::memchr(b'\n', body.get(at..)?)? + 1);
    let mut at = 0;
    loop {
        let end = line_end(at)?;
        let size = body.get(at..end)?.split(|&b| b == b';').next()?.trim_ascii();
        let is_size = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
        let size =
            is_size.then(|| usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok())??;
        at = end;
        if size == 0 {
            break;
        }
        at = at.checked_add(size).filter(|&at| at <= body.len())?;
        let rest = body.get(at..)?;
        at += if rest.starts_with(b"\r\n") {
            2
        } else if rest.starts_with(b"\n") {
            1
        } else {
            return None;
        };
    }
    // The trailer section ends with an empty line, which may be missing at the
    // end of the file.
    while let Some(end) = line_end(at) {
        let is_last = body.get(at..end)?.trim_ascii().is_empty();
        at = end;
        if is_last {
            break;
        }
    }
    Some(at)
}
