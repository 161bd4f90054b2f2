//! Reads the primitives of HPACK (RFC 7541 section 5) from a block with gaps.

use bytes::Bytes;

use super::{Invalid, huffman};
use crate::proto::{Gap, Text};

/// Why reading ended before the thing read did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Bytes are missing, and nobody can tell where the next field begins.
    /// Holds the beginning of the string that was being read, if one was.
    Cut(Bytes),
    /// The block breaks the rules.
    Invalid(Invalid),
}

impl From<Invalid> for Stop {
    fn from(invalid: Invalid) -> Stop {
        Stop::Invalid(invalid)
    }
}

/// A cursor over the known bytes of a block. A gap at the end of `data` is a
/// block cut short; without one, the block ends there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    gaps: &'a [Gap],
    /// How many bytes of the first gap were already passed.
    passed: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8], gaps: &'a [Gap]) -> Reader<'a> {
        Reader { data, at: 0, gaps, passed: 0 }
    }

    /// The block ends here, and nothing is missing.
    pub(super) fn at_end(&self) -> bool {
        self.at == self.data.len() && self.gaps.is_empty()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        if self.run().is_empty() {
            return Err(self.stop());
        }
        let byte = self.data[self.at];
        self.at += 1;
        Ok(byte)
    }

    /// An integer with a prefix of `bits` bits in `first`, the byte already
    /// read (section 5.1). No more than 32 bits are taken: no length, index or
    /// table size of a working connection needs them.
    pub(super) fn integer(&mut self, first: u8, bits: u32) -> Result<u32, Stop> {
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

    /// A string (section 5.2). A gap inside it does no harm to what follows:
    /// the length before it says where it ends.
    pub(super) fn string(&mut self) -> Result<Text, Stop> {
        let first = self.byte()?;
        let coded = first & 0x80 != 0;
        let len = self.integer(first, 7)?;
        let decode = |raw: &[u8], whole| {
            if !coded {
                return Ok(Bytes::copy_from_slice(raw));
            }
            let mut text = Vec::with_capacity(raw.len() * 8 / 5);
            huffman::decode(raw, whole, &mut text)?;
            // Entries live long: they must not hold more than they say.
            text.shrink_to_fit();
            Ok::<_, Invalid>(Bytes::from(text))
        };
        let (start, outcome) = self.take(u64::from(len));
        match outcome {
            Ok(true) => Ok(Text::Whole(decode(start, true)?)),
            Ok(false) => Ok(Text::Start(decode(start, false)?)),
            Err(Stop::Cut(_)) => Err(Stop::Cut(decode(start, false)?)),
            Err(invalid) => Err(invalid),
        }
    }

    /// Passes `len` bytes. Gives those before the first gap among them, and
    /// whether there was no gap.
    fn take(&mut self, len: u64) -> (&'a [u8], Result<bool, Stop>) {
        let run = self.run();
        let start = &run[..run.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
        self.at += start.len();
        let mut left = len - start.len() as u64;
        if left == 0 {
            return (start, Ok(true));
        }
        while left > 0 {
            // Here is either the block's end or a gap.
            let Some((gap, rest)) = self.gaps.split_first() else {
                return (start, Err(self.stop()));
            };
            let Some(missing) = gap.len.map(|len| len.saturating_sub(self.passed)) else {
                return (start, Err(self.stop()));
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

    /// The known bytes up to the next gap or the block's end.
    fn run(&self) -> &'a [u8] {
        let end = self.gaps.first().map_or(self.data.len(), |gap| gap.at.min(self.data.len()));
        self.data.get(self.at..end).unwrap_or_default()
    }

    /// Why there is no byte here.
    fn stop(&self) -> Stop {
        match self.gaps {
            [] => Stop::Invalid(Invalid::EndsEarly),
            _ => Stop::Cut(Bytes::new()),
        }
    }
}
