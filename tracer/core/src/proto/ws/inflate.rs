//! The decompression of permessage-deflate (RFC 7692 section 7.2.2), which
//! goes on when its window is lost.
//!
//! A client may refer to the last 32 KiB of its earlier messages, unless one
//! side asked for no context takeover. We see only the client's offer, never
//! the server's answer, and need neither: a client that takes nothing over
//! refers to nothing, so a window kept in vain does no harm.
//!
//! **A lost window.** After a message that nobody saw, the window's content is
//! unknown but the bits that follow are not. Two decompressors then read the
//! same input, the window of one filled with zeros and of the other with ones.
//! They run in step, as nothing but output depends on the window. A byte that
//! came from the window, however often copied since, differs between them, and
//! every other byte is equal: so exactly the unknown bytes become gaps. When
//! 32 KiB have been equal, the window is known again and one is enough.

use flate2::{Decompress, FlushDecompress, Status};

use super::MAX_MESSAGE;
use crate::proto::pieces::Pieces;

/// The largest window of DEFLATE (RFC 1951 section 2).
const WINDOW: usize = 1 << 15;

/// The most bytes one message may inflate to before it is given up. What lies
/// between this and [`MAX_MESSAGE`] is inflated for the window's sake and not
/// kept.
const MAX_INFLATED: usize = 2 * MAX_MESSAGE;

/// What ends every message and is not sent (RFC 7692 section 7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The input cannot be read any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The decompression state of one direction of a connection.
#[derive(Debug)]
pub(super) struct Inflate {
    stream: Decompress,
    /// The same stream over another window, while the window is not known.
    twin: Option<Decompress>,
    /// How many bytes both agreed on since the last on which they did not.
    agreed: usize,
    /// How many bytes of this message are inflated.
    inflated: usize,
}

impl Inflate {
    /// Nothing was sent before: the window is empty.
    pub(super) fn new() -> Inflate {
        Inflate { stream: Decompress::new(false), twin: None, agreed: 0, inflated: 0 }
    }

    /// Something was sent before that is not known.
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
                // A last block is allowed, and the window outlives it
                // (section 7.2.3.5); ours does not.
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

    /// Appends the bytes on which both streams agree, the others as gaps.
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

/// Runs a stream once: how much it read, how much it wrote, whether it ended.
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

/// Fills a new stream's window with `byte`, by way of a stored block.
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

    /// Compresses messages the way a client does, taking its context over.
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

    /// Every known byte is at its place in `truth`.
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
    fn a_client_that_takes_nothing_over_is_read_as_well() {
        let mut inflate = Inflate::new();
        for text in [&b"the first message"[..], b"the first message again"] {
            let body = inflated(&mut inflate, &Deflate::new().message(text)).unwrap();
            assert_eq!((&body.data[..], body.gaps.len()), (text, 0));
        }
    }

    #[test]
    fn what_came_from_a_lost_window_is_a_gap() {
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
    fn a_lost_window_is_known_again_in_the_end() {
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
    fn a_last_block_ends_a_message_and_not_the_connection() {
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
    fn a_bomb_is_given_up() {
        let input = Deflate::new().message(&vec![0; MAX_INFLATED + 1]);
        let mut body = Pieces::default();
        assert_eq!(Inflate::new().push(&input, &mut body), Err(Broken));
        assert_eq!(body.data().len(), MAX_MESSAGE);
    }

    proptest! {
        #[test]
        fn known_bytes_are_right_whichever_messages_are_lost(
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
        fn noise_is_refused_or_read(noise: Vec<u8>, lost: bool) {
            let mut inflate = if lost { Inflate::lost() } else { Inflate::new() };
            let _ = inflated(&mut inflate, &noise);
        }
    }
}
