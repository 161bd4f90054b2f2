//! Finds the functions of a stripped program that refer to given strings.
//!
//! ```text
//! references lea rcx, [rip+…]            adrp x3, … ; add x3, x3, …
//!            mov ecx, …  (not PIE)       adr x3, …
//! starts     the unwind table, padding and a frame, the target of a call, or a pointer in data
//! ```

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::code::{self, End, MAX_FUNCTION, OVERLAP, Reference, Targets, Walk, x86};
use super::elf::Image;
use super::unwind::UnwindTable;
use super::{Arch, Reason, pointers};

/// Maximum number of references. Real programs have about 35 to BoringSSL's `ssl_lib.cc`, 60 to
/// `aead.cc`, and 190 to OpenSSL's `ssl_lib.c`.
const MAX_REFERENCES: usize = 2048;
/// Maximum number of call targets near the references.
const MAX_STARTS: usize = 1 << 20;
/// Maximum number of bytes of code that are decoded. Real programs need less than 1 MiB, so a
/// program that needs more is an attack. What is kept of them is larger than a small file, which
/// is decoded less.
const MAX_WALKED: u64 = 32 << 20;
const WALKED_PER_BYTE: u64 = 16;
const WALKED_OF_ANY: u64 = 1 << 20;

/// The functions that refer to given strings.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// The functions, by start.
    pub(super) functions: BTreeMap<u64, User>,
    /// References in code whose function is not certain.
    pub(super) stray: Vec<Reference>,
}

/// A function that refers to some of the strings.
#[derive(Debug)]
pub(super) struct User {
    pub(super) walk: Walk,
    pub(super) references: Vec<Reference>,
}

impl User {
    /// Reports whether the function refers to one of `targets`.
    pub(super) fn refers_to(&self, targets: &[Range<u64>]) -> bool {
        self.references.iter().any(|reference| is_to(reference, targets))
    }
}

impl Users {
    /// Returns the functions that refer to one of `targets`, with their starts.
    pub(super) fn of(&self, targets: &[Range<u64>]) -> Vec<(u64, &User)> {
        let functions = self.functions.iter().map(|(start, user)| (*start, user));
        functions.filter(|(_, user)| user.refers_to(targets)).collect()
    }

    /// Reports whether every reference to `targets` is in one of the functions.
    pub(super) fn is_complete(&self, targets: &[Range<u64>]) -> bool {
        !self.stray.iter().any(|reference| is_to(reference, targets))
    }

    /// Reports whether there are references to `targets`.
    pub(super) fn any(&self, targets: &[Range<u64>]) -> bool {
        !self.is_complete(targets) || !self.of(targets).is_empty()
    }
}

fn is_to(reference: &Reference, targets: &[Range<u64>]) -> bool {
    targets.iter().any(|target| target.contains(&reference.target))
}

/// Finds the functions of `image` that refer to `targets`.
///
/// The outer error is one of reading the file; the inner one, a limit of the search.
pub(super) fn users(image: &Image<'_>, targets: &Targets) -> io::Result<Result<Users, Reason>> {
    let references = references(image, targets)?;
    if references.len() > MAX_REFERENCES {
        return Ok(Err(Reason::TooComplex));
    }
    Search::new(image, &references)?.functions()
}

/// Finds the functions that call the function at `target`, or jump to it.
pub(super) fn callers(image: &Image<'_>, target: u64) -> io::Result<Result<Users, Reason>> {
    let mut calls = Vec::new();
    scan_code(image, |arch, address, window| {
        code::calls_of(arch, window, address, target, |at| {
            if calls.len() <= MAX_REFERENCES {
                calls.push(Reference { at, target, argument: None });
            }
        });
    })?;
    if calls.len() > MAX_REFERENCES {
        return Ok(Err(Reason::TooComplex));
    }
    calls.sort_unstable();
    calls.dedup();
    Search::new(image, &calls)?.functions()
}

