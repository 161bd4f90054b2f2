//! CBOR (RFC 8949), read token by token.
//!
//! ```text
//! head   major type: 3 bits, argument: 5 bits | 1, 2, 4 or 8 more bytes
//! major  0 unsigned  1 negative  2 bytes  3 text  4 array  5 map  6 tag  7 simple
//! ```
//!
//! A text sent in chunks is joined. Bytes in chunks, which no telemetry encoder is known to
//! write, are not: such a document counts as malformed from there on.

use super::tree::{Token, TokenError, Tokens};

/// Maximum number of tags in front of a value.
const MAX_TAGS: usize = 8;

/// Reads the tokens of a document.
#[derive(Debug)]
pub(super) struct Reader<'d> {
    input: &'d [u8],
    at: usize,
}

impl<'d> Reader<'d> {
    pub(super) fn new(input: &'d [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// Reports whether `input` starts with a map, an array, or the tag that
    /// marks CBOR (RFC 8949 section 3.4.6).
    pub(super) fn starts(input: &[u8]) -> bool {
        matches!(
            input,
            [0x81..=0x9b | 0x9f | 0xa1..=0xbb | 0xbf, ..] | [0xd9, 0xd9, 0xf7, ..]
        )
    }

    fn uint(&mut self, len: usize) -> Result<u64, TokenError> {
        let bytes = self.input.get(self.at..self.at + len).ok_or(TokenError::EndOfInput)?;
        self.at += len;
        Ok(bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// Reads the argument of a head; `None` for an indefinite length.
    fn argument(&mut self, head: u8) -> Result<Option<u64>, TokenError> {
        Ok(Some(match head & 0x1f {
            small @ 0..24 => u64::from(small),
            wide @ 24..28 => self.uint(1 << (wide - 24))?,
            31 => return Ok(None),
            _ => return Err(TokenError::Invalid),
        }))
    }

    fn take(&mut self, len: Option<u64>) -> Result<(&'d [u8], bool), TokenError> {
        let len = usize::try_from(len.ok_or(TokenError::Invalid)?).unwrap_or(usize::MAX);
        let rest = self.input.get(self.at..).unwrap_or_default();
        let taken = &rest[..len.min(rest.len())];
        self.at += taken.len();
        Ok((taken, taken.len() < len))
    }
}

impl Reader<'_> {
    /// Joins the chunks of a text up to the break.
    fn chunks(&mut self) -> Result<String, TokenError> {
        /// The heads of a break and of a text.
        const BREAK: u8 = 0xff;
        const TEXT: u8 = 3;
        let mut joined = Vec::new();
        loop {
            let &head = self.input.get(self.at).ok_or(TokenError::EndOfInput)?;
            self.at += 1;
            if head == BREAK {
                return String::from_utf8(joined).map_err(|_| TokenError::Invalid);
            }
            let argument = self.argument(head)?.filter(|_| head >> 5 == TEXT);
            let (chunk, cut) = self.take(argument)?;
            joined.extend_from_slice(chunk);
            if cut {
                return Err(TokenError::EndOfInput);
            }
        }
    }
}

impl<'d> Tokens<'d> for Reader<'d> {
    fn next_token(&mut self) -> Result<Token<'d>, TokenError> {
        for _ in 0..=MAX_TAGS {
            let &head = self.input.get(self.at).ok_or(TokenError::EndOfInput)?;
            self.at += 1;
            let argument = self.argument(head)?;
            return Ok(match head >> 5 {
                0 => Token::Scalar(argument.ok_or(TokenError::Invalid)?.to_string().into()),
                1 => {
                    let negative = -1 - i128::from(argument.ok_or(TokenError::Invalid)?);
                    Token::Scalar(negative.to_string().into())
                }
                2 => {
                    let (bytes, cut) = self.take(argument)?;
                    Token::Bytes(bytes, cut)
                }
                3 if argument.is_none() => Token::Scalar(self.chunks()?.into()),
                3 => {
                    let (text, cut) = self.take(argument)?;
                    Token::Text(text, cut)
                }
                4 => Token::Array(argument),
                5 => Token::Map(argument),
                6 => continue,
                _ => match (head & 0x1f, argument) {
                    (20, _) => Token::Scalar("false".into()),
                    (21, _) => Token::Scalar("true".into()),
                    (26, Some(bits)) => {
                        Token::Scalar(f32::from_bits(bits as u32).to_string().into())
                    }
                    (27, Some(bits)) => Token::Scalar(f64::from_bits(bits).to_string().into()),
                    (_, None) => Token::Break,
                    _ => Token::Nil,
                },
            });
        }
        Err(TokenError::Invalid)
    }

    fn position(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tree::{Containers, End, Leaves, Walker, is_plausible};

    fn read(input: &[u8], truncated: bool) -> (Vec<String>, End) {
        let mut walker = Walker::new(Reader::new(input), truncated, 0);
        let mut containers = Containers::default();
        let mut leaves = Vec::new();
        while let Some(leaf) = walker.next_leaf(&mut containers) {
            let text = String::from_utf8_lossy(&leaf.value).into_owned();
            leaves.push(format!("{}={text}", walker.path()));
        }
        (leaves, walker.end())
    }

    #[test]
    fn walks_definite_and_indefinite_lengths() {
        // 55799({_ "url": "https://a.example/", "n": [_ 1, -2, false], 3: h'7a'})
        let document =
            b"\xd9\xd9\xf7\xbf\x63url\x72https://a.example/\x61n\x9f\x01\x21\xf4\xff\x03\x41z\xff";
        let (leaves, end) = read(document, false);
        assert_eq!(
            leaves,
            [".url=https://a.example/", ".n[0]=1", ".n[1]=-2", ".n[2]=false", ".3=z"]
        );
        assert_eq!(end, End::Complete);
        assert!(Reader::starts(document));
        assert!(is_plausible(Reader::new(document), document.len(), false));
        let (leaves, end) = read(b"\xa2\x61a\xfb\x3f\xf8\0\0\0\0\0\0\x61b\x19\x01\x00", false);
        assert_eq!((leaves, end), (vec![".a=1.5".to_owned(), ".b=256".to_owned()], End::Complete));
    }

    #[test]
    fn breaks_are_valid_only_in_indefinite_containers() {
        assert_eq!(read(b"\xff", false).1, End::Malformed);
        assert_eq!(read(b"\x81\xff", false).1, End::Malformed);
        assert_eq!(read(b"\xbf\x61a\xff", false).1, End::Malformed);
        assert_eq!(read(&[0xc0; 100], false).1, End::Malformed);
        assert_eq!(read(b"\xa1\x61a\x7f", false).1, End::Malformed);
        assert_eq!(read(b"\xa1\x61a\x7f\x41x\xff", false).1, End::Malformed);
        let chunks = read(b"\xa1\x61a\x7f\x62ab\x61c\xff", false);
        assert_eq!(chunks, (vec![".a=abc".to_owned()], End::Complete));
        assert_eq!(read(b"\xa1\x61a\x65ab", true), (vec![".a=ab".to_owned()], End::Truncated));
    }
}
