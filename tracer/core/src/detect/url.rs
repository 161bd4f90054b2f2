//! Absolute http and https URLs in text (RFC 3986, found leniently).

mod authority;
mod end;

use self::authority::Authority;
pub(super) use self::{authority::is_host, end::SEPARATORS};
use crate::content::Work;

/// The position of a URL in a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlSpan {
    /// Start of the scheme.
    pub start: usize,
    /// Start of the host.
    pub host_start: usize,
    /// End of the host.
    pub host_end: usize,
    /// End of the URL.
    pub end: usize,
    /// Set if nothing but the end of the text ends the URL. If the text is
    /// truncated, the URL may continue.
    pub open: bool,
}

/// Maximum length of a URL; longer ones are cut. RFC 9110 (section 4.1) recommends
/// support for 8000 bytes. Without a bound, a text of deeply nested URLs would be
/// copied once for each of them.
const MAX_URL: usize = 8192;

/// Cost of an address, in bytes inspected: the authority is looked at several times.
const MARK_COST: usize = 512;

/// Number of times that the bytes of a URL are inspected: to find its end, to compare it with
/// the vocabularies and with the visits, and to find its role.
const PASSES: usize = 8;

/// Finds the URLs in a complete text, also those inside others
/// (`https://r.example/?u=https://…`).
pub fn urls_in(text: &str) -> impl Iterator<Item = UrlSpan> {
    // The caller bounds the text.
    let mut work = Work::unlimited();
    marks(text).filter_map({
        let mut run = Run::default();
        move |colon| run.span(text, colon, false, &mut work)
    })
}

/// Finds the URLs in a text that may be truncated. No continuation of a truncated
/// text contradicts the result: its URLs begin with those found here, and those that
/// are not [open](UrlSpan::open) are the same.
/// If the work does not suffice, the rest of the text is skipped.
pub(super) fn spans<'t>(
    text: &'t str,
    truncated: bool,
    work: &'t mut Work,
) -> impl Iterator<Item = UrlSpan> + 't {
    let mut run = Run::default();
    let mut marks = marks(text);
    std::iter::from_fn(move || {
        loop {
            let colon = marks.next()?;
            if !work.charge(MARK_COST) {
                work.skip(text.len() - colon);
                return None;
            }
            if let Some(span) = run.span(text, colon, truncated, work) {
                return Some(span);
            }
        }
    })
}

/// Returns the positions of the colons of `://`.
fn marks(text: &str) -> impl Iterator<Item = usize> {
    // Most values are too short for a substring search to repay its setup.
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', bytes).filter(|&colon| bytes[colon..].starts_with(b"://"))
}

/// A run of URL characters, shared by all URLs in it.
#[derive(Debug, Default)]
struct Run {
    end: usize,
}

impl Run {
    /// Returns the URL whose scheme ends at `colon`.
    fn span(
        &mut self,
        text: &str,
        colon: usize,
        truncated: bool,
        work: &mut Work,
    ) -> Option<UrlSpan> {
        if self.end <= colon {
            let run = text.as_bytes()[colon..].iter().take_while(|&&b| is_url_byte(b));
            self.end = colon + run.count();
        }
        let span = span_at(text, colon, self.end, truncated)?;
        // A shorter URL was found in a run that was inspected up to its end.
        if !work.charge((self.end - colon).min(MAX_URL).saturating_mul(PASSES)) {
            work.skip(text.len() - colon);
            return None;
        }
        Some(span)
    }
}

/// Returns the URL whose scheme ends at `colon`, in a run of URL characters that
/// ends at `run_end`.
fn span_at(text: &str, colon: usize, run_end: usize, truncated: bool) -> Option<UrlSpan> {
    let before = &text.as_bytes()[..colon];
    let scheme = ["https", "http"].into_iter().find(|scheme| {
        before
            .len()
            .checked_sub(scheme.len())
            .is_some_and(|at| before[at..].eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    // Any text may precede the scheme: `view-source:`, or in binary data a length
    // prefix that happens to be a letter.
    let start = colon - scheme.len();
    let authority = Authority::parse(text, colon + 3, run_end)?;
    let Authority { host, end, continues, reaches_end } = authority;
    // What follows may turn out to be a user and a password, or more of the host.
    if truncated && reaches_end {
        return None;
    }
    let (end, open) = if continues {
        let run_end = text.floor_char_boundary(run_end.min(start + MAX_URL)).max(end);
        end::find(text, start, end..run_end, truncated)
    } else {
        (end, reaches_end)
    };
    Some(UrlSpan { start, host_start: host.start, host_end: host.end, end, open })
}

/// Reports whether a byte can occur in a URL: the characters of RFC 3986, and any
/// that is not ASCII (as in an IRI).
fn is_url_byte(byte: u8) -> bool {
    !(byte <= b' '
        || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f))
}

/// Reports whether a character that is not ASCII separates a URL from the text that
/// follows it: a space, a quotation mark, a bracket, a full stop.
fn is_wide_delimiter(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{2022}' | '\u{2190}'..='\u{21ff}' | '\u{2500}'..='\u{257f}' | '\u{ab}' | '\u{bb}' | '\u{200b}' | '\u{2018}'..='\u{201f}' | '\u{2026}'
            | '\u{2039}' | '\u{203a}' | '\u{2060}' | '\u{3001}'..='\u{3003}'
            | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{feff}' | '\u{ff01}'
            | '\u{ff08}' | '\u{ff09}' | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}'
            | '\u{ff1f}' | '\u{ff3b}' | '\u{ff3d}' | '\u{ff5b}' | '\u{ff5d}' | '\u{ff61}'..='\u{ff64}'
            | '\u{fffd}')
}

#[cfg(test)]
mod tests;
