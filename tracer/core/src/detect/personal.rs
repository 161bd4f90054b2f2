//! Personal details: values that identify a person, a device or a place without
//! any other knowledge.

use super::{
    identifier::{ends_in_id, is_value},
    url::is_host,
};
use crate::address::has_known_suffix;
use crate::{
    content::{Step, Value},
    rules::PersonalForm,
};

/// Reports whether the value of a field that the rules list is a personal detail.
/// A detail of a fixed form is recognised only if the value is complete.
pub(super) fn matches_form(value: &Value<'_>, form: PersonalForm) -> bool {
    let text = value.text;
    match form {
        PersonalForm::Any => is_value(text, value.truncated),
        _ if value.truncated => false,
        PersonalForm::Email => is_email(text),
        PersonalForm::Phone => is_phone(text),
        PersonalForm::Imei => is_imei(text),
        PersonalForm::Imsi => {
            (14..=15).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_digit())
                && has_varied_digits(text)
        }
        PersonalForm::Mac => is_mac(text) || is_bare_mac(text),
        PersonalForm::Coordinates => text.split_once([',', ';']).is_some_and(|(lat, lon)| {
            degrees(lat, MAX_LATITUDE).is_some() && degrees(lon, MAX_LONGITUDE).is_some()
        }),
        // Reported by `Places`, together with the other coordinate.
        PersonalForm::Latitude | PersonalForm::Longitude => false,
    }
}

/// Recognises a personal detail in an unlisted field by its form, and returns its
/// class.
pub(super) fn by_form(value: &Value<'_>) -> Option<&'static str> {
    let text = value.text;
    if value.truncated {
        return None;
    }
    match text.as_bytes().first()? {
        b'+' if is_e164(text) => Some("phone"),
        _ if text.len() == MAC_LEN && is_mac(text) => Some("mac"),
        // Identifiers of browser extensions have this form as well.
        _ if memchr::memchr(b'@', text.as_bytes()).is_some()
            && !value.key.is_some_and(names_software)
            && is_email(text)
            && (!is_in_noise(value) || is_deliberate(text)) =>
        {
            Some("email")
        }
        _ => None,
    }
}

/// Reports whether a value is a run of text in bytes of an unknown format, which can be
/// there by chance.
fn is_in_noise(value: &Value<'_>) -> bool {
    matches!(value.chain.last(), Step::Text | Step::Fragment | Step::Metadata)
}

/// Reports whether a mail address is too long, and too regular, to be there by chance.
fn is_deliberate(email: &str) -> bool {
    /// As in `a.b@c.org`.
    const MIN: usize = 9;
    let domain = email.split_once('@').map_or(email, |(_, domain)| domain);
    email.len() >= MIN && domain.bytes().all(|b| !b.is_ascii_uppercase())
}

/// Reports whether a field's name suggests that it holds the name of software.
fn names_software(key: &str) -> bool {
    ends_in_id(key)
        || ["ids", "guid", "guids", "addon", "addons", "extension", "extensions", "name"]
            .iter()
            .any(|name| key.eq_ignore_ascii_case(name))
}

/// Reports whether a text is `local@domain`, with a suffix that the public suffix
/// list contains.
fn is_email(text: &str) -> bool {
    /// RFC 5321, 4.5.3.1.3.
    const MAX_EMAIL: usize = 254;
    let is_local = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    text.len() <= MAX_EMAIL
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.bytes().all(is_local)
                && !local.starts_with('.')
                && is_host(domain)
                && domain.contains('.')
                && has_known_suffix(domain)
        })
}

fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (10..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && has_varied_digits(digits)
}

fn is_phone(text: &str) -> bool {
    /// The 15 digits of E.164, and as many separators.
    const MAX_PHONE: usize = 30;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() <= MAX_PHONE
        && (7..=15).contains(&digits)
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-() .".contains(&b))
        && has_varied_digits(text)
}

fn is_imei(text: &str) -> bool {
    text.len() == 15
        && text.bytes().all(|b| b.is_ascii_digit())
        && has_varied_digits(text)
        && has_valid_check_digit(text)
}

/// Reports whether the last digit is a valid Luhn check digit (ISO/IEC 7812-1,
/// annex B).
fn has_valid_check_digit(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b.saturating_sub(b'0'));
            let digit = if i % 2 == 1 { digit * 2 } else { digit };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Reports whether a text has at least three different digits. Placeholders have
/// fewer.
fn has_varied_digits(text: &str) -> bool {
    let seen =
        text.bytes().filter(u8::is_ascii_digit).fold(0_u16, |seen, b| seen | 1 << (b - b'0'));
    seen.count_ones() >= 3
}

