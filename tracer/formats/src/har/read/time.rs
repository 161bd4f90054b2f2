//! Times in a HAR: ISO 8601 with a time zone, or seconds since 1970.

use std::time::{Duration, UNIX_EPOCH};

use tracer_core::record::BootTime;

/// Parses `2026-11-23T05:51:43.674Z`. The time zone can also be `+01:00` or
/// `+0100`; without one, the time is read as UTC.
pub(super) fn parse(text: &[u8]) -> Option<BootTime> {
    let text = std::str::from_utf8(text).ok()?.trim();
    // Signs within the date do not start a zone.
    let zone = text.get(19..)?.find(['+', '-']).map(|at| 19 + at);
    let (time, zone) = match zone {
        Some(at) => (text.get(..at)?, offset(text.get(at..)?)?),
        None => (text.strip_suffix(['Z', 'z']).unwrap_or(text), 0),
    };
    let time = humantime::parse_rfc3339_weak(time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let nanos = u64::try_from(time.as_nanos()).ok()?;
    const SECOND: i64 = 1_000_000_000;
    nanos.checked_add_signed(-zone * SECOND).map(BootTime)
}

/// Returns the number of seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let digits: String = zone.get(1..)?.chars().filter(|&c| c != ':').collect();
    let is_time = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| is_time)?;
    let seconds = (number / 100 * 60 + number % 100) * 60;
    Some(if zone.starts_with('-') { -seconds } else { seconds })
}

/// Converts seconds since 1970.
pub(super) fn seconds(seconds: f64) -> Option<BootTime> {
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_nanos()).ok().map(BootTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_converted_to_utc() {
        let noon = 1_795_341_600_000_000_000;
        for text in [
            "2026-11-22T10:00:00Z",
            "2026-11-22T10:00:00.000Z",
            "2026-11-22T11:00:00.000+01:00",
            "2026-11-22T11:00:00.000+0100",
            "2026-11-22T04:30:00.000000-05:30",
            "2026-11-22T10:00:00.000",
            " 2026-11-22T10:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(BootTime(noon)), "{text}");
        }
        assert_eq!(parse(b"2026-11-22T10:00:00.25Z"), Some(BootTime(noon + 250_000_000)));
    }

    #[test]
    fn invalid_times_are_rejected() {
        for text in ["", "yesterday", "2026-11-22", "2026-11-22T10:00:00+1", "1960-01-01T00:00:00Z"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse("2026-11-22T10:00:0é+01:00".as_bytes()), None);
        assert_eq!((seconds(f64::NAN), seconds(-1.0), seconds(1e300)), (None, None, None));
        assert_eq!(seconds(1.5), Some(BootTime(1_500_000_000)));
    }
}
