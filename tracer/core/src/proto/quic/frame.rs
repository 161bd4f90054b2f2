//! The frames in the payload of a packet (RFC 9000 section 19).
//!
//! Frames have no common length field, so those that are of no interest are skipped
//! by their structure. A frame of an unknown type ends what can be read of a packet.

use crate::proto::wire::{ReadError, Reader};

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto) enum Frame<'a> {
    /// A frame that is allowed in Initial packets and holds no data: PADDING, PING,
    /// ACK.
    Common,
    /// A piece of the TLS handshake.
    Crypto(Piece<'a>),
    /// A piece of a stream.
    Stream {
        /// Identifier of the stream.
        id: u64,
        /// The piece.
        piece: Piece<'a>,
        /// Set if the stream ends after the piece.
        fin: bool,
    },
    /// The sender abandons a stream, whose data up to `reliable` it still delivers.
    Reset {
        /// Identifier of the stream.
        id: u64,
        /// Offset up to which the data is delivered all the same.
        reliable: u64,
    },
    /// A datagram of this length (RFC 9221).
    Datagram(usize),
    /// A frame that only servers send: NEW_TOKEN, HANDSHAKE_DONE.
    FromServer,
    /// A frame that holds no data.
    Other,
}

/// A piece of a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto) struct Piece<'a> {
    pub(in crate::proto) offset: u64,
    /// The known bytes at its start.
    pub(in crate::proto) known: &'a [u8],
    pub(in crate::proto) len: usize,
}

/// The frames of a payload. After an error, the rest of the payload cannot be read.
#[derive(Debug)]
pub(in crate::proto) struct Frames<'a>(Reader<'a>);

impl<'a> Frames<'a> {
    /// Creates a reader for a payload of `len` bytes that starts with `bytes`.
    pub(in crate::proto) fn new(bytes: &'a [u8], len: usize) -> Self {
        Self(Reader::new(bytes, len))
    }

    /// Returns the number of bytes that were not read.
    pub(in crate::proto) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads the next frame; `None` at the end.
    pub(in crate::proto) fn next(&mut self) -> Option<Result<Frame<'a>, ReadError>> {
        if self.0.is_empty() {
            return None;
        }
        let mut reader = self.0;
        let frame = read(&mut reader);
        if frame.is_ok() {
            self.0 = reader;
        }
        Some(frame)
    }
}

fn read<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, ReadError> {
    let kind = reader.varint()?;
    match kind {
        // PADDING, PING
        0x00 | 0x01 => return Ok(Frame::Common),
        // ACK
        0x02 | 0x03 => {
            // Largest, delay, count, first range; then a gap and a length per range.
            skip_numbers(reader, 2)?;
            let ranges = reader.varint()?;
            reader.varint()?;
            skip_numbers(reader, ranges.saturating_mul(2))?;
            skip_numbers(reader, if kind == 0x03 { 3 } else { 0 })?;
            return Ok(Frame::Common);
        }
        // RESET_STREAM, and RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset)
        0x04 | 0x24 => {
            let id = reader.varint()?;
            skip_numbers(reader, 2)?;
            let reliable = if kind == 0x24 { reader.varint()? } else { 0 };
            return Ok(Frame::Reset { id, reliable });
        }
        // CRYPTO
        0x06 => {
            let offset = reader.varint()?;
            return Ok(Frame::Crypto(piece(offset, reader.varvector()?)));
        }
        // STREAM
        0x08..=0x0f => {
            let id = reader.varint()?;
            let offset = if kind & 0x04 != 0 { reader.varint()? } else { 0 };
            let data = if kind & 0x02 != 0 { reader.varvector()? } else { all(reader)? };
            return Ok(Frame::Stream { id, piece: piece(offset, data), fin: kind & 0x01 != 0 });
        }
        // DATAGRAM
        0x30 => return Ok(Frame::Datagram(all(reader)?.len())),
        0x31 => return Ok(Frame::Datagram(reader.varvector()?.len())),
        // NEW_TOKEN
        0x07 => {
            reader.varvector()?;
            return Ok(Frame::FromServer);
        }
        // HANDSHAKE_DONE
        0x1e => return Ok(Frame::FromServer),
        // IMMEDIATE_ACK (draft-ietf-quic-ack-frequency)
        0x1f => {}
        // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID
        0x10 | 0x12 | 0x13 | 0x14 | 0x16 | 0x17 | 0x19 => skip_numbers(reader, 1)?,
        // STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED
        0x05 | 0x11 | 0x15 => skip_numbers(reader, 2)?,
        // ACK_FREQUENCY
        0xaf => skip_numbers(reader, 4)?,
        // NEW_CONNECTION_ID
        0x18 => {
            skip_numbers(reader, 2)?;
            reader.vector(1)?;
            reader.sub(16)?;
        }
        // PATH_CHALLENGE, PATH_RESPONSE
        0x1a | 0x1b => {
            reader.sub(8)?;
        }
        // CONNECTION_CLOSE
        0x1c | 0x1d => {
            skip_numbers(reader, if kind == 0x1c { 2 } else { 1 })?;
            reader.varvector()?;
        }
        _ => return Err(ReadError::Malformed),
    }
    Ok(Frame::Other)
}