/// Length of `aa:bb:cc:dd:ee:ff`.
const MAC_LEN: usize = 17;

/// The constant that Android reports to applications instead of the real address.
const ANDROID_PLACEHOLDER_MAC: &str = "020000000000";

fn is_mac(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == MAC_LEN
        && matches!(bytes[2], b':' | b'-')
        && bytes.iter().enumerate().all(|(i, b)| match i % 3 {
            2 => *b == bytes[2],
            _ => b.is_ascii_hexdigit(),
        })
        && is_bare_mac(&text.replace([':', '-'], ""))
}

fn is_bare_mac(text: &str) -> bool {
    text.len() == 12
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && text != ANDROID_PLACEHOLDER_MAC
        && text.bytes().any(|b| Some(&b) != text.as_bytes().first())
}

const MAX_LATITUDE: f64 = 90.0;
const MAX_LONGITUDE: f64 = 180.0;

/// Returns the trimmed text of an angle that is precise enough to locate a person.
/// Three decimals are about a hundred metres, fewer only locate a town.
fn degrees(text: &str, max: f64) -> Option<&str> {
    const MIN_DECIMALS: usize = 3;
    let text = text.trim();
    let (_, decimals) = text.split_once('.')?;
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
    let angle: f64 = text.parse().ok()?;
    (plain && decimals.len() >= MIN_DECIMALS && angle != 0.0 && angle.abs() <= max).then_some(text)
}

/// A coordinate whose counterpart has not been seen yet.
#[derive(Debug)]
struct PendingCoordinate {
    container: u32,
    is_latitude: bool,
    text: String,
    chain: String,
}

/// A latitude and a longitude from two fields of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoordinatePair {
    /// `latitude,longitude`.
    pub(super) text: String,
    /// Chain of the first coordinate, and the name of the other field.
    pub(super) chain: String,
}

/// Pairs latitudes with longitudes.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<PendingCoordinate>);

impl Places {
    /// Maximum number of pending coordinates. Objects between two fields are rarely
    /// nested deeply.
    const MAX_PENDING: usize = 8;

    /// Adds a coordinate. Returns the pair if the coordinate completes one.
    pub(super) fn add(&mut self, value: &Value<'_>, is_latitude: bool) -> Option<CoordinatePair> {
        let max = if is_latitude { MAX_LATITUDE } else { MAX_LONGITUDE };
        // A truncated number is a different number.
        if value.truncated {
            return None;
        }
        let text = degrees(value.text, max)?;
        let key = value.key?;
        let is_counterpart = |pending: &PendingCoordinate| {
            pending.container == value.container && pending.is_latitude != is_latitude
        };
        let Some(at) = self.0.iter().position(is_counterpart) else {
            if self.0.len() == Self::MAX_PENDING {
                self.0.remove(0);
            }
            self.0.push(PendingCoordinate {
                container: value.container,
                is_latitude,
                text: text.to_owned(),
                chain: value.chain.to_string(),
            });
            return None;
        };
        let other = self.0.remove(at);
        let text = if is_latitude {
            format!("{text},{}", other.text)
        } else {
            format!("{},{text}", other.text)
        };
        Some(CoordinatePair { text, chain: format!("{} + {key}", other.chain) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_forms() {
        assert!(is_email("anna.b+news@mail.example.org"));
        for text in ["@a.org", "a@", "a@b", "app@1.2.0", "a b@c.org", "a@@c.org", "icon@2x.png"] {
            assert!(!is_email(text), "{text}");
        }
        assert!(
            is_e164("+4915112345678") && !is_e164("4915112345678") && !is_e164("+0049151123456")
        );
        assert!(is_phone("(030) 1234-567") && !is_phone("12345") && !is_phone("7000000"));
        // The example of GSMA TS.06, and the same with a wrong check digit.
        assert!(is_imei("490154203237518") && !is_imei("490154203237519"));
        assert!(!is_imei("000000000000000"));
        assert!(is_mac("3C:5A:B4:01:02:fe") && is_mac("3c-5a-b4-01-02-fe"));
        for text in
            ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:00", "3c:5a-b4:01:02:fe"]
        {
            assert!(!is_mac(text), "{text}");
        }
        assert!(degrees("52.5163", 90.0).is_some() && degrees("-0.1276", 90.0).is_some());
        for text in ["52.5", "0.000", "91.2345", "NaN", "1e-4.000"] {
            assert!(degrees(text, 90.0).is_none(), "{text}");
        }
    }
}
