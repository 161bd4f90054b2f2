//! Reads the primitives of HPACK (RFC 7541 section 5), which QPACK shares (RFC 9204
//! section 4.1), from a block with gaps.

use bytes::Bytes;

use super::{Invalid, huffman};
use crate::proto::{Gap, Text};

/// The reason why a value could not be read completely.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto) enum Interrupt {
    /// Bytes are missing, and the start of the next field is unknown. Contains
    /// the start of the string being read, if any.
    Cut(Bytes),
    /// The block violates the rules.
    Invalid(Invalid),
}

impl From<Invalid> for Interrupt {
    fn from(invalid: Invalid) -> Interrupt {
        Interrupt::Invalid(invalid)
    }
}

/// A cursor over the known bytes of a block. A gap at the end of `data` means
/// that the block was truncated; otherwise it ends there.
#[derive(Debug, Clone)]
pub(in crate::proto) struct BlockReader<'a> {
    data: &'a [u8],
    at: usize,
    gaps: &'a [Gap],
    /// Number of bytes of the first gap already skipped.
    passed: u64,
}

impl<'a> BlockReader<'a> {
    pub(in crate::proto) fn new(data: &'a [u8], gaps: &'a [Gap]) -> BlockReader<'a> {
        BlockReader { data, at: 0, gaps, passed: 0 }
    }

    /// Reports whether the block ends here with nothing missing.
    pub(in crate::proto) fn at_end(&self) -> bool {
        self.at == self.data.len() && self.gaps.is_empty()
    }

    /// Returns the number of known bytes already read, and the gaps after them,
    /// at positions counted from there.
    pub(in crate::proto) fn rest(&self) -> (usize, Vec<Gap>) {
        let mut gaps = self.gaps.to_vec();
        if let Some(first) = gaps.first_mut() {
            first.len = first.len.map(|len| len.saturating_sub(self.passed));
        }
        gaps.iter_mut().for_each(|gap| gap.at = gap.at.saturating_sub(self.at));
        (self.at, gaps)
    }

    /// Reads a byte.
    pub(in crate::proto) fn byte(&mut self) -> Result<u8, Interrupt> {
        if self.run().is_empty() {
            return Err(self.interrupt());
        }
        let byte = self.data[self.at];
        self.at += 1;
        Ok(byte)
    }

    /// Reads an integer with a prefix of `bits` bits in `first`, the byte
    /// already read (section 5.1). At most 32 bits are accepted, which is
    /// enough for the lengths, indexes and table sizes of any valid connection.
    pub(in crate::proto) fn integer(&mut self, first: u8, bits: u32) -> Result<u32, Interrupt> {
        let mask = (1u32 << bits) - 1;
        let prefix = u32::from(first) & mask;
        if prefix < mask {
            return Ok(prefix);
        }
        let mut value = u64::from(prefix);
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Invalid::Integer.into());
            }
        }
        Err(Invalid::Integer.into())
    }

    /// Reads a string (section 5.2). A gap within it does not affect the
    /// following data, because the length prefix determines where it ends.
    pub(in crate::proto) fn string(&mut self) -> Result<Text, Interrupt> {
        let first = self.byte()?;
        self.string_after(first, 7)
    }

    /// Reads a string whose length has a prefix of `bits` bits in `first`, the
    /// byte already read, after the bit that marks Huffman coding (RFC 9204
    /// section 4.1.2).
    pub(in crate::proto) fn string_after(
        &mut self,
        first: u8,
        bits: u32,
    ) -> Result<Text, Interrupt> {
        let coded = first >> bits & 1 != 0;
        let len = self.integer(first, bits)?;
        let decode = |raw: &[u8], whole| {
            if !coded {
                return Ok(Bytes::copy_from_slice(raw));
            }
            let mut text = Vec::with_capacity(raw.len() * 8 / 5);
            huffman::decode(raw, whole, &mut text)?;
            // Entries live long and must not retain unused capacity.
            text.shrink_to_fit();
            Ok::<_, Invalid>(Bytes::from(text))
        };
        let (start, outcome) = self.take(u64::from(len));
        match outcome {
            Ok(true) => Ok(Text::Whole(decode(start, true)?)),
            Ok(false) => Ok(Text::Start(decode(start, false)?)),
            Err(Interrupt::Cut(_)) => Err(Interrupt::Cut(decode(start, false)?)),
            Err(invalid) => Err(invalid),
        }
    }

    /// Takes `len` bytes. Returns those before the first gap, and whether there
    /// was no gap.
    fn take(&mut self, len: u64) -> (&'a [u8], Result<bool, Interrupt>) {
        let run = self.run();
        let start = &run[..run.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
        self.at += start.len();
        let mut left = len - start.len() as u64;
        if left == 0 {
            return (start, Ok(true));
        }
        while left > 0 {
            // This is either the end of the block or a gap.
            let Some((gap, rest)) = self.gaps.split_first() else {
                return (start, Err(self.interrupt()));
            };
            let Some(missing) = gap.len.map(|len| len.saturating_sub(self.passed)) else {
                return (start, Err(self.interrupt()));
            };
            if missing > left {
                self.passed += left;
                break;
            }
            left -= missing;
            self.gaps = rest;
            self.passed = 0;
            let known = self.run().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.at += known;
            left -= known as u64;
        }
        (start, Ok(false))
    }

    /// Returns the known bytes up to the next gap or the end of the block.
    fn run(&self) -> &'a [u8] {
        let end = self.gaps.first().map_or(self.data.len(), |gap| gap.at.min(self.data.len()));
        self.data.get(self.at..end).unwrap_or_default()
    }

    /// Returns the reason why there is no byte here.
    fn interrupt(&self) -> Interrupt {
        match self.gaps {
            [] => Interrupt::Invalid(Invalid::EndsEarly),
            _ => Interrupt::Cut(Bytes::new()),
        }
    }
}
