//! Dumps of bytes as text: an offset, the bytes in hexadecimal or octal, and the printable ones as
//! characters.
//!
//! ```text
//! 00000000: 6874 7470 733a 2f2f 6e65 7773 2e65 7861  https://news.exa     xxd
//! 00000000  68 74 74 70 73 3a 2f 2f  6e 65 77 73 2e …  |https://news.exa|  hexdump -C
//! 0000000 150 164 164 160 163 072 057 057                                  od -b
//! ```
//!
//! The number of bytes in a line follows from the offset of the next one, so nothing in the last
//! column is taken for a digit.

/// Minimum number of bytes of a line, except the last one.
const MIN_LINE: usize = 4;

/// Maximum number of bytes of a line.
const MAX_LINE: usize = 64;

/// A line of a dump.
struct Line<'t> {
    offset: usize,
    rest: &'t str,
}

/// Splits a line into its offset and the rest.
fn line(text: &str, radix: u32) -> Option<Line<'_>> {
    const LENGTHS: std::ops::RangeInclusive<usize> = 4..=17;
    let end = text.find([' ', '\t', ':']).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    // The address of WinDbg has a mark in its middle.
    let digits = digits.strip_prefix("0x").unwrap_or(digits).replace('`', "");
    let is_offset = LENGTHS.contains(&digits.len());
    let offset = usize::from_str_radix(&digits, radix).ok().filter(|_| is_offset)?;
    Some(Line { offset, rest: rest.strip_prefix(':').unwrap_or(rest) })
}

/// Reads `count` bytes in digits. If their number is not known, they end at a wide space.
fn bytes(line: &str, count: Option<usize>, radix: u32, out: &mut Vec<u8>) -> Option<usize> {
    // Digits of a byte.
    let width = if radix == 16 { 2 } else { 3 };
    let body = line.trim_start();
    let body = match count {
        None => body.split("  ").next().unwrap_or(body),
        Some(_) => body,
    };
    let before = out.len();
    let mut group_len = 1;
    for group in body.split([' ', '-', '\t']).filter(|group| !group.is_empty()) {
        if count.is_some_and(|count| out.len() - before >= count) {
            break;
        }
        let is_number = group.bytes().all(|b| char::from(b).is_digit(radix));
        if radix == 8 && group.len() == 6 && is_number {
            // `od` writes words of the machine.
            out.extend_from_slice(&u16::from_str_radix(group, 8).ok()?.to_le_bytes());
            group_len = 2;
            continue;
        }
        if !is_number || !group.len().is_multiple_of(width) || group.len() > 16 {
            if count.is_none() {
                break;
            }
            return None;
        }
        group_len = group.len() / width;
        for digits in group.as_bytes().chunks(width) {
            let digits = std::str::from_utf8(digits).ok()?;
            out.push(u8::from_str_radix(digits, radix).ok()?);
        }
    }
    if let Some(count) = count {
        // The last word is filled up.
        if out.len() - before < count || out.len() - before >= count + 2 {
            return None;
        }
    }
    (out.len() - before <= MAX_LINE).then_some(group_len)
}

/// Returns the bytes of a dump, and the same with words of two bytes in the other order, as
/// `hexdump` writes them.
pub(super) fn decode(text: &str) -> impl Iterator<Item = Vec<u8>> {
    // Most texts are not even of several lines.
    let may_be = text.trim_start().starts_with(|c: char| c.is_ascii_hexdigit())
        && memchr::memchr(b'\n', text.as_bytes()).is_some();
    let radixes: &[u32] = if may_be { &[16, 8] } else { &[] };
    let found = radixes.iter().find_map(|radix| decode_with(text, *radix));
    found.into_iter().flat_map(|(bytes, group_len, len)| {
        let swapped = (group_len == 2).then(|| {
            let mut swapped = bytes.clone();
            swapped.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            swapped
        });
        std::iter::once(bytes).chain(swapped).map(move |mut bytes| {
            bytes.truncate(len);
            bytes
        })
    })
}

