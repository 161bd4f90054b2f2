//! Finds functions of a stripped, statically linked BoringSSL.
//!
//! BoringSSL reports errors with `ERR_put_error(library, 0, reason, __FILE__, __LINE__)`. So
//! its code refers to the names of its source files, and the set of reasons that a function
//! reports identifies the function:
//!
//! ```text
//! strings    "…/ssl/ssl_lib.cc", "…/cipher/aead.cc.inc"
//! functions  that refer to them (`search`)
//! reasons    mov edx, 226                mov w2, #226
//! signature  SSL_write reports 226, 215 and 111: exactly one function does
//! ```
//!
//! This found the functions in all of 28 builds of Chromium, Qt WebEngine and CEF from 2018 to
//! 2026, at the address in the symbol table if there was one, and found nothing in programs
//! without BoringSSL.

use std::collections::BTreeSet;
use std::ops::Range;

use super::code::Walk;
use super::errors::{Errors, FileArgument};
use super::search::Users;
use super::signatures::{Pick, SIGNATURES, Signature, SourceFile};
use super::strings::Strings;
use super::{Missing, Name, Reason};

/// A function that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) addresses: Range<u64>,
}

/// The result of the search.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) found: Vec<Found>,
    pub(super) missing: Vec<Missing>,
}

/// Searches `users` for the functions in [`SIGNATURES`]. `ssl_lib` are the names of that file.
pub(super) fn find(users: &Users, strings: &Strings, ssl_lib: &[Range<u64>]) -> Outcome {
    let mut outcome = Outcome::default();
    for (name, signatures) in SIGNATURES {
        let names = match name.source_file() {
            SourceFile::SslLib => ssl_lib.to_vec(),
            file => strings.names(file, None),
        };
        match locate(users, &names, signatures) {
            Ok(addresses) => outcome.found.push(Found { name: *name, addresses }),
            Err(reason) => outcome.missing.push(Missing { name: *name, reason }),
        }
    }
    outcome
}

/// Returns the addresses of the function that matches `signatures`, of those that refer to one of
/// `names`.
fn locate(
    users: &Users,
    names: &[Range<u64>],
    signatures: &[Signature],
) -> Result<Range<u64>, Reason> {
    if names.is_empty() {
        return Err(Reason::NoStrings);
    }
    let argument = FileArgument::of(users, names).ok_or(Reason::NoReferences)?;
    let candidates: Vec<Candidate<'_>> = users
        .of(names)
        .into_iter()
        .map(|(start, user)| (start, &user.walk, argument.errors(user)))
        .collect();
    if candidates.is_empty() {
        return Err(Reason::NoReferences);
    }
    let (start, walk) = choose(signatures, &candidates, users.is_complete(names))?;
    Ok(start..walk.end)
}

/// A function that refers to the source file, with its errors.
type Candidate<'a> = (u64, &'a Walk, Errors);

/// Chooses the function that matches the signatures. `is_complete` states that every reference
/// to the source file is in one of the functions.
fn choose<'a>(
    signatures: &[Signature],
    users: &[Candidate<'a>],
    is_complete: bool,
) -> Result<(u64, &'a Walk), Reason> {
    for signature in signatures {
        let matching: Vec<&Candidate<'_>> =
            users.iter().filter(|(_, _, errors)| signature.matches(errors)).collect();
        let found = match (signature.pick, matching.as_slice()) {
            (_, []) => continue,
            (Pick::Only, [only]) => Some(*only),
            (Pick::OnLastLines, several) if is_complete => {
                let others =
                    |reason| users.iter().any(|(_, _, errors)| errors.reasons.contains(reason));
                // The function that was sought may be the one that is not among the matches.
                if signature.without.iter().any(|reason| *reason == 111 && others(reason)) {
                    None
                } else {
                    on_last_lines(signature.with, several)
                }
            }
            _ => None,
        };
        let count = matching.len();
        return found.map(|(start, walk, _)| (*start, *walk)).ok_or(Reason::NotUnique(count));
    }
    Err(Reason::NoMatch(users.len()))
}

/// Returns the function that reports all of `reasons` on later lines than the others, which all
/// report them on the same lines. Without such others, it may be one of them.
fn on_last_lines<'a, 'b>(
    reasons: &[u32],
    functions: &[&'b Candidate<'a>],
) -> Option<&'b Candidate<'a>> {
    let lines = |function: &Candidate<'_>| -> Vec<BTreeSet<u32>> {
        reasons.iter().map(|reason| function.2.lines(*reason)).collect()
    };
    let last = functions.iter().max_by_key(|function| lines(function))?;
    let mut others = functions.iter().filter(|function| function.0 != last.0);
    let before = lines(others.next()?);
    let is_after = |(late, early): (&BTreeSet<u32>, &BTreeSet<u32>)| {
        late.first().zip(early.last()).is_some_and(|(late, early)| late > early)
    };
    let found = lines(last).iter().zip(&before).all(is_after)
        && others.all(|function| lines(function) == before);
    found.then_some(*last)
}
