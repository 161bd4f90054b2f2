//! Base32, base45 and base85, in their usual alphabets.
//!
//! ```text
//! base32    A-Z2-7 (RFC 4648), 0-9A-V, Crockford's, z-base-32; in either case
//! base45    0-9A-Z and " $%*+-./:" (RFC 9285)
//! base85    ! to u (Ascii85, "<~ … ~>"), that of Git and Python (RFC 1924), ZeroMQ's
//! ```
//!
//! None carries a marker, so this module only offers candidates, and the engine
//! decides by whether they are plausible.

use super::{compress, text};

/// Minimum length of a candidate in base32: ten bytes.
const MIN_BASE32: usize = 16;
/// Minimum length of a candidate in base45: twelve bytes.
const MIN_BASE45: usize = 18;
/// Minimum length of a candidate in base85: sixteen bytes.
const MIN_BASE85: usize = 20;

const BASE32: [&[u8; 32]; 4] = [
    b"abcdefghijklmnopqrstuvwxyz234567",
    b"0123456789abcdefghijklmnopqrstuv",
    b"0123456789abcdefghjkmnpqrstvwxyz",
    b"ybndrfg8ejkmcpqxot1uwisza345h769",
];

pub(super) const GIT: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
const ZEROMQ: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Returns what a text decodes to in each alphabet of base32. The letters have to be of
/// one case, as encoders write them.
pub(super) fn base32(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let has = |is: fn(&u8) -> bool| digits.iter().any(is);
    let fits = digits.len() >= MIN_BASE32
        && digits.iter().all(u8::is_ascii_alphanumeric)
        && has(u8::is_ascii_alphabetic)
        && !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase));
    let digits = if fits { digits } else { &[] };
    BASE32.into_iter().filter_map(move |alphabet| {
        let mut out = Vec::with_capacity(digits.len() * 5 / 8);
        let (mut bits, mut count) = (0u32, 0);
        for digit in digits {
            let digit = digit.to_ascii_lowercase();
            let value = alphabet.iter().position(|&it| it == digit)?;
            bits = bits << 5 | u32::try_from(value).ok()?;
            count += 5;
            if count >= 8 {
                count -= 8;
                out.push((bits >> count).to_le_bytes()[0]);
            }
        }
        (!out.is_empty()).then_some(out)
    })
}

/// Returns what a text decodes to in base45, of which three digits are two bytes.
pub(super) fn base45(text: &str, truncated: bool) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
    let digits = text.as_bytes();
    if digits.len() < MIN_BASE45 || digits.iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 3 * 2 + 1);
    for group in digits.chunks(3) {
        let number = group.iter().rev().try_fold(0u32, |number, digit| {
            let value = ALPHABET.iter().position(|it| it == digit)?;
            Some(number * 45 + u32::try_from(value).ok()?)
        })?;
        match group.len() {
            1 | 2 if truncated => {}
            3 => out.extend_from_slice(&u16::try_from(number).ok()?.to_be_bytes()),
            2 => out.push(u8::try_from(number).ok()?),
            _ => return None,
        }
    }
    let is_known = text::as_text(&out, false).is_some() || compress::magic(&out).is_some();
    is_known.then_some(out)
}

/// Returns what a text decodes to in each alphabet of base85, as far as it begins like
/// text or like compressed data.
pub(super) fn base85(text: &str, truncated: bool) -> impl Iterator<Item = Vec<u8>> {
    let text = text.trim();
    let (text, is_ascii85) = match text.strip_prefix("<~") {
        Some(inside) => (inside.strip_suffix("~>").unwrap_or(inside), true),
        None => (text, false),
    };
    let is_candidate = is_ascii85
        || text.len() >= MIN_BASE85
            && text.bytes().any(|b| b.is_ascii_punctuation() && !b"+/=-_.".contains(&b));
    let alphabets = match (is_candidate, is_ascii85) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 3,
    };
    [&ASCII85_VALUES, &GIT_VALUES, &ZEROMQ_VALUES].into_iter().take(alphabets).filter_map(
        move |values| {
            let start = text.get(..MIN_BASE85).unwrap_or(text);
            let start = decode85(start, values, true)?;
            let is_known =
                text::as_text(&start, true).is_some() || compress::magic(&start).is_some();
            is_known.then(|| decode85(text, values, truncated)).flatten()
        },
    )
}

