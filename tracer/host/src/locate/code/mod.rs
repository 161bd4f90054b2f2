//! Reading machine code, as little of it as the search for a function needs.
//!
//! Each machine's module answers the same three questions about a window of
//! code: which instructions form one of these addresses, which addresses are
//! called, and what does the function that starts here do until it ends.

use std::collections::BTreeSet;

use super::Arch;

mod arm64;
pub(super) mod x86;

/// The most a function is followed, in bytes. The functions looked for have
/// 150–1500; what is longer cannot be one of them.
pub(super) const MAX_FUNCTION: u64 = 16 << 10;

/// Windows of code have to share this many bytes so that no instruction pair
/// that forms an address is cut: 16 instructions of arm64.
pub(super) const OVERLAP: usize = 64;

/// An instruction that forms an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    /// Where the instruction is.
    pub(super) at: u64,
    /// The address it forms.
    pub(super) target: u64,
}

/// What a function was seen to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// The address behind its last instruction.
    pub(super) end: u64,
    /// Where it forms addresses relative to itself.
    pub(super) references: BTreeSet<u64>,
    /// The constants it loads into the third argument: `ERR_put_error`'s
    /// reason.
    pub(super) reasons: BTreeSet<u32>,
    /// The largest constant it loads into the fifth: `ERR_put_error`'s line.
    pub(super) last_line: u32,
}

/// Where a function ends.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// At a known address.
    Known(u64),
    /// Where control cannot go further, or at one of these (sorted) addresses
    /// other functions begin at.
    Unknown(&'a [u64]),
}

impl End<'_> {
    /// Whether another function begins at `address`.
    fn is_start(&self, address: u64) -> bool {
        matches!(self, Self::Unknown(starts) if starts.binary_search(&address).is_ok())
    }
}

/// Reports the instructions of `code` that form one of `targets`. In a program
/// loaded at `fixed` addresses they can do so without the instruction pointer.
pub(super) fn references(
    arch: Arch,
    fixed: bool,
    code: &[u8],
    address: u64,
    targets: &[u64],
    mut found: impl FnMut(Reference),
) {
    match arch {
        Arch::X86_64 => {
            x86::references(code, address, targets, &mut found);
            if fixed {
                x86::absolute_references(code, address, targets, found);
            }
        }
        Arch::Arm64 => arm64::references(code, address, targets, found),
    }
}

/// Reports what the direct calls of `code` call.
///
/// On x86_64, data and the middles of instructions can look like calls, so
/// only targets at which compilers put functions are reported; even so, a
/// target is evidence, not proof.
pub(super) fn calls(arch: Arch, code: &[u8], address: u64, found: impl FnMut(u64)) {
    match arch {
        Arch::X86_64 => x86::calls(code, address, found),
        Arch::Arm64 => arm64::calls(code, address, found),
    }
}

/// Follows the function at `start` to its end. `code` begins there; `None`
/// where it holds what is no code, or is too short.
pub(super) fn walk(arch: Arch, code: &[u8], start: u64, end: End<'_>) -> Option<Walk> {
    match arch {
        Arch::X86_64 => x86::walk(code, start, end),
        Arch::Arm64 => arm64::walk(code, start, end),
    }
}