/// Returns the bytes, the number of them in a group, and how many there are without padding.
fn decode_with(text: &str, radix: u32) -> Option<(Vec<u8>, usize, usize)> {
    let mut lines = text.trim_end().lines().map(|text| line(text.trim_start(), radix));
    let first = lines.next()??;
    let mut out = Vec::new();
    let (start, mut last) = (first.offset, first);
    let (mut group_len, mut width) = (1, MIN_LINE);
    for next in lines {
        let next = next?;
        let count =
            next.offset.checked_sub(last.offset).filter(|it| (1..=MAX_LINE).contains(it))?;
        // Only the last line is shorter than the first one.
        let is_end = next.rest.trim().is_empty();
        if out.len() != last.offset - start || count < width && !is_end {
            return None;
        }
        width = count.max(MIN_LINE);
        group_len = group_len.max(bytes(last.rest, Some(count), radix, &mut out)?);
        last = next;
    }
    // A single line could be anything.
    let mut len = last.offset.checked_sub(start).filter(|len| *len >= MIN_LINE)?;
    if !last.rest.trim().is_empty() {
        bytes(last.rest, None, radix, &mut out)?;
        len = out.len();
    }
    Some((out, group_len, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &[u8] = b"https://news.example.org/politics";

    #[test]
    fn dumps_of_usual_tools_are_read() {
        for text in [
            // xxd
            "00000000: 6874 7470 733a 2f2f 6e65 7773 2e65 7861  https://news.exa\n\
             00000010: 6d70 6c65 2e6f 7267 2f70 6f6c 6974 6963  mple.org/politic\n\
             00000020: 73                                       s\n",
            // hexdump -C
            "00000000  68 74 74 70 73 3a 2f 2f  6e 65 77 73 2e 65 78 61  |https://news.exa|\n\
             00000010  6d 70 6c 65 2e 6f 72 67  2f 70 6f 6c 69 74 69 63  |mple.org/politic|\n\
             00000020  73                                                |s|\n\
             00000021\n",
            // hexdump
            "0000000 7468 7074 3a73 2f2f 656e 7377 652e 6178\n\
             0000010 706d 656c 6f2e 6772 702f 6c6f 7469 6369\n\
             0000020 0073\n\
             0000021\n",
            // od
            "0000000 072150 070164 035163 027457 062556 071567 062456 060570\n\
             0000020 070155 062554 067456 063562 070057 066157 072151 061551\n\
             0000040 000163\n\
             0000041\n",
            // od -A x -t x1, Wireshark
            "000000 68 74 74 70 73 3a 2f 2f 6e 65 77 73 2e 65 78 61\n\
             000010 6d 70 6c 65 2e 6f 72 67 2f 70 6f 6c 69 74 69 63\n\
             000020 73\n\
             000021\n",
            "0000   68 74 74 70 73 3a 2f 2f 6e 65 77 73 2e 65 78 61   https://news.exa\n\
             0010   6d 70 6c 65 2e 6f 72 67 2f 70 6f 6c 69 74 69 63   mple.org/politic\n\
             0020   73                                                s\n",
            // WinDbg
            "00007ff6`00000000  68 74 74 70 73 3a 2f 2f-6e 65 77 73 2e 65 78 61  https://news.exa\n\
             00007ff6`00000010  6d 70 6c 65 2e 6f 72 67-2f 70 6f 6c 69 74 69 63  mple.org/politic\n\
             00007ff6`00000020  73                                               s\n",
        ] {
            let all: Vec<Vec<u8>> = decode(text).collect();
            assert!(all.iter().any(|bytes| bytes == URL), "{text}{all:x?}");
        }
    }

    #[test]
    fn other_text_is_no_dump() {
        for text in [
            "",
            "2026 a text\n2027 another\n",
            "00000000: 6874 7470\n",
            "1795382061 12 13 14\n1795382062 12 13 14\n",
            "0001 42 43 44 45\n0002 42 43 44 45\n0003 42 43 44 45\n",
        ] {
            assert_eq!(decode(text).count(), 0, "{text}");
        }
    }
}
