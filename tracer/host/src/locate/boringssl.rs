//! Functions of a stripped, statically linked BoringSSL.
//!
//! BoringSSL reports errors with `ERR_put_error(library, 0, reason, __FILE__,
//! __LINE__)`, so its code refers to the names of its source files, and which
//! reasons a function can give tells which function it is:
//!
//! ```text
//! strings    "…/ssl/ssl_lib.cc", "…/cipher/aead.cc.inc"
//! references lea rcx, [rip+…]            adrp x3, … ; add x3, x3, …
//!            mov ecx, …  (not PIE)
//! starts     the unwind table, padding and a frame, or the target of a call
//! reasons    mov edx, 226                mov w2, #226
//! rules      SSL_write gives 226, 215 and 111: exactly one function does
//! ```
//!
//! Found so on all of 28 builds of Chromium, Qt WebEngine and CEF from 2018 to
//! 2026, at the address the symbol table gave where there was one, and nowhere
//! in programs without BoringSSL.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::code::{self, End, MAX_FUNCTION, OVERLAP, Reference, Walk};
use super::elf::Image;
use super::rules::{Pick, RULES, Rule};
use super::strings::Strings;
use super::unwind::UnwindTable;
use super::{Arch, Missing, Name, Reason};

/// References followed. Real programs have about 35 to `ssl_lib.cc` and 60 to
/// `aead.cc`.
const MAX_REFERENCES: usize = 2048;
/// Called addresses near the references that are considered.
const MAX_STARTS: usize = 1 << 20;
/// Bytes of code followed in all. Real programs need less than 1 MiB; what
/// needs more was made to.
const MAX_WALKED: usize = 32 << 20;

/// A function that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Name,
    /// Its addresses.
    pub(super) addresses: Range<u64>,
}

/// What the search gave.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// There is a BoringSSL, not only a mention of its files.
    pub(super) is_there: bool,
    pub(super) found: Vec<Found>,
    pub(super) missing: Vec<Missing>,
}

/// Searches `image` for the functions of [`RULES`].
pub(super) fn find(image: &Image<'_>, strings: &Strings) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let references = references(image, strings)?;
    let functions = if references.len() > MAX_REFERENCES {
        Err(Reason::TooComplex)
    } else {
        Search::new(image, &references)?.functions()?
    };
    outcome.is_there = strings.boringssl || !references.is_empty();
    for (name, rules) in RULES {
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
            match choose(rules, &users) {
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

/// Where the code refers to the source file names.
fn references(image: &Image<'_>, strings: &Strings) -> io::Result<Vec<Reference>> {
    let targets: Vec<u64> = strings.all_addresses().collect();
    let mut references = Vec::new();
    if targets.is_empty() {
        return Ok(references);
    }
    scan_code(image, |arch, address, window| {
        code::references(arch, image.fixed, window, address, &targets, |reference| {
            // One more than the cap tells that there were too many.
            if references.len() <= MAX_REFERENCES {
                references.push(reference);
            }
        });
    })?;
    references.sort_unstable();
    references.dedup();
    Ok(references)
}

/// Hands out all executable segments in overlapping windows.
fn scan_code(image: &Image<'_>, mut visit: impl FnMut(Arch, u64, &[u8])) -> io::Result<()> {
    for segment in image.segments.iter().filter(|segment| segment.executable) {
        image.file.windows(segment.offset, segment.size(), OVERLAP, |offset, window| {
            visit(image.arch, segment.addresses.start + (offset - segment.offset), window);
        })?;
    }
    Ok(())
}

/// A function that refers to a source file's name.
struct User {
    walk: Walk,
    /// The strings it refers to.
    targets: Vec<u64>,
}

/// The search for the functions around references.
struct Search<'a> {
    image: &'a Image<'a>,
    references: &'a [Reference],
    unwind: Option<UnwindTable<'a>>,
    /// The addresses near the references that are called, sorted.
    called: Vec<u64>,
    /// Functions followed already, by start.
    walked: BTreeMap<u64, Option<Walk>>,
    /// Bytes of code that may still be followed.
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

    /// The functions that hold the references, by start. References whose
    /// function's start is not certain are left out.
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

    /// Where the function that holds the instruction at `at` begins.
    ///
    /// A start needs two of: an unwind entry, a call to it, padding before it,
    /// a frame set up at it. One alone can be chance, or the part of a
    /// function that the compiler moved out of the way.
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
            let holds = self.holds(function.start, Some(function.end), at)?;
            return Ok((certain && holds).then_some(function.start));
        }

        // Nearest first: what lies further back is another function.
        let from = self.called.partition_point(|start| *start < lowest);
        let to = self.called.partition_point(|start| *start <= at);
        let mut starts = self.called.get(from..to).unwrap_or_default().to_vec();
        if self.image.arch == Arch::X86_64 {
            // The frame can reach a few bytes beyond the reference's own.
            let len = usize::try_from(at - lowest).unwrap_or(0) + 16;
            let code = self.image.read_address(lowest, len)?;
            starts.extend(code::x86::padded_starts(&code, lowest).filter(|start| *start <= at));
            starts.sort_unstable();
        }
        for start in starts.into_iter().rev() {
            if self.holds(start, None, at)? {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    /// Whether following the code from `start` comes upon the instruction at
    /// `at` before the function ends.
    fn holds(&mut self, start: u64, end: Option<u64>, at: u64) -> io::Result<bool> {
        if !self.walked.contains_key(&start) {
            let most = end.map_or(MAX_FUNCTION, |end| end - start);
            let len = usize::try_from(most).unwrap_or(0);
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

/// The addresses within a function's length of a reference that are called
/// from anywhere in the code, sorted.
fn called_near(image: &Image<'_>, references: &[Reference]) -> io::Result<Vec<u64>> {
    // The references are sorted, so merging their surroundings is too.
    let mut near: Vec<Range<u64>> = Vec::new();
    for reference in references {
        let around =
            reference.at.saturating_sub(MAX_FUNCTION)..reference.at.saturating_add(MAX_FUNCTION);
        match near.last_mut() {
            Some(last) if around.start <= last.end => last.end = around.end,
            _ => near.push(around),
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

/// The one function that the rules single out.
fn choose<'a>(rules: &[Rule], users: &[(u64, &'a Walk)]) -> Result<(u64, &'a Walk), Reason> {
    for rule in rules {
        let mut matching: Vec<(u64, &Walk)> =
            users.iter().filter(|(_, walk)| rule.holds(walk)).copied().collect();
        matching.sort_by_key(|(_, walk)| walk.last_line);
        let count = matching.len();
        return match (rule.pick, matching.as_slice()) {
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
