//! Messages that each follow their length.
//!
//! ```text
//! 02 91 06 | 76 95 01 80 …     varints: SignalR with MessagePack, delimited protobuf
//! 00 00 00 02 91 06 | …        32 bits, in either order
//! ```

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'d> {
    pub(super) payload: &'d [u8],
    /// Set if the input ends inside the payload.
    pub(super) truncated: bool,
}

/// Splits the input into messages that fill it exactly, or up to a cut.
pub(super) fn split(input: &[u8], truncated: bool) -> Option<Vec<Frame<'_>>> {
    [varint, be32, le32].into_iter().find_map(|length| {
        let mut frames = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            let Some((len, header)) = length(rest) else {
                return (truncated && !frames.is_empty()).then_some(frames);
            };
            let content = rest.get(header..)?;
            if len == 0 || len > content.len() && !truncated {
                return None;
            }
            let (payload, after) = content.split_at(len.min(content.len()));
            frames.push(Frame { payload, truncated: payload.len() < len });
            rest = after;
        }
        (!frames.is_empty()).then_some(frames)
    })
}

/// Returns a length and the number of bytes in which it is written.
fn varint(input: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (i, &byte) in input.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

fn be32(input: &[u8]) -> Option<(usize, usize)> {
    Some((usize::try_from(u32::from_be_bytes(*input.first_chunk()?)).ok()?, 4))
}

fn le32(input: &[u8]) -> Option<(usize, usize)> {
    Some((usize::try_from(u32::from_le_bytes(*input.first_chunk()?)).ok()?, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fill_the_input() {
        let payloads = |input: &[u8], truncated| -> Option<Vec<Vec<u8>>> {
            Some(split(input, truncated)?.iter().map(|f| f.payload.to_vec()).collect())
        };
        let two = Some(vec![b"ab".to_vec(), b"c".to_vec()]);
        assert_eq!(payloads(b"\x02ab\x01c", false), two);
        assert_eq!(payloads(b"\0\0\0\x02ab\0\0\0\x01c", false), two);
        assert_eq!(payloads(b"\x02\0\0\0ab\x01\0\0\0c", false), two);
        assert_eq!(payloads(b"\x02ab\x02c", false), None);
        assert_eq!(payloads(b"\x02ab\x02c", true), two);
        assert_eq!(payloads(b"", false), None);
    }
}
