//! Times in a HAR.
//!
//! The format asks for ISO 8601 with a time zone. Tools also write ISO 8601
//! with a comma, a space or without a zone, numbers since 1970, the forms of
//! mail and of JavaScript, and the digits and spaces of the user's language.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};
use tracer_core::record::BootTime;

/// Maximum length of a time. Longer text is not a time.
const MAX_LEN: usize = 128;

/// Forms of dates other than ISO 8601 and RFC 2822, without a time zone. Dates
/// in which day and month could be confused are not among them, except those of
/// the USA, which AM and PM reveal.
const LOCAL_FORMS: [&str; 6] = [
    "%m/%d/%Y, %I:%M:%S %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d.%m.%Y, %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%d %b %Y %H:%M:%S",
];

/// The form of JavaScript's `Date`, without the name of the zone.
const JAVASCRIPT: &str = "%a %b %d %Y %H:%M:%S GMT%z";

/// The form of Java's `Date`, after the name of the zone was removed.
const JAVA_ZONES: [&str; 2] = [" UTC ", " GMT "];

/// Parses a time in any of the forms above. A time without a zone is read as
/// UTC.
pub(super) fn parse(text: &[u8]) -> Option<BootTime> {
    let text = text.get(..=MAX_LEN).is_none().then_some(text)?;
    let text = plain(std::str::from_utf8(text).ok()?);
    number(&text)
        .or_else(|| iso(&text))
        .or_else(|| other(&text))
        .and_then(|time| u64::try_from(time.as_nanosecond()).ok())
        .map(BootTime)
}

/// Converts digits and spaces of other scripts to those of ASCII, and removes
/// marks of direction.
fn plain(text: &str) -> String {
    let digit = |c: char, zero: char| char::from_digit(u32::from(c) - u32::from(zero), 10);
    let converted = text.chars().filter_map(|c| match c {
        '\u{660}'..='\u{669}' => digit(c, '\u{660}'),
        '\u{6f0}'..='\u{6f9}' => digit(c, '\u{6f0}'),
        '\u{ff10}'..='\u{ff19}' => digit(c, '\u{ff10}'),
        '\u{200e}' | '\u{200f}' | '\u{61c}' => None,
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    });
    converted.collect::<String>().trim().to_owned()
}

/// Parses a number since 1970, in the unit that its size suggests. .NET writes
/// `/Date(1763800449123+0100)/`.
fn number(text: &str) -> Option<Timestamp> {
    let bare = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/"));
    let bare = bare.map_or(text, |bare| bare.split_once(['+', '-']).map_or(bare, |(at, _)| at));
    let number: f64 =
        bare.parse().ok().filter(|_| bare.starts_with(|c: char| c.is_ascii_digit()))?;
    let unit = match number {
        ..1e8 => return None,
        ..1e11 => 1e9,
        ..1e14 => 1e6,
        ..1e17 => 1e3,
        _ => 1.0,
    };
    Timestamp::from_nanosecond((number * unit) as i128).ok()
}

/// Parses ISO 8601, with what tools add to it.
fn iso(text: &str) -> Option<Timestamp> {
    // A name of the zone may follow the offset: `[Europe/Berlin]`.
    let text = text.split_once('[').map_or(text, |(time, _)| time);
    let text = ["UTC", "GMT"]
        .iter()
        .find_map(|zone| text.strip_suffix(zone))
        .map_or_else(|| text.to_owned(), |time| format!("{}Z", time.trim_end()));
    let is_date = text.get(..4).is_some_and(|year| year.bytes().all(|b| b.is_ascii_digit()));
    // A day without a time of day says little about the order.
    if !is_date || !text.contains([':', 'T', 't']) {
        return None;
    }
    let text = short_fraction(&text.replace('/', "-").replacen(", ", " ", 1));
    // A space may precede the offset.
    let text = text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z");
    text.parse().ok().or_else(|| utc(text.parse().ok()?))
}

/// Cuts a fraction of a second to nanoseconds.
fn short_fraction(text: &str) -> String {
    let Some(at) = text.rfind(['.', ',']) else {
        return text.to_owned();
    };
    let (before, fraction) = text.split_at(at + 1);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, zone) = fraction.split_at(digits);
    format!("{before}{}{zone}", digits.get(..9).unwrap_or(digits))
}

