//! Finds the function to which OpenSSL's `SSL_write` and `SSL_write_ex` pass their arguments.
//!
//! ```text
//! until 3.2  SSL_write, SSL_write_ex    ssl_write_internal(s, buf, num, &written)
//! since 3.3  SSL_write, SSL_write_ex2   ssl_write_internal(s, buf, num, flags, &written)
//!            SSL_write_ex               SSL_write_ex2(s, buf, num, 0, &written)
//! ```
//!
//! It has no symbol. Its first instruction is a `push`, which the kernel emulates, where the
//! functions around it begin with an instruction that the kernel single-steps, so one pair of
//! probes on it is cheaper than theirs.
//!
//! A function is it only if both others call it, on all of their paths with exactly these
//! arguments, and `SSL_write_ex` calls nothing else. Then every byte that either accepts passes
//! through it, and it returns its result as `SSL_write_ex` does.

use std::io;
use std::ops::Range;

use super::Arch;
use super::code::forward::{self, Call, Value, Values};
use super::elf::{Dynamic, Image};

/// Maximum length of a function that only passes its arguments on. They have 13 to 140 bytes.
const MAX_WRAPPER: u64 = 512;

/// The functions of OpenSSL that write, as far as they were found.
pub(super) struct Wrappers {
    /// Addresses of `SSL_write`.
    pub(super) write: Range<u64>,
    /// Addresses of `SSL_write_ex`.
    pub(super) write_ex: Range<u64>,
    /// Addresses of `SSL_write_ex2`, which not every version has.
    pub(super) write_ex2: Option<Range<u64>>,
}

/// The parameters of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Object, buffer, length, address of the result.
    Four,
    /// With flags before the last.
    Five,
}

/// Returns the address of the function, if it is certain.
pub(super) fn find(
    image: &Image<'_>,
    dynamic: &Dynamic,
    wrappers: &Wrappers,
) -> io::Result<Option<u64>> {
    let (Some(write), Some(write_ex)) =
        (calls(image, &wrappers.write)?, calls(image, &wrappers.write_ex)?)
    else {
        return Ok(None);
    };
    let Some((internal, form)) = called_by_write(&write) else {
        return Ok(None);
    };
    let passes_on = match form {
        Form::Four => is_only_call(&write_ex, internal, &SAME[..4]),
        Form::Five => {
            is_only_call(&write_ex, internal, &WITH_ZERO)
                || passes_through_ex2(image, dynamic, wrappers, &write_ex, internal)?
        }
    };
    let own = [&wrappers.write, &wrappers.write_ex];
    let is_own = own.iter().any(|function| function.contains(&internal));
    Ok((passes_on && !is_own && image.code_at(internal).is_some()).then_some(internal))
}

const SAME: [Value; 5] = [
    Value::Argument(0),
    Value::Argument(1),
    Value::Argument(2),
    Value::Argument(3),
    Value::Argument(4),
];
const WITH_ZERO: [Value; 5] =
    [Value::Argument(0), Value::Argument(1), Value::Argument(2), Value::Zero, Value::Argument(3)];

/// Returns the calls of a function; `None` if it is too long, or not all of its paths are known.
fn calls(image: &Image<'_>, function: &Range<u64>) -> io::Result<Option<Vec<Call>>> {
    let size = function.end.saturating_sub(function.start);
    if image.arch != Arch::X86_64 || size == 0 || size > MAX_WRAPPER {
        return Ok(None);
    }
    let code = image.read_address(function.start, usize::try_from(size).unwrap_or(0))?;
    Ok(forward::calls_x86(&code, function.start))
}

/// Returns the only function to which `SSL_write` passes its arguments, with an address in its own
/// part of the stack for the result.
fn called_by_write(calls: &[Call]) -> Option<(u64, Form)> {
    let form = |values: &Values| match values {
        [
            Value::Argument(0),
            Value::Argument(1),
            Value::Argument(2) | Value::Extended(2),
            rest @ ..,
        ] => match rest {
            [Value::Stack, ..] => Some(Form::Four),
            [Value::Zero, Value::Stack, ..] => Some(Form::Five),
            _ => None,
        },
        _ => None,
    };
    let mut forms = calls.iter().filter_map(|call| Some((call.target, form(&call.values)?)));
    let found = forms.next()?;
    let is_same = |call: &Call| match form(&call.values) {
        Some(form) => (call.target, form) == found,
        None => call.target != found.0,
    };
    calls.iter().all(is_same).then_some(found)
}

/// Reports whether a function calls `target` with these arguments, and nothing else.
fn is_only_call(calls: &[Call], target: u64, arguments: &[Value]) -> bool {
    let is_it = |call: &Call| call.target == target && call.values.starts_with(arguments);
    !calls.is_empty() && calls.iter().all(is_it)
}

/// Reports whether `SSL_write_ex`, whose calls are `write_ex`, calls `SSL_write_ex2`, and that
/// calls `internal`.
fn passes_through_ex2(
    image: &Image<'_>,
    dynamic: &Dynamic,
    wrappers: &Wrappers,
    write_ex: &[Call],
    internal: u64,
) -> io::Result<bool> {
    let (Some(write_ex2), [first, ..]) = (&wrappers.write_ex2, write_ex) else {
        return Ok(false);
    };
    if !is_only_call(write_ex, first.target, &WITH_ZERO)
        || first.target != write_ex2.start
            && imported_at(image, dynamic, first.target)? != Some(write_ex2.start)
    {
        return Ok(false);
    }
    let calls = calls(image, write_ex2)?;
    Ok(calls.is_some_and(|calls| is_only_call(&calls, internal, &SAME)))
}

/// Returns the address of the function in this file to which the entry at `stub` in the procedure
/// linkage table jumps.
fn imported_at(image: &Image<'_>, dynamic: &Dynamic, stub: u64) -> io::Result<Option<u64>> {
    let all = image.read_address(stub, 16)?;
    // endbr64; bnd jmp [rip+…]
    let code = all.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(&all);
    let code = code.strip_prefix(&[0xf2]).unwrap_or(code);
    let [0xff, 0x25, a, b, c, d, rest @ ..] = code else {
        return Ok(None);
    };
    let next = stub.wrapping_add((all.len() - rest.len()) as u64);
    let displacement = i64::from(i32::from_le_bytes([*a, *b, *c, *d]));
    image.symbol_at_slot(dynamic, next.wrapping_add_signed(displacement))
}
