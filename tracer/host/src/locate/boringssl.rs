//! Finds functions of a stripped, statically linked BoringSSL.
//!
//! BoringSSL reports errors with `ERR_put_error(library, 0, reason, __FILE__, __LINE__)`. So
//! its code refers to the names of its source files, and the set of reasons that a function
//! reports identifies the function:
//!
//! ```text
//! strings    "…/ssl/ssl_lib.cc", "…/cipher/aead.cc.inc"
//! references lea rcx, [rip+…]            adrp x3, … ; add x3, x3, …
//!            mov ecx, …  (not PIE)
//! starts     the unwind table, padding and a frame, or the target of a call
//! reasons    mov edx, 226                mov w2, #226
//! signature  SSL_write reports 226, 215 and 111: exactly one function does
//! ```
//!
//! This found the functions in all of 28 builds of Chromium, Qt WebEngine and CEF from 2018 to
//! 2026, at the address in the symbol table if there was one, and found nothing in programs
//! without BoringSSL.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::code::{self, End, MAX_FUNCTION, OVERLAP, Reference, Walk};
use super::elf::Image;
use super::signatures::{Pick, SIGNATURES, Signature};
use super::strings::Strings;
use super::unwind::UnwindTable;
use super::{Arch, Missing, Name, Reason};

/// Maximum number of references. Real programs have about 35 to `ssl_lib.cc` and 60 to
/// `aead.cc`.
const MAX_REFERENCES: usize = 2048;
/// Maximum number of call targets near the references.
const MAX_STARTS: usize = 1 << 20;
/// Maximum number of bytes of code that are decoded. Real programs need less than 1 MiB, so a
/// program that needs more is an attack.
const MAX_WALKED: usize = 32 << 20;

/// A function that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) addresses: Range<u64>,
}

/// The result of the search.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// True if the file contains BoringSSL, and not only the name of one of its files.
    pub(super) is_present: bool,
    pub(super) found: Vec<Found>,
    pub(super) missing: Vec<Missing>,
}

/// Searches `image` for the functions in [`SIGNATURES`].
pub(super) fn find(image: &Image<'_>, strings: &Strings) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let references = references(image, strings)?;
    let functions = if references.len() > MAX_REFERENCES {
        Err(Reason::TooComplex)
    } else {
        Search::new(image, &references)?.functions()?
    };
    outcome.is_present = strings.boringssl || !references.is_empty();
    for (name, signatures) in SIGNATURES {
        let file = name.source_file();
        let targets: Vec<u64> = strings.addresses(file).collect();
        let functions = match &functions {
            Ok(functions) => functions,
            Err(reason) => {
                outcome.missing.push(Missing { name: *name, reason: reason.clone() });
                continue;
            }
        };
        let users: Vec<(u64, &Walk)> = functions
            .iter()
            .filter(|(_, function)| function.targets.iter().any(|t| targets.contains(t)))
            .map(|(start, function)| (*start, &function.walk))
            .collect();
        let reason = if targets.is_empty() {
            Reason::NoStrings
        } else if users.is_empty() {
            Reason::NoReferences
        } else {
            match choose(signatures, &users) {
                Ok((start, walk)) => {
                    outcome.found.push(Found { name: *name, addresses: start..walk.end });
                    continue;
                }
                Err(reason) => reason,
            }
        };
        outcome.missing.push(Missing { name: *name, reason });
    }
    Ok(outcome)
}

