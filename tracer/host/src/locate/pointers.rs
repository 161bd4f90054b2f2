//! Finds pointers to code in data.
//!
//! A function that is only called through the global offset table, or a table of functions, has
//! no direct call. The pointer is there as the addend of a relative relocation; where the
//! linker packs relocations (`DT_RELR`), or the program is loaded at a fixed address, as the
//! content of the table.
//!
//! Source: the System V ABI's supplements for x86_64 and AArch64, "Relocation".

use std::collections::BTreeSet;
use std::io;

use object::LittleEndian as LE;
use object::elf::{R_AARCH64_RELATIVE, R_X86_64_RELATIVE, Rela64};

use super::Arch;
use super::elf::{Image, entries};
use super::source::{Fields, WINDOW};

/// Size of a pointer.
const POINTER: usize = 8;

/// Returns the values that the pointer at the address `pointer` can have once the file is loaded,
/// before the file's own address is added: the addends of its relocations or, where the linker
/// packs relocations (`DT_RELR`), its content in the file.
pub(super) fn relocated(image: &Image<'_>, pointer: u64) -> io::Result<BTreeSet<u64>> {
    let relative = relative(image.arch);
    let relocations = image.dynamic()?.relocations;
    let mut values = BTreeSet::new();
    if let Some(offset) = image.offset_of(relocations.start) {
        let size = relocations.end - relocations.start;
        let overlap = WINDOW % size_of::<Rela64<LE>>();
        image.file.windows(offset, size, overlap, |_, window| {
            let entries = entries::<Rela64<LE>>(window).iter();
            let own = entries.filter(|entry| {
                entry.r_offset.get(LE) == pointer && entry.r_type(LE, false) == relative
            });
            values.extend(own.map(|entry| entry.r_addend.get(LE).cast_unsigned()));
        })?;
    }
    if values.is_empty() {
        values.extend(image.read_address(pointer, POINTER)?.u64(0));
    }
    Ok(values)
}

/// Returns the type of relative relocations.
fn relative(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => R_X86_64_RELATIVE,
        Arch::Arm64 => R_AARCH64_RELATIVE,
    }
}

/// Calls `found` with the values of all relative relocations, and of the aligned words in
/// writable segments. Most are not pointers to code: they are evidence, not proof.
pub(super) fn each(image: &Image<'_>, mut found: impl FnMut(u64)) -> io::Result<()> {
    let relative = relative(image.arch);
    let relocations = image.dynamic()?.relocations;
    if let Some(offset) = image.offset_of(relocations.start) {
        let size = relocations.end - relocations.start;
        let overlap = WINDOW % size_of::<Rela64<LE>>();
        image.file.windows(offset, size, overlap, |_, window| {
            for entry in entries::<Rela64<LE>>(window) {
                if entry.r_type(LE, false) == relative {
                    found(entry.r_addend.get(LE).cast_unsigned());
                }
            }
        })?;
    }
    for segment in image.segments.iter().filter(|segment| segment.writable) {
        let skip = segment.addresses.start.next_multiple_of(POINTER as u64);
        let skip = (skip - segment.addresses.start).min(segment.size());
        let (start, size) = (segment.offset.saturating_add(skip), segment.size() - skip);
        image.file.windows(start, size, 0, |_, window| {
            window.chunks_exact(POINTER).filter_map(|word| word.u64(0)).for_each(&mut found);
        })?;
    }
    Ok(())
}
