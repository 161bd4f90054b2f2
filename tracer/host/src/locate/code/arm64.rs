//! A decoder for the dozen relevant arm64 instructions. Encodings are from the Arm
//! Architecture Reference Manual, C4.1.

use super::{ARGUMENTS, End, MAX_FUNCTION, Reference, Site, Targets, Walk};
use crate::locate::source::Fields;

/// Size of an instruction in bytes.
const SIZE: u64 = 4;
/// Maximum distance of an ADD from its ADRP: compilers schedule a few instructions in between.
const MAX_PAIR_DISTANCE: usize = 12;

/// A decoded instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `adrp rd, page`
    Adrp { rd: u32, page: u64 },
    /// `adr rd, target`
    Adr { rd: u32, target: u64 },
    /// `add rd, rn, #low` (64-bit, unshifted)
    AddImmediate { rd: u32, rn: u32, low: u64 },
    /// `movz rd, #value` (32-bit, unshifted)
    MovImmediate { rd: u32, value: u32 },
    /// `b.cond`, `cbz`, `cbnz`, `tbz`, `tbnz`
    BranchIf(u64),
    /// `b`
    Branch(u64),
    /// `bl`
    Call(u64),
    /// `blr` and its authenticating forms
    CallRegister,
    /// `br`, `ret`, `eret`, `brk`, `udf`: control does not reach the next instruction
    Stop,
    /// Anything else
    Other,
}

fn decode(word: u32, address: u64) -> Kind {
    let rd = word & 31;
    let rn = (word >> 5) & 31;
    if word & 0x9f00_0000 == 0x9000_0000 {
        let pages = signed((word >> 29) & 3 | ((word >> 5) & 0x7_ffff) << 2, 21);
        let page = (address & !0xfff).wrapping_add_signed(pages << 12);
        Kind::Adrp { rd, page }
    } else if word & 0x9f00_0000 == 0x1000_0000 {
        let offset = signed((word >> 29) & 3 | ((word >> 5) & 0x7_ffff) << 2, 21);
        Kind::Adr { rd, target: address.wrapping_add_signed(offset) }
    } else if word & 0xffc0_0000 == 0x9100_0000 {
        Kind::AddImmediate { rd, rn, low: u64::from((word >> 10) & 0xfff) }
    } else if word & 0xffe0_0000 == 0x5280_0000 {
        Kind::MovImmediate { rd, value: (word >> 5) & 0xffff }
    } else if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
        Kind::BranchIf(relative(address, word >> 5, 19))
    } else if word & 0x7e00_0000 == 0x3600_0000 {
        Kind::BranchIf(relative(address, word >> 5, 14))
    } else if word & 0xfc00_0000 == 0x1400_0000 {
        Kind::Branch(relative(address, word, 26))
    } else if word & 0xfc00_0000 == 0x9400_0000 {
        Kind::Call(relative(address, word, 26))
    } else if word & 0xfe00_0000 == 0xd600_0000 {
        // Unconditional branch (register): opc 0001 and 1001 are calls.
        if (word >> 21) & 7 == 1 { Kind::CallRegister } else { Kind::Stop }
    } else if word & 0xffe0_001f == 0xd420_0000 || word & 0xffff_0000 == 0 {
        Kind::Stop
    } else {
        Kind::Other
    }
}

/// Returns the target of a branch with an offset of `bits` bits, in instructions.
fn relative(address: u64, field: u32, bits: u32) -> u64 {
    address.wrapping_add_signed(signed(field, bits) * SIZE.cast_signed())
}

/// Sign-extends the low `bits` (1–32) bits of `field`.
fn signed(field: u32, bits: u32) -> i64 {
    let shift = 32 - bits;
    i64::from((field << shift).cast_signed() >> shift)
}

/// Returns the instructions in `code` with their addresses.
fn words(code: &[u8], address: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
    code.chunks_exact(SIZE as usize)
        .enumerate()
        .filter_map(move |(i, word)| Some((address.wrapping_add(i as u64 * SIZE), word.u32(0)?)))
}

/// Returns the index of the argument that a register holds.
fn argument(register: u32) -> Option<usize> {
    usize::try_from(register).ok().filter(|index| *index < ARGUMENTS)
}

/// Finds every ADRP that a subsequent ADD completes to one of `targets`, and every ADR of one,
/// which linkers put in the place of such a pair if the target is near.
pub(super) fn references(
    code: &[u8],
    address: u64,
    targets: &Targets,
    mut found: impl FnMut(Reference),
) {
    for (i, (at, word)) in words(code, address).enumerate() {
        // A cheap test first: most instructions are neither ADRP nor ADR.
        if word & 0x1f00_0000 != 0x1000_0000 {
            continue;
        }
        let (rd, page) = match decode(word, at) {
            Kind::Adrp { rd, page } => (rd, page),
            Kind::Adr { rd, target } => {
                if targets.contains(target) {
                    found(Reference { at, target, argument: argument(rd) });
                }
                continue;
            }
            _ => continue,
        };
        if !targets.is_in_page(page) {
            continue;
        }
        let after = code.get((i + 1) * SIZE as usize..).unwrap_or_default();
        for (at_add, word) in words(after, at + SIZE).take(MAX_PAIR_DISTANCE) {
            match decode(word, at_add) {
                Kind::AddImmediate { rd: to, rn, low } if rn == rd => {
                    let target = page + low;
                    if targets.contains(target) {
                        found(Reference { at, target, argument: argument(to) });
                    }
                }
                // The register now holds another page.
                Kind::Adrp { rd: other, .. } if other == rd => break,
                _ => {}
            }
        }
    }
}

