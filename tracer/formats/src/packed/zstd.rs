//! Zstandard (RFC 8878): frames, one after another.

use std::io::{self, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::source::Source;

/// Maximum size of a window, in bytes: that of `zstd --ultra` without `--long`.
const MAX_WINDOW: u64 = 128 << 20;

/// Reads the content of all frames.
pub(super) struct Frames<'a> {
    state: State<'a>,
}

enum State<'a> {
    Between(Source<'a>),
    Within(Box<StreamingDecoder<Source<'a>, FrameDecoder>>),
    Ended,
}

impl<'a> Frames<'a> {
    pub(super) fn new(from: Source<'a>) -> Self {
        Self { state: State::Between(from) }
    }

    /// Starts the next frame, behind those without content.
    fn next_frame(mut from: Source<'a>) -> io::Result<State<'a>> {
        loop {
            match *from.peek(8)? {
                [] => return Ok(State::Ended),
                [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d] => {
                    from.skip(8 + u64::from(u32::from_le_bytes([a, b, c, d])))?;
                }
                _ => break,
            }
        }
        let decoder = StreamingDecoder::new_with_max_window_size(from, MAX_WINDOW);
        decoder.map(|decoder| State::Within(Box::new(decoder))).map_err(damaged)
    }
}

fn damaged(err: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compressed data is damaged: {err}"))
}

impl Read for Frames<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Between(from) => Self::next_frame(from)?,
                State::Within(mut decoder) => match decoder.read(out)? {
                    0 if !out.is_empty() => State::Between(decoder.into_inner()),
                    len => {
                        self.state = State::Within(decoder);
                        return Ok(len);
                    }
                },
            };
        }
    }
}
