//! The errors that functions report.
//!
//! TLS libraries report an error with the name of the source file and the line. Both, and the
//! reason before them, are constants in the registers of adjacent arguments:
//!
//! ```text
//! BoringSSL       ERR_put_error(library, 0, reason, file, line)
//! … in LTO builds ERR_put_error(library, reason, file, line)
//! OpenSSL 1       ERR_put_error(library, function, reason, file, line)
//! OpenSSL 3       ERR_set_debug(file, line, function)
//! ```
//!
//! So the register that receives the file's name determines the other two.

use std::collections::BTreeSet;
use std::ops::Range;

use super::code::ARGUMENTS;
use super::search::{User, Users};

/// The position of the file's name among the arguments of the function that records an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileArgument(usize);

impl FileArgument {
    /// Returns the position at which most references to one of `names` put it.
    pub(super) fn of(users: &Users, names: &[Range<u64>]) -> Option<Self> {
        let mut counts = [0usize; ARGUMENTS];
        let inside = users.functions.values().flat_map(|user| &user.references);
        for reference in inside.chain(&users.stray) {
            if let Some(count) = reference.argument.and_then(|index| counts.get_mut(index))
                && names.iter().any(|range| range.contains(&reference.target))
            {
                *count += 1;
            }
        }
        let most = counts.iter().max().filter(|count| **count > 0)?;
        counts.iter().position(|count| count == most).map(Self)
    }

    /// Reports whether the file's name is the first argument, as in OpenSSL 3.
    pub(super) fn is_first(self) -> bool {
        self.0 == 0
    }

    /// Returns the errors that a function reports.
    pub(super) fn errors(self, user: &User) -> Errors {
        let constants = |index: Option<usize>| {
            index.and_then(|index| user.walk.constants.get(index)).cloned().unwrap_or_default()
        };
        let (reason, line) = (self.0.checked_sub(1), self.0 + 1);
        let pairs = user.walk.sites.iter().filter_map(|site| {
            let at = |index: usize| site.get(index).copied().flatten();
            Some((reason.and_then(at)?, at(line)?))
        });
        Errors {
            reasons: constants(reason),
            functions: constants(self.0.checked_sub(2)),
            at: pairs.collect(),
        }
    }
}

/// The errors that a function reports, and other constants in the same registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) reasons: BTreeSet<u32>,
    /// Codes of functions, which only OpenSSL 1 has.
    pub(super) functions: BTreeSet<u32>,
    /// Reasons with the line that reports them, where one path has both.
    pub(super) at: BTreeSet<(u32, u32)>,
}

impl Errors {
    /// Returns the lines that report `reason`.
    pub(super) fn lines(&self, reason: u32) -> BTreeSet<u32> {
        self.at.iter().filter(|(other, _)| *other == reason).map(|(_, line)| *line).collect()
    }
}