/// Finds the targets of `bl`.
pub(super) fn calls(code: &[u8], address: u64, mut found: impl FnMut(u64)) {
    for (at, word) in words(code, address) {
        if let Kind::Call(target) = decode(word, at) {
            found(target);
        }
    }
}

/// Finds the calls of `target`, and the jumps to it.
pub(super) fn calls_of(code: &[u8], address: u64, target: u64, mut found: impl FnMut(u64)) {
    for (at, word) in words(code, address) {
        if branch(word, at) == Some(Some(target)) {
            found(at);
        }
    }
}

/// Returns the target of a call or an unconditional jump. The inner `None` is the unknown target of
/// another instruction that changes the flow of control.
pub(super) fn branch(word: u32, at: u64) -> Option<Option<u64>> {
    match decode(word, at) {
        Kind::Branch(target) | Kind::Call(target) => Some(Some(target)),
        Kind::BranchIf(_) | Kind::CallRegister | Kind::Stop => Some(None),
        _ => None,
    }
}

pub(super) fn walk(code: &[u8], start: u64, end: End<'_>) -> Option<Walk> {
    let mut walk = Walk { end: start, ..Walk::default() };
    let mut constants = Site::default();
    // The highest target of a branch so far.
    let mut reach = start;
    // After a jump through a table, whose targets are not known, the end has to be more certain.
    let mut has_table = false;
    let mut before = 0;
    for (at, word) in words(code, start) {
        walk.end = at + SIZE;
        let kind = decode(word, at);
        let is_table = is_table_jump(before, word);
        has_table |= is_table;
        before = word;
        record(kind, word, at, &mut constants, &mut walk);
        if walk.is_excessive() {
            return None;
        }
        if let Kind::BranchIf(target) | Kind::Branch(target) = kind
            && target.saturating_sub(start) < MAX_FUNCTION
        {
            reach = reach.max(target);
        }
        let ends = match end {
            End::Known(end) => walk.end >= end,
            End::Unknown(_) => match kind {
                Kind::Stop if is_table => false,
                Kind::Branch(_) | Kind::Stop => {
                    end.is_start(walk.end)
                        || walk.end > reach
                            && (!has_table || is_prologue(code.u32((walk.end - start) as usize)))
                }
                // A function can end with a call of one that does not return.
                Kind::Call(_) | Kind::CallRegister => end.is_start(walk.end),
                _ => false,
            },
        };
        if ends {
            return Some(walk);
        }
    }
    None
}

/// Reports whether `word` is a `br` to the sum of two registers that the instruction `before`
/// computed: the address of a table and an offset in it.
fn is_table_jump(before: u32, word: u32) -> bool {
    let br = word & 0xffff_fc1f == 0xd61f_0000;
    let sum = before & 0xff00_0000 == 0x8b00_0000;
    br && sum && before & 31 == (word >> 5) & 31
}

/// Reports whether a function can begin with `word`: `paciasp`, `bti c`, `stp …, […, #…]!` or
/// `sub sp, sp, #…`.
fn is_prologue(word: Option<u32>) -> bool {
    word.is_some_and(|word| {
        matches!(word, 0xd503_233f | 0xd503_245f)
            || word & 0xffc0_0000 == 0xa980_0000
            || word & 0xff80_03ff == 0xd100_03ff
    })
}

