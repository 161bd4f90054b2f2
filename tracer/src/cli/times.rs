//! Times, as users give them.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time in nanoseconds since 1970-01-01 UTC, of `2h` (that long before
/// `now`), `2026-11-22` (its beginning, UTC) or RFC 3339.
pub(super) fn parse(text: &str, now: SystemTime) -> Result<u64, String> {
    let time = if let Ok(ago) = humantime::parse_duration(text) {
        now.checked_sub(ago)
    } else {
        humantime::parse_rfc3339_weak(text)
            .or_else(|_| humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z")))
            .ok()
    };
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .ok_or_else(|| {
            format!("{text} is no time: give 2h, 2026-11-22 or 2026-11-22T10:30:00Z (UTC)")
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_as_people_say_them() {
        const SECOND: u64 = 1_000_000_000;
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        assert_eq!(parse("2h", now), Ok(92_800 * SECOND));
        assert_eq!(parse("1h 30m", now), Ok(94_600 * SECOND));
        assert_eq!(parse("1970-01-02", now), Ok(86_400 * SECOND));
        assert_eq!(parse("1970-01-01T00:00:01Z", now), Ok(SECOND));
        assert_eq!(parse("1970-01-01 00:00:01", now), Ok(SECOND));
        for wrong in ["", "yesterday", "2", "1970-13-01", "1969-01-01", "1000000h", "9999-01-01"] {
            assert!(parse(wrong, now).unwrap_err().contains("2h"), "{wrong}");
        }
    }
}