/// Marks bytes that do not belong to an alphabet.
pub(super) const NONE: u8 = 0xff;

/// Returns the value of each byte as a digit of an alphabet, or [`NONE`].
pub(super) const fn values<const N: usize>(alphabet: &[u8; N]) -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < N {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
}

static GIT_VALUES: [u8; 256] = values(GIT);
static ZEROMQ_VALUES: [u8; 256] = values(ZEROMQ);
static ASCII85_VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < 85 {
        values[b'!' as usize + at] = at as u8;
        at += 1;
    }
    values
};

/// Decodes base85. The group that a cut goes through says nothing certain about its bytes.
fn decode85(text: &str, values: &[u8; 256], truncated: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 5 * 4);
    let (mut group, mut count) = (0u64, 0);
    for byte in text.bytes() {
        let value = values[usize::from(byte)];
        match byte {
            b'\r' | b'\n' => continue,
            // Four zeros in Ascii85.
            b'z' if count == 0 && value == NONE => {
                out.extend_from_slice(&[0; 4]);
                continue;
            }
            // Four spaces, in some encoders.
            b'y' if count == 0 && value == NONE => {
                out.extend_from_slice(b"    ");
                continue;
            }
            _ if value == NONE => return None,
            _ => {}
        }
        group = group * 85 + u64::from(value);
        count += 1;
        if count == 5 {
            out.extend_from_slice(&u32::try_from(group).ok()?.to_be_bytes());
            (group, count) = (0, 0);
        }
    }
    if count > 1 && !truncated {
        for _ in count..5 {
            group = group * 85 + 84;
        }
        out.extend_from_slice(u32::try_from(group).ok()?.to_be_bytes().get(..count - 1)?);
    }
    Some(out)
}

/// Reports whether a text looks like random bytes, more than a digest has, in base32
/// or base85.
pub(super) fn is_random(text: &str) -> bool {
    const MIN: usize = 104;
    let bytes = text.trim().trim_end_matches('=').as_bytes();
    if bytes.len() <= MIN || !bytes.is_ascii() {
        return false;
    }
    let mut counts = [0usize; 128];
    let lines = |byte: &&u8| !matches!(**byte, b'\r' | b'\n');
    bytes.iter().filter(lines).for_each(|&byte| counts[usize::from(byte)] += 1);
    let of = |is: fn(&u8) -> bool| -> (usize, usize) {
        let found = (0..128u8).filter(is).map(|byte| counts[usize::from(byte)]).filter(|&n| n > 0);
        found.fold((0, 0), |(sum, distinct), n| (sum + n, distinct + 1))
    };
    let (len, _) = of(|_| true);
    let (upper, lower, digits) =
        (of(u8::is_ascii_uppercase), of(u8::is_ascii_lowercase), of(u8::is_ascii_digit));
    let others = of(u8::is_ascii_punctuation);
    if upper.0 + lower.0 + digits.0 + others.0 < len {
        return false;
    }
    // Of 32 characters, 26 are letters of one case, and each is as frequent as another.
    let is_one_case = upper.0 == 0 || lower.0 == 0;
    let is_even = counts.iter().all(|&count| count * 8 <= len);
    let base32 = others.0 == 0
        && is_one_case
        && upper.1 + lower.1 >= 20
        && digits.0 * 12 >= len
        && digits.0 * 2 <= len;
    // Of 85 characters, 26 are upper case, 26 lower case, 10 digits and 23 others.
    let base85 = others.0 * 7 >= len
        && others.0 * 2 <= len
        && others.1 >= 14
        && upper.0 * 6 >= len
        && lower.0 * 6 >= len
        && digits.0 * 24 >= len;
    is_even && (base32 || base85)
}

