//! Decompression of permessage-deflate (RFC 7692 section 7.2.2) that continues
//! after its window was lost.
//!
//! A client may refer to the last 32 KiB of its earlier messages, unless one
//! side declined context takeover. Only the client's offer is visible, never
//! the server's answer, but neither is needed: a client without context
//! takeover never refers to the window, so keeping it does no harm.
//!
//! **A lost window.** After a message that was not captured, the content of the
//! window is unknown, but the following bits are not. Two decompressors then
//! read the same input, one with its window filled with zeros and the other
//! with ones. They run in lockstep, since only the output depends on the
//! window. A byte that came from the window, however often it was copied,
//! differs between them, and every other byte is equal. Exactly the unknown
//! bytes thus become gaps. After 32 KiB of equal output, the window is known
//! again and one decompressor suffices.

use flate2::{Decompress, FlushDecompress, Status};

use super::MAX_MESSAGE;
use crate::proto::pieces::Pieces;

/// Maximum window size of DEFLATE (RFC 1951 section 2).
const WINDOW: usize = 1 << 15;

/// Maximum number of bytes a message may inflate to before it is abandoned.
/// Output beyond [`MAX_MESSAGE`] is only inflated to maintain the window.
const MAX_INFLATED: usize = 2 * MAX_MESSAGE;

/// The bytes that end every message and are not sent (RFC 7692 section 7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The input cannot be decompressed any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The decompression state of one direction of a connection.
#[derive(Debug)]
pub(super) struct Inflate {
    stream: Decompress,
    /// The same stream with the other window content, while the window is
    /// unknown.
    twin: Option<Decompress>,
    /// Number of equal output bytes since the last difference.
    agreed: usize,
    /// Number of bytes inflated in the current message.
    inflated: usize,
}

impl Inflate {
    /// Creates the state at the start of a connection, with an empty window.
    pub(super) fn new() -> Inflate {
        Inflate { stream: Decompress::new(false), twin: None, agreed: 0, inflated: 0 }
    }

    /// Creates the state after data that was not captured.
    pub(super) fn lost() -> Inflate {
        let mut inflate = Inflate::new();
        fill(&mut inflate.stream, 0x00);
        let mut twin = Decompress::new(false);
        fill(&mut twin, 0xff);
        inflate.twin = Some(twin);
        inflate
    }

    /// Inflates a part of a message, appending to `body`.
    pub(super) fn push(&mut self, mut input: &[u8], body: &mut Pieces) -> Result<(), Broken> {
        let (mut ours, mut theirs) = ([0; 4096], [0; 4096]);
        loop {
            let (used, made, ended) = step(&mut self.stream, input, &mut ours)?;
            if let Some(twin) = &mut self.twin {
                if step(twin, input, &mut theirs)? != (used, made, ended) {
                    return Err(Broken);
                }
                self.compare(&ours[..made], &theirs[..made], body);
            } else {
                body.push(&ours[..made], MAX_MESSAGE);
            }
            input = &input[used..];
            self.inflated += made;
            if self.inflated > MAX_INFLATED {
                return Err(Broken);
            }
            if ended {
                // A final block is allowed, and the window of the client
                // survives it (section 7.2.3.5); that of the decompressor does
                // not.
                *self = Inflate { inflated: self.inflated, ..Inflate::lost() };
            } else if made < ours.len() {
                return if input.is_empty() { Ok(()) } else { Err(Broken) };
            }
        }
    }

    /// Ends a message.
    pub(super) fn finish(&mut self, body: &mut Pieces) -> Result<(), Broken> {
        let outcome = self.push(&TAIL, body);
        self.inflated = 0;
        outcome
    }

    /// Appends bytes on which both streams agree, and gaps for all others.
    fn compare(&mut self, ours: &[u8], theirs: &[u8], body: &mut Pieces) {
        let agree: Vec<bool> = ours.iter().zip(theirs).map(|(a, b)| a == b).collect();
        let mut at = 0;
        for run in agree.chunk_by(|a, b| a == b) {
            if run[0] {
                body.push(&ours[at..at + run.len()], MAX_MESSAGE);
                self.agreed += run.len();
            } else {
                body.skip(Some(run.len() as u64));
                self.agreed = 0;
            }
            at += run.len();
        }
        if self.agreed >= WINDOW {
            self.twin = None;
        }
    }
}

