//! The ways in which the bytes of a hash are written.
//!
//! ```text
//! 5d41402abc4b2a76b9719d911017c592   XUFAKrxLKna5cZ2REBfFkg==   hexadecimal, base64
//! LVAUAKV4JMVHNOLRTWIRAF6FSI======   6719722671305337462        base32, the first 64 bits
//! 5d:41:40:2a:…   {5d41402a-bc4b-2a76-…}   sha256-XUFAKr…       separated, behind a name
//! ```

use std::sync::LazyLock;

use data_encoding::{Encoding, HEXLOWER_PERMISSIVE, Specification};

/// Minimum number of bytes that have to match.
const MIN_LEN: usize = 8;

/// Number of digits of the shortest hash: 64 bits in base64.
pub(super) const MIN_DIGITS: usize = 11;

/// Number of digits of the longest hash: SHA-512 in hexadecimal.
const MAX_DIGITS: usize = 128;

/// Returns the first 64 bits of a word in each notation in which it is possible.
pub(super) fn first_bits(word: &str) -> [Option<u64>; 4] {
    [first_of_hex(word), first_of_base64(word), first_of_base32(word), decimal(word)]
}

/// Decodes a word in each notation, to at least 64 bits. An incomplete last byte is dropped.
pub(super) fn decode(word: &str) -> [Option<Vec<u8>>; 4] {
    let digits = word.trim_end_matches('=').as_bytes();
    if !(MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) {
        return [const { None }; 4];
    }
    let hex = HEXLOWER_PERMISSIVE.decode(&digits[..digits.len() / 2 * 2]).ok();
    // A single digit after a group of four holds less than a byte.
    let whole = digits.len() - usize::from(digits.len() % 4 == 1);
    let base64 = BASE64.decode(&digits[..whole]).ok();
    // As many digits as the whole bytes need.
    let whole = (digits.len() * 5 / 8 * 8).div_ceil(5);
    let base32 = BASE32.decode(&digits[..whole]).ok();
    let decimal = decimal(word).map(|bits| bits.to_be_bytes().to_vec());
    [hex, base64, base32, decimal].map(|bytes| bytes.filter(|bytes| bytes.len() >= MIN_LEN))
}

/// Removes the separators between hexadecimal digits: those of a UUID, or those between pairs.
/// Returns `None` for an empty text, or one with other characters.
pub(super) fn without_separators(text: &str) -> Option<String> {
    let is_separator = |c: char| matches!(c, '-' | ':' | ' ');
    let inside = text.trim_matches(['{', '}', '"']);
    let fits = inside.len() <= 2 * MAX_DIGITS
        && inside.contains(is_separator)
        && inside.chars().all(|c| c.is_ascii_hexdigit() || is_separator(c));
    fits.then(|| inside.replace(is_separator, ""))
}

/// Joins the digits of a hash whose first ones name folders: `ab/cd/ef01…`.
pub(super) fn in_folders(path: &str) -> Option<String> {
    /// Longer names are words or dates.
    const MAX_FOLDER: usize = 4;
    let is_hex = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit());
    let (folders, file) = path.rsplit_once('/')?;
    let file = file.split('.').next().filter(|file| is_hex(file))?;
    let is_folder = |name: &&str| name.len() <= MAX_FOLDER && is_hex(name);
    let mut names: Vec<&str> = folders.rsplit('/').take_while(is_folder).collect();
    names.reverse();
    // A folder before them can have a short name, too.
    let len = names.iter().map(|name| name.len()).sum::<usize>() + file.len();
    if len % 8 != 0 && names.first().is_some_and(|name| (len - name.len()).is_multiple_of(8)) {
        names.remove(0);
    }
    names.push(file);
    (names.len() > 1 && (MIN_DIGITS..=MAX_DIGITS).contains(&len)).then(|| names.concat())
}

/// Returns the words of a text that may be hashes, without the name of the algorithm before them.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    /// A list has few.
    const MAX: usize = 32;
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    text.split(move |c: char| !is_digit(c))
        .map(|word| match word.split_once('-') {
            Some((name, digits)) if name.len() < MIN_DIGITS && digits.len() > name.len() => digits,
            _ => word,
        })
        .filter(move |word| word.len() >= MIN_DIGITS && word.len() < text.len())
        .take(MAX)
}

/// Decodes the first 64 bits of a text in hexadecimal.
pub(super) fn first_of_hex(text: &str) -> Option<u64> {
    let digits = text.as_bytes().first_chunk::<16>()?;
    digits
        .iter()
        .try_fold(0, |bits, &digit| Some(bits << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

/// Decodes the first 64 bits of a text in base64: ten digits, and four bits of the
/// eleventh.
fn first_of_base64(text: &str) -> Option<u64> {
    let digits = text.as_bytes().first_chunk::<11>()?;
    let bits = digits.iter().try_fold(0u128, |bits, &digit| {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        Some(bits << 6 | u128::from(value))
    })?;
    u64::try_from(bits >> 2).ok()
}

/// Decodes the first 64 bits of a text in base32: twelve digits, and four bits of the
/// thirteenth.
fn first_of_base32(text: &str) -> Option<u64> {
    let digits = text.as_bytes().first_chunk::<13>()?;
    let bits = digits.iter().try_fold(0u128, |bits, &digit| {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a',
            b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        Some(bits << 5 | u128::from(value))
    })?;
    u64::try_from(bits >> 1).ok()
}

/// Reads a decimal number of about 64 bits.
fn decimal(text: &str) -> Option<u64> {
    (15..=20).contains(&text.len()).then(|| text.parse().ok()).flatten()
}

/// Base64 in both alphabets (RFC 4648, sections 4 and 5), truncated at any digit.
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    encoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "-_", "+/")
});

/// Base32 (RFC 4648 section 6) in either case, truncated at any digit.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    encoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "abcdefghijklmnopqrstuvwxyz",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    )
});

fn encoding(symbols: &str, from: &str, to: &str) -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str(symbols);
    specification.translate.from.push_str(from);
    specification.translate.to.push_str(to);
    specification.check_trailing_bits = false;
    specification.encoding().expect("a specification without contradictions")
}