/// Encodes base45.
#[cfg(test)]
pub(super) fn base45_of(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
    let digits = |pair: &[u8]| {
        let number = pair.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let digit = move |at| char::from(ALPHABET[number / 45usize.pow(at) % 45]);
        (0..=u32::try_from(pair.len()).unwrap()).map(digit).collect::<String>()
    };
    bytes.chunks(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::Noise;

    const URL: &[u8] = b"https://news.example.org/politics/story-42?q=private";

    #[test]
    fn every_alphabet_of_base32() {
        let rfc = data_encoding::BASE32.encode(URL);
        let hex = data_encoding::BASE32HEX_NOPAD.encode(URL);
        for text in [rfc.clone(), rfc.to_lowercase(), hex] {
            assert!(base32(&text).any(|bytes| bytes == URL), "{text}");
        }
        for other in ["abcdefgh", "abcdefgh-ijklmnop", "aBcdefghijklmnopq", "1234567890123456"] {
            assert_eq!(base32(other).count(), 0, "{other}");
        }
    }

    #[test]
    fn every_alphabet_of_base85() {
        // Python's `a85encode` and `b85encode`, and ZeroMQ's alphabet.
        let ascii85 = "BQS?8F#ks-DIn$5/nK99D/a<&/oPcC05tiGBln'!F\"_TVDfU+T1bq:84`GFUG%#K(";
        let git = "XmoUNb2=|CZe@3KE@gOOZE$R5E^l&YFK};cX>@60b1!prZ*qApG%`PNJ#cbqc42g7";
        let zeromq = "xMOunB2>%czE[3ke[Gooze:r5e]L=yfk$&Cx([60B1.PRz/QaPg+}pnj-CBQC42G7";
        for text in [ascii85, &format!("<~{ascii85}~>"), git, zeromq] {
            assert!(base85(text, false).any(|bytes| bytes == URL), "{text}");
            let cut = &text[..22];
            assert!(base85(cut, true).any(|bytes| URL.starts_with(&bytes)), "{cut}");
        }
        for other in ["https://a.test/", "words and spaces, and more", "abcdefghijklmnopqrstuvwxyz"]
        {
            assert_eq!(base85(other, false).count(), 0, "{other}");
        }
    }

    #[test]
    fn base45_is_decoded() {
        // RFC 9285, section 4.3.
        assert_eq!(base45_of(b"Hello!!"), "%69 VD92EX0");
        assert_eq!(base45(&base45_of(URL), false).as_deref(), Some(URL));
        let text = base45_of(URL);
        for len in 0..text.len() {
            let bytes = base45(&text[..len], true).unwrap_or_default();
            assert!(URL.starts_with(&bytes), "{len}");
        }
        for other in [
            "HELLO WORLD, HOW ARE YOU?",
            "THE QUICK BROWN FOX JUMPS",
            "QED8WEX0",
            "0123456789012345678901",
        ] {
            assert_eq!(base45(other, false), None, "{other}");
        }
    }

    #[test]
    fn random_text_is_recognised() {
        let noise = Noise::new(1).bytes(200);
        let base85: String = noise
            .chunks(4)
            .flat_map(|word| {
                let word = u32::from_be_bytes(word.try_into().unwrap());
                (0..5).rev().map(move |at| char::from(GIT[(word / 85u32.pow(at) % 85) as usize]))
            })
            .collect();
        assert!(is_random(&base85), "{base85}");
        assert!(is_random(&data_encoding::BASE32.encode(&noise)));
        let words = "thequickbrownfoxjumpsoverthelazydog".repeat(5);
        let url =
            "https://a.test/path/to/a/page?first=1&second=Two&third=%2Fthree%20four&fifth=5#six"
                .repeat(3);
        for text in [&*words, &url, &words.to_uppercase(), &"0123456789".repeat(20)] {
            assert!(!is_random(text), "{text}");
        }
    }
}