/// Runs a stream once. Returns the number of bytes read and written, and
/// whether the stream ended.
fn step(
    stream: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<(usize, usize, bool), Broken> {
    let (read, wrote) = (stream.total_in(), stream.total_out());
    let status = stream.decompress(input, output, FlushDecompress::None).map_err(|_| Broken)?;
    // Both are at most the length of a slice.
    let used = (stream.total_in() - read) as usize;
    let made = (stream.total_out() - wrote) as usize;
    Ok((used, made, status == Status::StreamEnd))
}

/// Fills the window of a new stream with `byte` by means of a stored block.
fn fill(stream: &mut Decompress, byte: u8) {
    const LEN: [u8; 2] = (WINDOW as u16).to_le_bytes();
    let mut block = vec![0x00, LEN[0], LEN[1], !LEN[0], !LEN[1]];
    block.resize(block.len() + WINDOW, byte);
    let mut output = vec![0; WINDOW];
    let filled = step(stream, &block, &mut output);
    debug_assert_eq!(filled, Ok((block.len(), WINDOW, false)), "a stored block is read whole");
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;
    use crate::proto::Body;

    /// Compresses messages like a client with context takeover.
    struct Deflate(Compress);

    impl Deflate {
        fn new() -> Deflate {
            Deflate(Compress::new(Compression::best(), false))
        }

        fn message(&mut self, text: &[u8]) -> Vec<u8> {
            let mut out = Vec::with_capacity(text.len() * 2 + 1024);
            self.0.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
            assert_eq!(out.split_off(out.len() - TAIL.len()), TAIL);
            out
        }
    }

    fn inflated(inflate: &mut Inflate, input: &[u8]) -> Result<Body, Broken> {
        let mut body = Pieces::default();
        for part in input.chunks(7) {
            inflate.push(part, &mut body)?;
        }
        inflate.finish(&mut body)?;
        Ok(body.into_body())
    }

    /// Reports whether every known byte matches `truth` at its position.
    fn agrees(body: &Body, truth: &[u8]) -> bool {
        let (mut rest, mut from) = (truth, 0);
        for gap in &body.gaps {
            let Some(after) = rest.strip_prefix(&body.data[from..gap.at]) else {
                return false;
            };
            let Some(after) = after.get(gap.len.unwrap() as usize..) else {
                return false;
            };
            (rest, from) = (after, gap.at);
        }
        rest == &body.data[from..]
    }

    #[test]
    fn the_window_is_kept() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
        for text in [&b"the first message"[..], b"", b"the first message again"] {
            let body = inflated(&mut inflate, &deflate.message(text)).unwrap();
            assert_eq!((&body.data[..], body.gaps.len()), (text, 0));
        }
    }

    #[test]
    fn a_client_without_context_takeover_is_read() {
        let mut inflate = Inflate::new();
        for text in [&b"the first message"[..], b"the first message again"] {
            let body = inflated(&mut inflate, &Deflate::new().message(text)).unwrap();
            assert_eq!((&body.data[..], body.gaps.len()), (text, 0));
        }
    }

    #[test]
    fn bytes_from_a_lost_window_are_gaps() {
        let mut deflate = Deflate::new();
        deflate.message(b"https://news.example.org/politics/story-42");
        let text = b"seen: https://news.example.org/politics/story-43!";
        let body = inflated(&mut Inflate::lost(), &deflate.message(text)).unwrap();
        assert!(body.prefix().starts_with(b"seen: "));
        assert!(body.data.ends_with(b"3!"));
        assert!(body.data.len() < 12, "{body:?}");
        assert!(agrees(&body, text));
    }

    #[test]
    fn a_lost_window_is_recovered() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::lost());
        deflate.message(b"never seen");
        for i in 0..4000u32 {
            let text = format!("{} never seen", i.wrapping_mul(2_654_435_761));
            let body = inflated(&mut inflate, &deflate.message(text.as_bytes())).unwrap();
            assert!(agrees(&body, text.as_bytes()));
            if i > 0 && inflate.twin.is_none() {
                assert_eq!(&body.data[..], text.as_bytes());
            }
        }
    }

    #[test]
    fn a_final_block_ends_only_the_message() {
        let text = b"a final block";
        let mut out = Vec::with_capacity(100);
        Compress::new(Compression::fast(), false)
            .compress_vec(text, &mut out, FlushCompress::Finish)
            .unwrap();
        out.push(0);
        let mut inflate = Inflate::new();
        for _ in 0..2 {
            assert_eq!(&inflated(&mut inflate, &out).unwrap().data[..], text);
        }
    }

    #[test]
    fn a_bomb_is_abandoned() {
        let input = Deflate::new().message(&vec![0; MAX_INFLATED + 1]);
        let mut body = Pieces::default();
        assert_eq!(Inflate::new().push(&input, &mut body), Err(Broken));
        assert_eq!(body.data().len(), MAX_MESSAGE);
    }

    proptest! {
        #[test]
        fn known_bytes_are_correct_whichever_messages_are_lost(
            messages in proptest::collection::vec(("[a-d]{0,40}", any::<bool>()), 1..20)
        ) {
            let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
            for (text, lost) in messages {
                let input = deflate.message(text.as_bytes());
                if lost {
                    inflate = Inflate::lost();
                } else {
                    let body = inflated(&mut inflate, &input).unwrap();
                    prop_assert!(agrees(&body, text.as_bytes()), "{body:?} for {text}");
                }
            }
        }

        #[test]
        fn noise_is_harmless(noise: Vec<u8>, lost: bool) {
            let mut inflate = if lost { Inflate::lost() } else { Inflate::new() };
            let _ = inflated(&mut inflate, &noise);
        }
    }
}
