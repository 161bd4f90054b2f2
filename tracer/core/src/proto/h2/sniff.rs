//! Recognises HTTP/2 at the start of a send.

use super::frame::{END_HEADERS, Frame, FrameType, HEADER_LEN, PREFACE};
use crate::proto::{Field, Gap, hpack};

/// The data at the start of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The preface of a connection, or a prefix of it.
    Preface,
    /// Frames of a connection that started earlier.
    Frames,
    /// Data not recognisable as HTTP/2.
    Other,
}

/// Minimum length of a preface: `PRI * HTTP`.
const MIN_PREFACE: usize = 10;

/// Determines what `send`, the known prefix of a send, starts with.
///
/// Nine bytes alone are weak evidence. [`Start::Frames`] therefore requires a
/// typical frame header and one of the following: the frame ends where the
/// bytes end; a complete typical header follows the frame; the frame opens a
/// header block that decodes to the pseudo-header fields of a request. Random
/// bytes pass the first test about once in 2²² cases, and each of the others
/// far more rarely.
pub fn recognise(send: &[u8]) -> Start {
    if send.starts_with(PREFACE) || (send.len() >= MIN_PREFACE && PREFACE.starts_with(send)) {
        return Start::Preface;
    }
    let Some(frame) = Frame::first(send).filter(Frame::is_typical) else {
        return Start::Other;
    };
    let end = HEADER_LEN + frame.len as usize;
    let convincing = match send.get(end..) {
        Some([]) => true,
        Some(rest) => {
            Frame::first(rest).is_some_and(|next| follows(frame, next))
                || opens_request(frame, &send[..end])
        }
        None => opens_request(frame, send),
    };
    if convincing { Start::Frames } else { Start::Other }
}

/// Reports whether `next` may directly follow `frame`.
fn follows(frame: Frame, next: Frame) -> bool {
    if frame.kind == FrameType::Headers && !frame.has(END_HEADERS) {
        return next.kind == FrameType::Continuation && next.stream == frame.stream;
    }
    next.is_typical()
}

/// Reports whether the frame, as far as `bytes` contains it, opens the header
/// block of a request.
fn opens_request(frame: Frame, bytes: &[u8]) -> bool {
    if frame.kind != FrameType::Headers || frame.is_padded() {
        return false;
    }
    let Some(block) = bytes.get(HEADER_LEN + frame.prefix() as usize..) else {
        return false;
    };
    let cut = [Gap { at: block.len(), len: None }];
    let section = hpack::Decoder::joined().decode(block, &cut);
    if section.end != hpack::End::Cut {
        return false;
    }
    let whole = |field: &Field| Some((field.name.whole()?.clone(), field.value.whole()?.clone()));
    let mut pseudo = 0;
    for (name, value) in section.fields.iter().filter_map(whole) {
        match is_plausible_pseudo_header(&name, &value) {
            Some(true) => pseudo += 1,
            Some(false) => return false,
            None => {}
        }
    }
    pseudo >= 2
}

/// Reports whether the value is plausible for a pseudo-header field of a
/// request; `None` for other fields.
fn is_plausible_pseudo_header(name: &[u8], value: &[u8]) -> Option<bool> {
    match name {
        b":method" => Some(!value.is_empty() && value.iter().all(u8::is_ascii_uppercase)),
        b":scheme" => Some(matches!(value, b"http" | b"https")),
        b":path" => Some(value.starts_with(b"/")),
        b":authority" => {
            let host = |b: &u8| b.is_ascii_alphanumeric() || b".-:[]_".contains(b);
            Some(!value.is_empty() && value.iter().all(host))
        }
        _ => name.starts_with(b":").then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_UPDATE: &[u8] = b"\0\0\x04\x08\0\0\0\0\x05\0\0\x10\0";

    #[test]
    fn a_preface_is_recognised_from_its_tenth_byte() {
        for len in 0..PREFACE.len() {
            let start = if len < MIN_PREFACE { Start::Other } else { Start::Preface };
            assert_eq!(recognise(&PREFACE[..len]), start, "{len}");
        }
        assert_eq!(recognise(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"), Start::Preface);
        assert_eq!(recognise(b"PRI * HTTP/2.1\r\n\r\n"), Start::Other);
    }

    #[test]
    fn frames_are_recognised_by_their_end() {
        assert_eq!(recognise(WINDOW_UPDATE), Start::Frames);
        assert_eq!(recognise(&[WINDOW_UPDATE, WINDOW_UPDATE].concat()), Start::Frames);
        assert_eq!(recognise(&[WINDOW_UPDATE, &WINDOW_UPDATE[..9]].concat()), Start::Frames);
        assert_eq!(recognise(&[WINDOW_UPDATE, &WINDOW_UPDATE[..8]].concat()), Start::Other);
        assert_eq!(recognise(&WINDOW_UPDATE[..12]), Start::Other);
        assert_eq!(recognise(&[WINDOW_UPDATE, b"and no frame"].concat()), Start::Other);
    }

    #[test]
    fn a_truncated_header_block_is_recognised_by_its_fields() {
        // GET, https, then a literal :path that continues.
        let head = b"\0\x10\0\x01\x25\0\0\0\x07\0\0\0\0\xff\x82\x87\x04\x7f\x20/path";
        assert_eq!(recognise(head), Start::Frames);
        assert_eq!(
            recognise(b"\0\x10\0\x01\x25\0\0\0\x07\0\0\0\0\xffwith no fields"),
            Start::Other
        );
    }

    #[test]
    fn other_protocols_are_not_frames() {
        for other in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"\0\0\0\x2a\x03\0\0\0\x01{\"length\":\"prefixed\"}",
            b"\0\x1c\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01",
            &[0; 64],
            b"",
        ] {
            assert_eq!(recognise(other), Start::Other, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_not_frames(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Not a certainty, but fails less than once in a million runs.
            prop_assert_eq!(recognise(&noise), Start::Other);
        }

        #[test]
        fn a_frame_header_alone_is_not_enough(
            kind in 0u8..0x11,
            flags: u8,
            stream: u32,
            noise in proptest::collection::vec(0x20u8..0x7f, 300..400),
        ) {
            let mut write = vec![0, 1, 0, kind, flags];
            write.extend(stream.to_be_bytes());
            write.extend(noise);
            prop_assert_eq!(recognise(&write), Start::Other);
        }
    }
}
