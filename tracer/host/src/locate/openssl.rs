//! Finds functions of a stripped, statically linked OpenSSL or LibreSSL.
//!
//! OpenSSL 3 reports errors with the name of the function, OpenSSL 1 with its number, and
//! LibreSSL with reasons that only this function combines:
//!
//! ```text
//! 3         ERR_set_debug("ssl/ssl_lib.c", 2427, "SSL_write")
//! 1         ERR_put_error(20, 208, 271, "ssl/ssl_lib.c", 1944)
//! LibreSSL  SSL_error_internal(ssl, 207, "ssl_lib.c", 1056)
//! ```
//!
//! `SSL_write_ex` reports no errors. It passes its arguments on to `ssl_write_internal`, which
//! does. Since 3.3 that function has a further argument, and `SSL_write_ex2` may be in between.

use std::io;
use std::ops::Range;

use super::Reason;
use super::code::Site;
use super::code::forward::{self, Value};
use super::elf::Image;
use super::errors::FileArgument;
use super::search::{self, User, Users};
use super::signatures::FunctionName;
use super::strings::Strings;

/// `SSL_F_SSL_WRITE` and `SSL_F_SSL_WRITE_INTERNAL` of OpenSSL 1.
const WRITE: u32 = 208;
const WRITE_INTERNAL: u32 = 524;
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

/// Searches for `SSL_write_ex` among the functions that call `ssl_write_internal`. `write` is the
/// start of `SSL_write`, if it was found.
pub(super) fn find_ex(
    image: &Image<'_>,
    users: &Users,
    strings: &Strings,
    files: &[Range<u64>],
    argument: FileArgument,
    write: Option<u64>,
) -> io::Result<Result<Range<u64>, Reason>> {
    let names = strings.function(FunctionName::SslWriteInternal);
    let is_internal = |user: &User| {
        if argument.is_first() {
            user.refers_to(&names)
        } else {
            argument.errors(user).functions.contains(&WRITE_INTERNAL)
        }
    };
    let all = users.of(files);
    let internal: Vec<u64> = all
        .iter()
        .filter(|(start, user)| is_internal(user) && Some(*start) != write)
        .map(|(start, _)| *start)
        .collect();
    let [internal] = internal[..] else {
        // The compiler copied it into the functions that call it, or it was not recognized.
        return Ok(Err(match internal.len() {
            0 => Reason::NoMatch(all.len()),
            several => Reason::NotUnique(several),
        }));
    };
    let forwarding = match forwarding(image, internal)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let new = forwarding.iter().filter(|function| function.forwards == Forwards::WithZero);
    let new: Vec<_> = new.map(|function| &function.addresses).collect();
    let same = forwarding.iter().filter(|function| function.forwards == Forwards::Same);
    let same: Vec<_> = same.map(|function| &function.addresses).collect();
    let is_old =
        match (strings.openssl_version, write.and_then(|start| users.functions.get(&start))) {
            (Some(version), _) => Some(version < (3, 3)),
            // SSL_write passes the further argument, which is zero, and before it its own.
            (None, Some(user)) => {
                let further = |site: &Site| site[..4] == [None, None, None, Some(0)];
                Some(!user.walk.sites.iter().any(further))
            }
            (None, None) => None,
        };
    match (is_old, &new[..], &same[..]) {
        (Some(true), [], [only]) | (Some(false) | None, [only], _) => {
            return Ok(Ok((*only).clone()));
        }
        (Some(false) | None, [], [only]) => {
            let new = match self::forwarding(image, only.start)? {
                Ok(found) => found,
                Err(reason) => return Ok(Err(reason)),
            };
            if let [Forwarding { addresses, forwards: Forwards::WithZero }] = &new[..] {
                return Ok(Ok(addresses.clone()));
            }
        }
        _ => {}
    }
    Ok(Err(match new.len() + same.len() {
        0 => Reason::NoMatch(all.len()),
        several => Reason::NotUnique(several),
    }))
}

/// A function that passes its arguments on to another one before anything else.
struct Forwarding {
    addresses: Range<u64>,
    forwards: Forwards,
}

/// The way in which a function passes on its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forwards {
    /// Unchanged: `SSL_write_ex` until 3.2, and `SSL_write_ex2` since 3.3.
    Same,
    /// With a zero before the last: `SSL_write_ex` since 3.3.
    WithZero,
}

/// Returns the functions that pass their arguments on to the one at `target`.
fn forwarding(image: &Image<'_>, target: u64) -> io::Result<Result<Vec<Forwarding>, Reason>> {
    const BUFFER: [Value; 3] = [Value::Argument(0), Value::Argument(1), Value::Argument(2)];
    let callers = match search::callers(image, target)? {
        Ok(callers) => callers.functions,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut found = Vec::new();
    for (start, user) in callers {
        let len = usize::try_from(user.walk.end - start).unwrap_or(0);
        let code = image.read_address(start, len)?;
        let forwards = match forward::at_call(image.arch, &code, start, target) {
            Some(values) if values[..3] != BUFFER => continue,
            Some([_, _, _, Value::Zero, Value::Argument(3), _]) => Forwards::WithZero,
            Some([_, _, _, Value::Argument(3), ..]) => Forwards::Same,
            _ => continue,
        };
        found.push(Forwarding { addresses: start..user.walk.end, forwards });
    }
    Ok(Ok(found))
}
