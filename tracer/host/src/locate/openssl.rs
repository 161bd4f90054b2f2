//! Finds functions of a stripped, statically linked OpenSSL or LibreSSL.
//!
//! OpenSSL 3 reports errors with the name of the function, OpenSSL 1 with its number, and
//! LibreSSL with reasons from which it can be told:
//!
//! ```text
//! 3         ERR_set_debug("ssl/ssl_lib.c", 2427, "SSL_write")
//! 1         ERR_put_error(20, 208, 271, "ssl/ssl_lib.c", 1944)
//! LibreSSL  SSL_error_internal(ssl, 207, "ssl_lib.c", 1056)
//! ```

use std::ops::Range;

use super::Reason;
use super::errors::FileArgument;
use super::search::{User, Users};
use super::signatures::FunctionName;
use super::strings::Strings;

/// `SSL_F_SSL_WRITE` of OpenSSL 1.
const WRITE: u32 = 208;
/// `SSL_R_BAD_LENGTH`, which `SSL_write` reports for a negative length since 1.1.1.
const BAD_LENGTH: u32 = 271;
/// `SSL_R_UNINITIALIZED` and `SSL_R_PROTOCOL_IS_SHUTDOWN`.
const UNINITIALIZED: u32 = 276;
const IS_SHUTDOWN: u32 = 207;

/// Reports whether `users` report errors as OpenSSL's functions do: with their names, or with
/// numbers. `files` are the names of `ssl_lib.c`.
pub(super) fn is_reported_by(users: &Users, files: &[Range<u64>], argument: FileArgument) -> bool {
    if argument.is_first() {
        return true;
    }
    let all = users.of(files);
    let numbered = all
        .iter()
        .filter(|(_, user)| argument.errors(user).functions.iter().any(|number| *number > 0));
    numbered.count() * 2 > all.len()
}

/// Searches `users` for `SSL_write`.
pub(super) fn find(
    users: &Users,
    strings: &Strings,
    files: &[Range<u64>],
    argument: FileArgument,
) -> Result<Range<u64>, Reason> {
    let all = users.of(files);
    let errors = |user: &User| argument.errors(user);
    let names = strings.function(FunctionName::SslWrite);
    let of_version_3 = |user: &User| {
        user.refers_to(&names)
            && user.walk.constants.iter().any(|constants| constants.contains(&BAD_LENGTH))
    };
    let of_version_1 = |user: &User| errors(user).functions.contains(&WRITE);
    let of_libressl = |user: &User| {
        let reasons = errors(user).reasons;
        [BAD_LENGTH, UNINITIALIZED, IS_SHUTDOWN].iter().all(|reason| reasons.contains(reason))
    };
    let kinds: &[&dyn Fn(&User) -> bool] =
        if argument.is_first() { &[&of_version_3] } else { &[&of_version_1, &of_libressl] };
    for is_write in kinds {
        let found: Vec<_> = all.iter().filter(|(_, user)| is_write(user)).collect();
        match found.as_slice() {
            [] => {}
            [(start, user)] => return Ok(*start..user.walk.end),
            _ => return Err(Reason::NotUnique(found.len())),
        }
    }
    Err(if all.is_empty() { Reason::NoReferences } else { Reason::NoMatch(all.len()) })
}