/// Parses the other forms.
fn other(text: &str) -> Option<Timestamp> {
    let parser = rfc2822::DateTimeParser::new();
    if let Ok(time) = parser.parse_timestamp(text.as_bytes()) {
        return Some(time);
    }
    let without_name = text.split_once(" (").map_or(text, |(time, _)| time);
    if let Ok(time) = Timestamp::strptime(JAVASCRIPT, without_name) {
        return Some(time);
    }
    let java = JAVA_ZONES.iter().find(|zone| text.contains(**zone));
    let text = java.map_or_else(|| text.to_owned(), |zone| text.replacen(zone, " ", 1));
    utc(LOCAL_FORMS.iter().find_map(|form| DateTime::strptime(form, &text).ok())?)
}

fn utc(time: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(time).ok()
}

/// Converts seconds since 1970.
pub(super) fn seconds(seconds: f64) -> Option<BootTime> {
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_nanos()).ok().map(BootTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: u64 = 1_795_341_600_000_000_000;

    #[test]
    fn time_zones_are_converted_to_utc() {
        for text in [
            "2026-11-22T10:00:00Z",
            "2026-11-22T10:00:00.000Z",
            "2026-11-22T11:00:00.000+01:00",
            "2026-11-22T11:00:00.000+0100",
            "2026-11-22T11:00:00.000+01",
            "2026-11-22T04:30:00.000000-05:30",
            "2026-11-22T10:00:00.000",
            " 2026-11-22T10:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(BootTime(TEN)), "{text}");
        }
        assert_eq!(parse(b"2026-11-22T10:00:00.25Z"), Some(BootTime(TEN + 250_000_000)));
    }

    #[test]
    fn times_are_read_in_every_spelling_of_tools() {
        for text in [
            "2026-11-22T10:00:00,000Z",
            "2026-11-22 10:00:00",
            "2026-11-22 10:00:00.000 +0000",
            "2026-11-22 11:00:00 +01:00",
            "2026-11-22 10:00:00 UTC",
            "2026-11-22 10:00:00 Z",
            "2026-11-22t10:00:00z",
            "2026-11-22T10:00Z",
            "20261122T100000Z",
            "2026/11/22 10:00:00.000",
            "2026-11-22, 10:00:00",
            "2026-11-22T10:00:00.0000000Z",
            "2026-11-22T04:00:00.000000000000-06:00",
            "2026-11-22T11:00:00+01:00[Europe/Berlin]",
            "2026-11-22T10:00:00.000Z[UTC]",
            "Sun, 22 Nov 2026 10:00:00 GMT",
            "Sun, 22 Nov 2026 11:00:00 +0100",
            "Sun Nov 22 2026 11:00:00 GMT+0100 (Central European Standard Time)",
            "Sun Nov 22 10:00:00 2026",
            "Sun Nov 22 10:00:00 UTC 2026",
            "11/22/2026, 10:00:00 AM",
            "11/22/2026, 10:00:00\u{202f}AM",
            "22.11.2026, 10:00:00",
            "1795341600",
            "1795341600.0",
            "1795341600000",
            "1795341600000000",
            "1795341600000000000",
            "/Date(1795341600000)/",
            "/Date(1795341600000+0100)/",
            "٢٠٢٦-١١-٢٢T١٠:٠٠:٠٠.٠٠٠Z",
            "\u{200e}11\u{200e}/\u{200e}22\u{200e}/\u{200e}2026\u{200e} \u{200e}10\u{200e}:\u{200e}00\u{200e}:\u{200e}00\u{200e} \u{200e}AM",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(BootTime(TEN)), "{text}");
        }
        assert_eq!(parse(b"2026-11-22T10:00:00,123Z"), Some(BootTime(TEN + 123_000_000)));
        assert_eq!(parse(b"2026-11-22T10:00:00.1234567Z"), Some(BootTime(TEN + 123_456_700)));
    }

    #[test]
    fn invalid_times_are_rejected() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-11-22T10:00:00+1",
            "2026-11-22T25:00:00Z",
            "1960-01-01T00:00:00Z",
            "22/11/2026 10:00:00",
            "12345",
            "NaN",
            "inf",
            "-1795341600",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse("2026-11-22T10:00:0é+01:00".as_bytes()), None);
        assert_eq!(parse(&[b'2'; 10_000]), None);
        assert_eq!((seconds(f64::NAN), seconds(-1.0), seconds(1e300)), (None, None, None));
        assert_eq!(seconds(1.5), Some(BootTime(1_500_000_000)));
    }
}
