//! Decodes machine code, as far as the search for functions needs it.
//!
//! The module of each architecture has the same three functions: one finds the instructions
//! that compute given addresses, one finds call targets, and one decodes a function to its end.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Arch;

mod arm64;
pub(super) mod forward;
pub(super) mod x86;

/// Maximum number of bytes of a function. The functions to locate have 150–1500 bytes.
pub(super) const MAX_FUNCTION: u64 = 16 << 10;

/// The addresses to which references are searched, sorted.
#[derive(Debug, Default)]
pub(super) struct Targets(Vec<Range<u64>>);

impl Targets {
    /// Creates the set of all addresses in `ranges`.
    pub(super) fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        Self(ranges)
    }

    /// Reports whether the set is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reports whether `address` is one of them.
    fn contains(&self, address: u64) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }

    /// Reports whether one of them is in the page at `page`.
    fn is_in_page(&self, page: u64) -> bool {
        self.0.iter().any(|range| range.start & !0xfff <= page && page < range.end)
    }

    /// Returns the addresses that are alone in their range.
    fn single(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().filter(|range| range.end - range.start == 1).map(|range| range.start)
    }
}

/// Number of bytes by which windows of code overlap, so that one window contains both
/// instructions that compute an address: 16 instructions of arm64.
pub(super) const OVERLAP: usize = 64;

/// Number of integer arguments that are passed in registers, of those that are followed.
pub(super) const ARGUMENTS: usize = 6;

/// Maximum number of calls with constants, and of constants of an argument, in a function. Those of
/// TLS libraries have a few dozen.
const MAX_CONSTANTS: usize = 256;

/// An instruction that computes an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    /// Address of the instruction.
    pub(super) at: u64,
    /// The computed address.
    pub(super) target: u64,
    /// Index of the argument whose register receives the address; `None` for other registers.
    pub(super) argument: Option<usize>,
}

/// The constants in the argument registers at a call, or at a jump to one that several paths
/// share.
pub(super) type Site = [Option<u32>; ARGUMENTS];

/// A decoded function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Address after the last instruction.
    pub(super) end: u64,
    /// Addresses of the instructions that may refer to strings, and of direct calls and jumps.
    pub(super) references: BTreeSet<u64>,
    /// Constants that are put into the register of each argument.
    pub(super) constants: [BTreeSet<u32>; ARGUMENTS],
    /// Calls, and jumps, with some constant argument.
    pub(super) sites: BTreeSet<Site>,
}

impl Walk {
    /// Reports whether the function has more constants than any of a TLS library.
    fn is_excessive(&self) -> bool {
        self.sites.len() > MAX_CONSTANTS
            || self.constants.iter().any(|constants| constants.len() > MAX_CONSTANTS)
    }
}

/// The end of a function.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// A known address.
    Known(u64),
    /// The point that control flow cannot pass, or one of these (sorted) addresses at which
    /// other functions start.
    Unknown(&'a [u64]),
}

impl End<'_> {
    /// Reports whether another function starts at `address`.
    fn is_start(&self, address: u64) -> bool {
        matches!(self, Self::Unknown(starts) if starts.binary_search(&address).is_ok())
    }
}

/// Finds the instructions in `code` that compute one of `targets`. In a program loaded at
/// `fixed` addresses, they do not have to be relative to the instruction pointer.
pub(super) fn references(
    arch: Arch,
    fixed: bool,
    code: &[u8],
    address: u64,
    targets: &Targets,
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

/// Finds the targets of direct calls in `code`.
///
/// On x86_64, data and parts of instructions can look like calls, so they are evidence, not
/// proof.
pub(super) fn calls(arch: Arch, code: &[u8], address: u64, found: impl FnMut(u64)) {
    match arch {
        Arch::X86_64 => x86::calls(code, address, found),
        Arch::Arm64 => arm64::calls(code, address, found),
    }
}

/// Finds the calls of `target` in `code`, and the jumps to it.
pub(super) fn calls_of(arch: Arch, code: &[u8], address: u64, target: u64, found: impl FnMut(u64)) {
    match arch {
        Arch::X86_64 => x86::calls_of(code, address, target, found),
        Arch::Arm64 => arm64::calls_of(code, address, target, found),
    }
}

/// Decodes the function at `start`, where `code` begins, to its end. Returns `None` if the
/// code is invalid or too short.
pub(super) fn walk(arch: Arch, code: &[u8], start: u64, end: End<'_>) -> Option<Walk> {
    match arch {
        Arch::X86_64 => x86::walk(code, start, end),
        Arch::Arm64 => arm64::walk(code, start, end),
    }
}
