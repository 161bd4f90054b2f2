//! Finds functions of a stripped, statically linked GnuTLS.
//!
//! Its debug messages name the function: `ASSERT: record.c[gnutls_record_send2]:2009`. Since
//! 3.6.3, `gnutls_record_send` only calls `gnutls_record_send2` with two zeros more, so the
//! latter sees the plaintext of both.

use std::ops::Range;

use super::search::Users;
use super::signatures::{FunctionName, SourceFile};
use super::strings::Strings;
use super::{Name, Reason};

/// Searches `users` for the function that sends, unless no string names it.
pub(super) fn find(users: &Users, strings: &Strings) -> Option<(Name, Result<Range<u64>, Reason>)> {
    let files = strings.names(SourceFile::GnutlsRecord, None);
    let names = [
        (FunctionName::GnutlsRecordSend2, Name::GnutlsRecordSend2),
        (FunctionName::GnutlsRecordSend, Name::GnutlsRecordSend),
    ];
    for (function, name) in names {
        let named = strings.function(function);
        if !users.any(&named) || !users.any(&files) {
            continue;
        }
        let all = users.of(&files);
        let found: Vec<_> = all.iter().filter(|(_, user)| user.refers_to(&named)).collect();
        return Some((
            name,
            match found.as_slice() {
                [(start, user)] => Ok(*start..user.walk.end),
                [] if all.is_empty() => Err(Reason::NoReferences),
                [] => Err(Reason::NoMatch(all.len())),
                _ => Err(Reason::NotUnique(found.len())),
            },
        ));
    }
    None
}