/// Finds the references of the code to the names of the source files.
fn references(image: &Image<'_>, strings: &Strings) -> io::Result<Vec<Reference>> {
    let targets: Vec<u64> = strings.all_addresses().collect();
    let mut references = Vec::new();
    if targets.is_empty() {
        return Ok(references);
    }
    scan_code(image, |arch, address, window| {
        code::references(arch, image.fixed, window, address, &targets, |reference| {
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

/// A function that refers to the name of a source file.
struct User {
    walk: Walk,
    /// Addresses of the names it refers to.
    targets: Vec<u64>,
}

/// The search for the functions that contain references.
struct Search<'a> {
    image: &'a Image<'a>,
    references: &'a [Reference],
    unwind: Option<UnwindTable<'a>>,
    /// Call targets near the references, sorted.
    called: Vec<u64>,
    /// Functions that were decoded, by start.
    walked: BTreeMap<u64, Option<Walk>>,
    /// Number of bytes of code that may still be decoded.
    budget: usize,
}

impl<'a> Search<'a> {
    fn new(image: &'a Image<'a>, references: &'a [Reference]) -> io::Result<Self> {
        Ok(Self {
            image,
            references,
            unwind: UnwindTable::open(image)?,
            called: called_near(image, references)?,
            walked: BTreeMap::new(),
            budget: MAX_WALKED,
        })
    }

    /// Returns the functions that contain references, by start. Omits functions whose start
    /// is not certain.
    fn functions(mut self) -> io::Result<Result<BTreeMap<u64, User>, Reason>> {
        let mut users: BTreeMap<u64, User> = BTreeMap::new();
        for reference in self.references {
            let Some(start) = self.start_of(reference.at)? else {
                continue;
            };
            if let Some(Some(walk)) = self.walked.get(&start) {
                users
                    .entry(start)
                    .or_insert_with(|| User { walk: walk.clone(), targets: Vec::new() })
                    .targets
                    .push(reference.target);
            }
        }
        Ok(if self.budget == 0 { Err(Reason::TooComplex) } else { Ok(users) })
    }

    /// Returns the start of the function that contains the instruction at `at`.
    ///
    /// A start must have two of these properties: it has an unwind entry, is a call target,
    /// follows padding, or sets up a frame. A single one can be a coincidence, or mark the
    /// cold part of a function that the compiler moved away.
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
            let certain = self.called.binary_search(&function.start).is_ok()
                || self.image.arch == Arch::X86_64 && code::x86::begins_with_frame(&code);
            let contains = self.contains(function.start, Some(function.end), at)?;
            return Ok((certain && contains).then_some(function.start));
        }

        // Nearest first: starts further back belong to other functions.
        let from = self.called.partition_point(|start| *start < lowest);
        let to = self.called.partition_point(|start| *start <= at);
        let mut starts = self.called.get(from..to).unwrap_or_default().to_vec();
        if self.image.arch == Arch::X86_64 {
            // The code that sets up the frame can extend a few bytes beyond `at`.
            let len = usize::try_from(at - lowest).unwrap_or(0) + 16;
            let code = self.image.read_address(lowest, len)?;
            starts.extend(code::x86::padded_starts(&code, lowest).filter(|start| *start <= at));
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
            let end = end.map_or(End::Unknown(&self.called), End::Known);
            self.walked.insert(start, code::walk(self.image.arch, &code, start, end));
        }
        let walk = self.walked.get(&start).and_then(Option::as_ref);
        Ok(walk.is_some_and(|walk| walk.references.contains(&at)))
    }
}

/// Returns the call targets that are at most the length of a function away from a reference,
/// sorted.
fn called_near(image: &Image<'_>, references: &[Reference]) -> io::Result<Vec<u64>> {
    // The references are sorted, and so are the ranges around them.
    let mut near: Vec<Range<u64>> = Vec::new();
    for reference in references {
        let range =
            reference.at.saturating_sub(MAX_FUNCTION)..reference.at.saturating_add(MAX_FUNCTION);
        match near.last_mut() {
            Some(last) if range.start <= last.end => last.end = range.end,
            _ => near.push(range),
        }
    }
    let (Some(first), Some(last)) = (near.first(), near.last()) else {
        return Ok(Vec::new());
    };
    let all = first.start..last.end;

    let mut called = Vec::new();
    scan_code(image, |arch, address, window| {
        code::calls(arch, window, address, |target| {
            if all.contains(&target) && called.len() < MAX_STARTS {
                let next = near.partition_point(|range| range.end <= target);
                if near.get(next).is_some_and(|range| range.contains(&target)) {
                    called.push(target);
                }
            }
        });
    })?;
    called.sort_unstable();
    called.dedup();
    Ok(called)
}

/// Chooses the function that matches the signatures.
fn choose<'a>(
    signatures: &[Signature],
    users: &[(u64, &'a Walk)],
) -> Result<(u64, &'a Walk), Reason> {
    for signature in signatures {
        let mut matching: Vec<(u64, &Walk)> =
            users.iter().filter(|(_, walk)| signature.matches(walk)).copied().collect();
        matching.sort_by_key(|(_, walk)| walk.last_line);
        let count = matching.len();
        return match (signature.pick, matching.as_slice()) {
            (_, []) => continue,
            (Pick::Only, [only]) => Ok(*only),
            (Pick::LastOf(expected), [.., (_, before), last])
                if count == expected && before.last_line < last.1.last_line =>
            {
                Ok(*last)
            }
            _ => Err(Reason::NotUnique(count)),
        };
    }
    Err(Reason::NoMatch(users.len()))
}