/// Records the constants, references and calls of an instruction in `walk`. `constants` are
/// those in the argument registers, as far as the instructions in a row put them there.
fn record(kind: Kind, word: u32, at: u64, constants: &mut Site, walk: &mut Walk) {
    match kind {
        Kind::Adrp { .. } | Kind::Adr { .. } => {
            walk.references.insert(at);
        }
        Kind::MovImmediate { rd, value } => {
            if let Some(argument) = argument(rd) {
                constants[argument] = Some(value);
                walk.constants[argument].insert(value);
            }
            return;
        }
        Kind::Branch(_) | Kind::Call(_) => {
            walk.references.insert(at);
        }
        _ => {}
    }
    match kind {
        Kind::Branch(_) | Kind::Call(_) | Kind::CallRegister => {
            if constants.iter().any(Option::is_some) {
                walk.sites.insert(*constants);
            }
            *constants = Site::default();
        }
        Kind::BranchIf(_) | Kind::Stop => {}
        // The low bits of most instructions name the register that they write; those of a store,
        // which is a load without bit 22, one that they read.
        _ if word & 0x0a00_0000 == 0x0800_0000 && word & 0x0040_0000 == 0 => {}
        _ => {
            if let Some(argument) = argument(word & 31) {
                // mov wN, wzr
                let zero = (word & 0x7fff_ffe0 == 0x2a1f_03e0).then_some(0);
                constants[argument] = zero;
                walk.constants[argument].extend(zero);
            }
            // The second register of a load of two.
            if word & 0x3a00_0000 == 0x2800_0000
                && let Some(argument) = argument((word >> 10) & 31)
            {
                constants[argument] = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Instructions from an assembler, at 0x1000.
    #[test]
    fn decodes_instructions() {
        for (word, kind) in [
            (0x9000_0003, Kind::Adrp { rd: 3, page: 0x1000 }),
            (0xb000_0003, Kind::Adrp { rd: 3, page: 0x2000 }),
            (0xf0ff_ffe3, Kind::Adrp { rd: 3, page: 0 }),
            (0x910c_4063, Kind::AddImmediate { rd: 3, rn: 3, low: 0x310 }),
            (0x9140_4063, Kind::Other), // add x3, x3, #0x10, lsl #12
            (0x5280_1c42, Kind::MovImmediate { rd: 2, value: 226 }),
            (0x52a0_1c42, Kind::Other),            // mov w2, #226, lsl #16
            (0xd280_1c42, Kind::Other),            // mov x2, #226
            (0x5400_0041, Kind::BranchIf(0x1008)), // b.ne
            (0xb4ff_ffe0, Kind::BranchIf(0xffc)),  // cbz x0
            (0x3700_0060, Kind::BranchIf(0x100c)), // tbnz w0, #0
            (0xb7f8_0060, Kind::BranchIf(0x100c)), // tbnz x0, #63
            (0x17ff_ffff, Kind::Branch(0xffc)),
            (0x9400_0001, Kind::Call(0x1004)),
            (0xd63f_0100, Kind::CallRegister), // blr x8
            (0xd73f_0900, Kind::CallRegister), // blraa x8, x0
            (0xd65f_03c0, Kind::Stop),         // ret
            (0xd65f_0bff, Kind::Stop),         // retaa
            (0xd61f_0200, Kind::Stop),         // br x16
            (0xd420_0020, Kind::Stop),         // brk #1
            (0x0000_0000, Kind::Stop),         // udf #0
            (0xd503_233f, Kind::Other),        // paciasp
            (0xa9bf_7bfd, Kind::Other),        // stp x29, x30, [sp, #-16]!
        ] {
            assert_eq!(decode(word, 0x1000), kind, "{word:08x}");
        }
    }

    #[test]
    fn add_completes_the_last_adrp_of_its_register() {
        let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let found = |words: &[u32]| {
            let mut all = Vec::new();
            let targets = Targets::new(std::iter::once(0x1310..0x1311));
            references(&bytes(words), 0x1000, &targets, |r| all.push((r.at, r.argument)));
            all
        };
        let (adrp, other, add) = (0x9000_0003, 0xb000_0003, 0x910c_4063);
        assert_eq!(found(&[adrp, add]), [(0x1000, Some(3))]);
        assert_eq!(found(&[0xd503_201f, adrp, 0xd503_201f, add]), [(0x1004, Some(3))]);
        assert_eq!(found(&[adrp, other, add]), []);
        assert_eq!(found(&[other, add]), []);
        assert_eq!(found(&[adrp, 0x910c_4085]), []); // add x5, x4
        assert_eq!(found(&[adrp, 0x910c_4068]), [(0x1000, None)]); // add x8, x3
        // What a linker makes of such a pair: nop; adr x2, #0x30c
        assert_eq!(found(&[0xd503_201f, 0x1000_1862]), [(0x1004, Some(2))]);
        let far: Vec<u32> = [vec![adrp], vec![0xd503_201f; 12], vec![add]].concat();
        assert_eq!(found(&far), []);
    }

    #[test]
    fn walk_collects_constants_and_continues_after_a_jump_through_a_table() {
        let words = [
            0x9000_0003u32, // adrp x3
            0x5280_1c42,    // mov w2, #226
            0x2a1f_03e1,    // mov w1, wzr
            0x5280_0fe4,    // mov w4, #127
            0x9400_0010,    // bl 0x1050
            0x8b08_0129,    // add x9, x9, x8
            0xd61f_0120,    // br x9
            0x5280_1ae2,    // mov w2, #215
            0xf940_0042,    // ldr x2, [x2]
            0x9400_000c,    // bl 0x1054
            0xd65f_03c0,    // ret
            0xd503_233f,    // paciasp
        ];
        let code = words.map(u32::to_le_bytes).concat();
        let walk = walk(&code, 0x1000, End::Unknown(&[])).unwrap();
        assert_eq!(walk.end, 0x102c);
        assert_eq!(walk.constants[2], BTreeSet::from([215, 226]));
        assert_eq!(walk.references, BTreeSet::from([0x1000, 0x1010, 0x1024]));
        // At the second call, no constant is left.
        let site = [None, Some(0), Some(226), None, Some(127), None];
        assert_eq!(walk.sites, BTreeSet::from([site]));
    }
}