fn skip_numbers(reader: &mut Reader<'_>, count: u64) -> Result<(), ReadError> {
    (0..count).try_for_each(|_| reader.varint().map(drop))
}

/// Splits off everything up to the end of the packet.
fn all<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, ReadError> {
    reader.sub(reader.len())
}

fn piece(offset: u64, data: Reader<'_>) -> Piece<'_> {
    Piece { offset, known: data.known(), len: data.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::tests::unhex;

    fn frames<'a>(payload: &'a [u8]) -> (Vec<Frame<'a>>, usize) {
        let mut frames = Frames::new(payload, payload.len());
        let mut read = Vec::new();
        while let Some(Ok(frame)) = frames.next() {
            read.push(frame);
        }
        (read, frames.len())
    }

    #[test]
    fn every_frame_type_is_skipped_by_its_structure() {
        let stream = "0a 04 02 6869";
        for frame in [
            "00",
            "01",
            "02 05 00 01 02 00 01",
            "03 05 00 00 02 01 02 03",
            "05 04 00",
            "06 00 02 6869",
            "07 02 6869",
            "10 44ff",
            "11 04 44ff",
            "12 10",
            "13 10",
            "14 10",
            "15 04 10",
            "16 10",
            "17 10",
            "18 02 00 04 01020304 000102030405060708090a0b0c0d0e0f",
            "19 02",
            "1a 0001020304050607",
            "1b 0001020304050607",
            "1c 00 06 02 6869",
            "1d 00 02 6869",
            "1e",
            "1f",
            "24 04 00 05 03",
            "31 02 6869",
            "40af 01 02 03 04",
        ] {
            let payload = unhex(&[frame, stream].concat());
            let (read, rest) = frames(&payload);
            assert_eq!((read.len(), rest), (2, 0), "{frame}");
            let piece = Piece { offset: 0, known: b"hi", len: 2 };
            assert_eq!(read[1], Frame::Stream { id: 4, piece, fin: false }, "{frame}");
            // A truncated frame is not read.
            for len in 1..unhex(frame).len() {
                assert!(frames(&payload[..len]).0.is_empty(), "{frame} {len}");
            }
        }
    }

    #[test]
    fn streams_may_have_no_length_or_offset() {
        let piece = |offset, known: &'static [u8]| Piece { offset, known, len: known.len() };
        for (payload, piece, fin) in [
            ("08 04 6869", piece(0, b"hi"), false),
            ("09 04 6869", piece(0, b"hi"), true),
            ("0d 04 4100 6869", piece(256, b"hi"), true),
            ("0f 04 05 02 6869", piece(5, b"hi"), true),
            ("09 04", piece(0, b""), true),
        ] {
            let payload = unhex(payload);
            assert_eq!(frames(&payload), (vec![Frame::Stream { id: 4, piece, fin }], 0));
        }
    }

    #[test]
    fn a_truncated_payload_has_known_starts() {
        let payload = unhex("0a 04 05 6869");
        let mut frames = Frames::new(&payload, payload.len() + 6);
        let piece = Piece { offset: 0, known: b"hi", len: 5 };
        assert_eq!(frames.next(), Some(Ok(Frame::Stream { id: 4, piece, fin: false })));
        assert_eq!(frames.next(), Some(Err(ReadError::Cut)));
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn an_unknown_type_ends_the_packet() {
        let payload = unhex("01 3f 0a 04 02 6869");
        assert_eq!(frames(&payload), (vec![Frame::Common], 6));
    }

    proptest! {
        #[test]
        fn nothing_panics(payload in proptest::collection::vec(any::<u8>(), 0..80), more in 0usize..40) {
            let mut frames = Frames::new(&payload, payload.len() + more);
            while let Some(Ok(_)) = frames.next() {}
        }
    }
}
