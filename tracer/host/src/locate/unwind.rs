//! Finds function bounds in the unwind tables.
//!
//! `.eh_frame_hdr` is a sorted table of all functions with unwind information. In current
//! Chromium builds it covers almost none of the code; in other programs, all of it.
//!
//! Source: LSB Core, "Exception Frames". The supported encodings are the only ones that GNU
//! ld, gold and lld write.

use std::io;
use std::ops::Range;

use super::elf::Image;
use super::source::Fields;

/// The encodings of the count (`udata4`) and of the table (`datarel|sdata4`).
const COUNT_UDATA4: u8 = 0x03;
const TABLE_DATAREL_SDATA4: u8 = 0x3b;
/// Size of a table entry: the offsets of a function and of its FDE.
const ENTRY: u64 = 8;

/// The table of functions with unwind information.
pub(super) struct UnwindTable<'a> {
    image: &'a Image<'a>,
    /// Address of `.eh_frame_hdr`, to which its offsets are relative.
    base: u64,
    entries: u64,
}

impl<'a> UnwindTable<'a> {
    /// Opens `.eh_frame_hdr`; returns `None` if it is missing or has unknown encodings.
    ///
    /// ```text
    /// u8 version=1, u8 frame encoding, u8 count encoding, u8 table encoding
    /// i32 .eh_frame, u32 count, (i32 function, i32 fde)[count]
    /// ```
    pub(super) fn open(image: &'a Image<'a>) -> io::Result<Option<Self>> {
        let Some(range) = &image.eh_frame_hdr else {
            return Ok(None);
        };
        let header = image.read_address(range.start, 12)?;
        let known = header.first() == Some(&1)
            && header.get(2..4) == Some(&[COUNT_UDATA4, TABLE_DATAREL_SDATA4]);
        let count = u64::from(header.u32(8).unwrap_or(0));
        let room = (range.end - range.start).saturating_sub(12) / ENTRY;
        Ok(known.then_some(Self { image, base: range.start, entries: count.min(room) }))
    }

    /// Returns the addresses of the function that contains `address`.
    pub(super) fn function(&self, address: u64) -> io::Result<Option<Range<u64>>> {
        // Find the last entry that starts at or before the address.
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle)? {
                Some((start, _)) if start <= address => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Ok(None);
        };
        let Some((start, fde)) = self.entry(index)? else {
            return Ok(None);
        };
        // u32 length, u32 CIE, i32 function (relative to itself), u32 size. There are other
        // encodings; if the function agrees with the table, it is this one.
        let fde_bytes = self.image.read_address(fde, 16)?;
        let (Some(relative), Some(size)) = (fde_bytes.i32(8), fde_bytes.u32(12)) else {
            return Ok(None);
        };
        let described = fde.wrapping_add(8).wrapping_add_signed(i64::from(relative));
        let end = start.saturating_add(u64::from(size));
        Ok((described == start && address < end).then_some(start..end))
    }

    fn entry(&self, index: u64) -> io::Result<Option<(u64, u64)>> {
        let at = self.base.saturating_add(12 + index * ENTRY);
        let entry = self.image.read_address(at, 8)?;
        let absolute = |relative: i32| self.base.wrapping_add_signed(i64::from(relative));
        Ok(entry.i32(0).zip(entry.i32(4)).map(|(start, fde)| (absolute(start), absolute(fde))))
    }
}