/// Finds the references of the code to `targets`.
fn references(image: &Image<'_>, targets: &Targets) -> io::Result<Vec<Reference>> {
    let mut references = Vec::new();
    if targets.is_empty() {
        return Ok(references);
    }
    scan_code(image, |arch, address, window| {
        code::references(arch, image.fixed, window, address, targets, |reference| {
            // Keep one more than the limit, to show that it was exceeded.
            if references.len() <= MAX_REFERENCES {
                references.push(reference);
            }
        });
    })?;
    references.sort_unstable();
    references.dedup();
    Ok(references)
}

/// Calls `visit` with all executable segments, in overlapping windows.
fn scan_code(image: &Image<'_>, mut visit: impl FnMut(Arch, u64, &[u8])) -> io::Result<()> {
    for segment in image.segments.iter().filter(|segment| segment.executable) {
        image.file.windows(segment.offset, segment.size(), OVERLAP, |offset, window| {
            visit(image.arch, segment.addresses.start + (offset - segment.offset), window);
        })?;
    }
    Ok(())
}

/// The search for the functions that contain references.
struct Search<'a> {
    image: &'a Image<'a>,
    references: &'a [Reference],
    unwind: Option<UnwindTable<'a>>,
    /// Targets of calls and pointers near the references.
    called: Called,
    /// Functions that were decoded, by start.
    walked: BTreeMap<u64, Option<Walk>>,
    /// Number of bytes of code that may still be decoded.
    budget: usize,
}

impl<'a> Search<'a> {
    fn new(image: &'a Image<'a>, references: &'a [Reference]) -> io::Result<Self> {
        let size = image.file.size();
        let budget =
            size.saturating_mul(WALKED_PER_BYTE).saturating_add(WALKED_OF_ANY).min(MAX_WALKED);
        Ok(Self {
            image,
            references,
            unwind: UnwindTable::open(image)?,
            called: Called::near(image, references)?,
            walked: BTreeMap::new(),
            budget: usize::try_from(budget).unwrap_or(usize::MAX),
        })
    }

    /// Returns the functions that contain references. Those whose start is not certain are
    /// omitted, and their references are stray.
    fn functions(mut self) -> io::Result<Result<Users, Reason>> {
        let mut users = Users::default();
        for reference in self.references {
            let Some(start) = self.start_of(reference.at)? else {
                users.stray.push(*reference);
                continue;
            };
            if let Some(Some(walk)) = self.walked.get(&start) {
                users
                    .functions
                    .entry(start)
                    .or_insert_with(|| User { walk: walk.clone(), references: Vec::new() })
                    .references
                    .push(*reference);
            }
        }
        Ok(if self.budget == 0 { Err(Reason::TooComplex) } else { Ok(users) })
    }

