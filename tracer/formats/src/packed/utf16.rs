//! Text in UTF-16, as Windows' shell and some editors save it.

use std::io::{self, BufRead, Read};

/// Order of the two bytes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// Detects UTF-16 by its mark, or by text in which every second byte is zero.
    pub(super) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0xff, 0xfe, ..] => return Some(Self::Little),
            [0xfe, 0xff, ..] => return Some(Self::Big),
            _ => {}
        }
        let is_text = |b: u8| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n');
        let (pairs, _) = head.get(..8)?.as_chunks::<2>();
        if pairs.iter().all(|&[low, high]| is_text(low) && high == 0) {
            return Some(Self::Little);
        }
        pairs.iter().all(|&[high, low]| is_text(low) && high == 0).then_some(Self::Big)
    }

    fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// Converts UTF-16 to UTF-8. U+FFFD replaces invalid units.
pub(super) struct Converter<R> {
    from: R,
    order: Order,
    /// A unit that was read and belongs to the next character.
    held: Option<u16>,
    /// Converted bytes, and the number of them that were read.
    ready: Vec<u8>,
    at: usize,
    /// Set before the first unit, which may be a mark.
    at_start: bool,
}

/// Number of characters that are converted at once.
const BATCH: usize = 2048;

impl<R: BufRead> Converter<R> {
    pub(super) fn new(from: R, order: Order) -> Self {
        Self { from, order, held: None, ready: Vec::new(), at: 0, at_start: true }
    }

    fn next_unit(&mut self) -> io::Result<Option<u16>> {
        if let Some(unit) = self.held.take() {
            return Ok(Some(unit));
        }
        let mut unit = [0; 2];
        let mut known = 0;
        while let Some(rest) = unit.get_mut(known..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest)? {
                0 if known == 0 => return Ok(None),
                // Half a unit.
                0 => return Ok(Some(0xfffd)),
                len => known += len,
            }
        }
        Ok(Some(self.order.unit(unit)))
    }

    fn next_char(&mut self) -> io::Result<Option<char>> {
        let Some(first) = self.next_unit()? else {
            return Ok(None);
        };
        let is_high = (0xd800..0xdc00).contains(&first);
        let second = if is_high { self.next_unit()? } else { None };
        let units = [first, second.unwrap_or_default()];
        let units = if second.is_some() { &units[..] } else { units.get(..1).unwrap_or_default() };
        let mut characters = char::decode_utf16(units.iter().copied());
        let decoded = characters.next().and_then(Result::ok);
        if decoded.is_none() {
            self.held = second;
        }
        Ok(Some(decoded.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl<R: BufRead> Read for Converter<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            for _ in 0..BATCH {
                let Some(c) = self.next_char()? else { break };
                let is_mark = std::mem::take(&mut self.at_start) && c == '\u{feff}';
                if !is_mark {
                    self.ready.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        let ready = self.ready.get(self.at..).unwrap_or_default();
        let len = ready.len().min(out.len());
        if let (Some(from), Some(to)) = (ready.get(..len), out.get_mut(..len)) {
            to.copy_from_slice(from);
        }
        self.at += len;
        Ok(len)
    }
}
