//! Parses times on the command line.

use std::time::{SystemTime, UNIX_EPOCH};

/// Parses `2h` (before `now`), `2026-11-22` (midnight UTC) or RFC 3339, and returns nanoseconds
/// since 1970-01-01 UTC.
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
            format!(
                "cannot parse the time {text}; write 2h, 2026-11-22 or 2026-11-22T10:30:00Z (UTC)"
            )
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_dates_and_timestamps_are_parsed() {
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