    /// Returns the start of the function that contains the instruction at `at`.
    ///
    /// A start must have two of these properties: it has an unwind entry, is the target of a call
    /// or a pointer, follows padding, or sets up a frame. A single one can be a coincidence, or
    /// mark the cold part of a function that the compiler moved away. In code without alignment,
    /// a start needs more: what is before it does not continue there.
    fn start_of(&mut self, at: u64) -> io::Result<Option<u64>> {
        let Some(segment) = self.image.code_at(at) else {
            return Ok(None);
        };
        let lowest = at.saturating_sub(MAX_FUNCTION).max(segment.addresses.start);

        if let Some(unwind) = &self.unwind
            && let Some(function) = unwind.function(at)?
            && function.end - function.start <= MAX_FUNCTION
        {
            let code = self.image.read_address(function.start, 16)?;
            let before = self.image.read_address(function.start.saturating_sub(8), 8)?;
            let certain = self.called.all.binary_search(&function.start).is_ok()
                || self.image.arch == Arch::X86_64
                    && (x86::begins_with_frame(&code)
                        || x86::is_padded_start(&before, function.start, &code));
            let contains = self.contains(function.start, Some(function.end), at)?;
            return Ok((certain && contains).then_some(function.start));
        }

        // Nearest first: starts further back belong to other functions.
        let called = &self.called.starts;
        let from = called.partition_point(|start| *start < lowest);
        let to = called.partition_point(|start| *start <= at);
        let mut starts = called.get(from..to).unwrap_or_default().to_vec();
        if self.image.arch == Arch::X86_64 && self.called.aligned {
            // The code that sets up the frame can extend a few bytes beyond `at`.
            let len = usize::try_from(at - lowest).unwrap_or(0) + 16;
            let code = self.image.read_address(lowest, len)?;
            starts.extend(x86::padded_starts(&code, lowest).filter(|start| *start <= at));
            starts.sort_unstable();
        }
        for start in starts.into_iter().rev() {
            if self.contains(start, None, at)? {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    /// Reports whether decoding from `start` reaches the instruction at `at` before the
    /// function ends.
    fn contains(&mut self, start: u64, end: Option<u64>, at: u64) -> io::Result<bool> {
        if !self.walked.contains_key(&start) {
            let max = end.map_or(MAX_FUNCTION, |end| end - start);
            let len = usize::try_from(max).unwrap_or(0);
            self.budget = self.budget.saturating_sub(len);
            let code =
                if self.budget == 0 { Vec::new() } else { self.image.read_address(start, len)? };
            let end = end.map_or(End::Unknown(&self.called.starts), End::Known);
            self.walked.insert(start, code::walk(self.image.arch, &code, start, end));
        }
        let walk = self.walked.get(&start).and_then(Option::as_ref);
        Ok(walk.is_some_and(|walk| walk.references.contains(&at)))
    }
}

/// Reports whether a function can begin at an address that is not aligned: what is before it does
/// not continue there.
fn is_packed_start(image: &Image<'_>, address: u64) -> io::Result<bool> {
    let before = image.read_address(address.saturating_sub(8), 8)?;
    let after = image.read_address(address, 8)?;
    Ok(x86::is_packed_start(&before, &after))
}

/// The targets of calls and pointers that are at most the length of a function away from a
/// reference.
struct Called {
    /// All of them, sorted.
    all: Vec<u64>,
    /// Those at which functions can start.
    starts: Vec<u64>,
    /// True if functions are aligned, as they are unless code is optimized for size.
    aligned: bool,
}

impl Called {
    fn near(image: &Image<'_>, references: &[Reference]) -> io::Result<Self> {
        // The references are sorted, and so are the ranges around them.
        let mut near: Vec<Range<u64>> = Vec::new();
        for reference in references {
            let range = reference.at.saturating_sub(MAX_FUNCTION)
                ..reference.at.saturating_add(MAX_FUNCTION);
            match near.last_mut() {
                Some(last) if range.start <= last.end => last.end = range.end,
                _ => near.push(range),
            }
        }
        let mut all = Vec::new();
        if let (Some(first), Some(last)) = (near.first(), near.last()) {
            let whole = first.start..last.end;
            let mut keep = |target| {
                if whole.contains(&target) && all.len() < MAX_STARTS {
                    let next = near.partition_point(|range| range.end <= target);
                    if near.get(next).is_some_and(|range| range.contains(&target)) {
                        all.push(target);
                    }
                }
            };
            scan_code(image, |arch, address, window| {
                code::calls(arch, window, address, &mut keep)
            })?;
            pointers::each(image, keep)?;
        }
        let alignment = match image.arch {
            Arch::X86_64 => x86::FUNCTION_ALIGNMENT,
            Arch::Arm64 => 4,
        };
        let is_aligned = |target: &u64| target.is_multiple_of(alignment);
        all.sort_unstable();
        all.dedup();
        // Parts of instructions that look like calls are few, and rarely have aligned targets.
        let aligned = all.iter().filter(|target| is_aligned(target)).count() * 2 >= all.len();
        let mut starts = Vec::new();
        for &target in &all {
            if if aligned { is_aligned(&target) } else { is_packed_start(image, target)? } {
                starts.push(target);
            }
        }
        Ok(Self { all, starts, aligned })
    }
}
