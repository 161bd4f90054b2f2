//! MessagePack, read token by token.
//!
//! ```text
//! 00-7f small int   80-8f map   90-9f array   a0-bf string   e0-ff negative int
//! c0 nil   c2 c3 bool   c4-c6 bytes   c7-c9 extension   ca cb float
//! cc-cf unsigned   d0-d3 signed   d4-d8 extension   d9-db string
//! dc dd array   de df map        (lengths and numbers are big endian)
//! ```

use super::tree::{Token, TokenError, Tokens};

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

    /// Reports whether `input` starts with a map or an array.
    pub(super) fn starts(input: &[u8]) -> bool {
        matches!(input.first(), Some(0x81..=0x8f | 0x91..=0x9f | 0xdc..=0xdf))
    }

    /// Reads an unsigned number of `len` bytes, at most eight.
    fn uint(&mut self, len: usize) -> Result<u64, TokenError> {
        let bytes = self.input.get(self.at..self.at + len).ok_or(TokenError::EndOfInput)?;
        self.at += len;
        Ok(bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// Reads a signed number of `len` bytes.
    fn int(&mut self, len: usize) -> Result<i64, TokenError> {
        let unused = 64 - 8 * len as u32;
        Ok((self.uint(len)? << unused).cast_signed() >> unused)
    }

    /// Takes up to `len` bytes. Returns whether fewer were available.
    fn take(&mut self, len: u64) -> (&'d [u8], bool) {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let taken = &rest[..len.min(rest.len())];
        self.at += taken.len();
        (taken, taken.len() < len)
    }

    fn text(&mut self, len: u64) -> Token<'d> {
        let (text, cut) = self.take(len);
        Token::Text(text, cut)
    }

    fn bytes(&mut self, len: u64) -> Token<'d> {
        let (bytes, cut) = self.take(len);
        Token::Bytes(bytes, cut)
    }

    /// Reads an extension: its type, then its bytes.
    fn extension(&mut self, len: u64) -> Result<Token<'d>, TokenError> {
        self.uint(1)?;
        Ok(self.bytes(len))
    }
}

fn number(number: impl ToString) -> Token<'static> {
    Token::Scalar(number.to_string().into())
}

impl<'d> Tokens<'d> for Reader<'d> {
    fn next_token(&mut self) -> Result<Token<'d>, TokenError> {
        let &byte = self.input.get(self.at).ok_or(TokenError::EndOfInput)?;
        self.at += 1;
        Ok(match byte {
            0x00..=0x7f => number(byte),
            0x80..=0x8f => Token::Map(Some(u64::from(byte & 0x0f))),
            0x90..=0x9f => Token::Array(Some(u64::from(byte & 0x0f))),
            0xa0..=0xbf => self.text(u64::from(byte & 0x1f)),
            0xc0 => Token::Nil,
            0xc1 => return Err(TokenError::Invalid),
            0xc2 => Token::Scalar("false".into()),
            0xc3 => Token::Scalar("true".into()),
            0xc4..=0xc6 => {
                let len = self.uint(1 << (byte - 0xc4))?;
                self.bytes(len)
            }
            0xc7..=0xc9 => {
                let len = self.uint(1 << (byte - 0xc7))?;
                self.extension(len)?
            }
            0xca => number(f32::from_bits(self.uint(4)? as u32)),
            0xcb => number(f64::from_bits(self.uint(8)?)),
            0xcc..=0xcf => number(self.uint(1 << (byte - 0xcc))?),
            0xd0..=0xd3 => number(self.int(1 << (byte - 0xd0))?),
            0xd4..=0xd8 => self.extension(1 << (byte - 0xd4))?,
            0xd9..=0xdb => {
                let len = self.uint(1 << (byte - 0xd9))?;
                self.text(len)
            }
            0xdc | 0xdd => Token::Array(Some(self.uint(2 << (byte - 0xdc))?)),
            0xde | 0xdf => Token::Map(Some(self.uint(2 << (byte - 0xde))?)),
            0xe0..=0xff => number(byte.cast_signed()),
        })
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
            let cut = if leaf.truncated { "…" } else { "" };
            leaves.push(format!("{}={text}{cut} in {}", walker.path(), leaf.container));
        }
        (leaves, walker.end())
    }

    /// `[{"url": "https://a.example/", "n": [1, -1, {}], "b": true}, nil]`
    const DOCUMENT: &[u8] =
        b"\x92\x83\xa3url\xb2https://a.example/\xa1n\x93\x01\xff\x80\xa1b\xc3\xc0";

    #[test]
    fn walks_a_tree() {
        let (leaves, end) = read(DOCUMENT, false);
        assert_eq!(
            leaves,
            [
                "[0].url=https://a.example/ in 1",
                "[0].n[0]=1 in 1",
                "[0].n[1]=-1 in 1",
                "[0].b=true in 1"
            ]
        );
        assert_eq!(end, End::Complete);
        assert!(is_plausible(Reader::new(DOCUMENT), DOCUMENT.len(), false));
    }

    #[test]
    fn a_truncated_document_yields_the_values_before_the_cut() {
        let (whole, _) = read(DOCUMENT, false);
        for len in 0..DOCUMENT.len() - 1 {
            let (leaves, end) = read(&DOCUMENT[..len], true);
            assert_eq!(end, End::Truncated, "{len}");
            for leaf in leaves.iter().filter(|leaf| !leaf.contains('…')) {
                assert!(whole.contains(leaf), "{leaf}");
            }
        }
        assert_eq!(read(&DOCUMENT[..12], true).0, ["[0].url=https… in 1"]);
    }

    #[test]
    fn every_type_of_number_and_string() {
        let document = b"\x9d\xcc\xff\xcd\x01\x00\xce\0\x01\0\0\xcf\0\0\0\0\0\0\0\x07\
            \xd0\xff\xd1\xff\x00\xd2\xff\xff\xff\xff\xd3\xff\xff\xff\xff\xff\xff\xff\xfe\
            \xca\x3f\x80\0\0\xcb\x3f\xf8\0\0\0\0\0\0\xd9\x02hi\xc4\x01z\xd4\x01y";
        let (leaves, end) = read(document, false);
        let values: Vec<_> = leaves.iter().filter_map(|l| l.split(['=', ' ']).nth(1)).collect();
        assert_eq!(
            values,
            ["255", "256", "65536", "7", "-1", "-256", "-1", "-2", "1", "1.5", "hi", "z", "y"]
        );
        assert_eq!(end, End::Complete);
    }

    #[test]
    fn declared_lengths_allocate_nothing() {
        let (leaves, end) = read(b"\xdf\xff\xff\xff\xff\xa1a\xdd\xff\xff\xff\xff", true);
        assert!(leaves.is_empty());
        assert_eq!(end, End::Truncated);
        let deep = [0x91; 1000];
        assert_eq!(read(&deep, false).1, End::TooDeep);
    }
}
