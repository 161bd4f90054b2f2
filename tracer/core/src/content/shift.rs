//! Text whose characters were replaced by others in a fixed order: letters moved in the
//! alphabet, characters moved in ASCII or in Unicode, the alphabet backwards.
//!
//! The scheme of a URL reveals how: in `https://`, the second character is 12 places after
//! the first one, and the third one is the same as the second.

use std::fmt;

/// A way to replace characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// The 26 letters, moved by this number of places.
    Letters(u8),
    /// The 26 letters, and the ten digits by the other number of places.
    LettersAndDigits(u8, u8),
    /// The 94 printable characters of ASCII, moved by this number of places.
    Printable(u8),
    /// All characters, moved by this number of places in Unicode.
    Characters(i32),
    /// The letters in reverse order: `a` is `z`.
    Atbash,
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Letters(places) => write!(f, "rot{places}"),
            Self::LettersAndDigits(13, 5) => f.write_str("rot18"),
            Self::LettersAndDigits(letters, digits) => write!(f, "rot{letters}+{digits}"),
            Self::Printable(47) => f.write_str("rot47"),
            Self::Printable(places) => write!(f, "printable{places:+}"),
            Self::Characters(places) => write!(f, "characters{places:+}"),
            Self::Atbash => f.write_str("atbash"),
        }
    }
}

/// Number of letters.
const LETTERS: u8 = 26;
/// The printable characters of ASCII except the space: `!` to `~`.
const PRINTABLE: u8 = 94;

impl Shift {
    /// Parses the name of a shift.
    pub fn parse(name: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok();
        match name {
            "atbash" => Some(Self::Atbash),
            "rot18" => Some(Self::LettersAndDigits(13, 5)),
            "rot47" => Some(Self::Printable(47)),
            _ => {
                if let Some(places) = name.strip_prefix("characters") {
                    return places.parse().ok().map(Self::Characters);
                }
                if let Some(places) = name.strip_prefix("printable+") {
                    return number(places).map(Self::Printable);
                }
                let places = name.strip_prefix("rot")?;
                match places.split_once('+') {
                    Some((letters, digits)) => {
                        Some(Self::LettersAndDigits(number(letters)?, number(digits)?))
                    }
                    None => number(places).map(Self::Letters),
                }
            }
        }
    }

    /// Returns the original of a text.
    pub fn undo(self, text: &str) -> Option<String> {
        text.chars().map(|c| self.original(c)).collect()
    }

    /// Returns the original of a character, or `None` if it has none.
    fn original(self, c: char) -> Option<char> {
        let back = |first: u8, count: u8, places: u8| {
            let at = u32::from(c) - u32::from(first) + u32::from(count) - u32::from(places);
            char::from_u32(u32::from(first) + at % u32::from(count))
        };
        match (self, c) {
            (Self::Letters(by) | Self::LettersAndDigits(by, _), 'a'..='z') => {
                back(b'a', LETTERS, by)
            }
            (Self::Letters(by) | Self::LettersAndDigits(by, _), 'A'..='Z') => {
                back(b'A', LETTERS, by)
            }
            (Self::LettersAndDigits(_, by), '0'..='9') => back(b'0', 10, by),
            (Self::Printable(by), '!'..='~') => back(b'!', PRINTABLE, by),
            (Self::Atbash, 'a'..='z') => {
                char::from_u32(u32::from(b'a') + u32::from(b'z') - u32::from(c))
            }
            (Self::Atbash, 'A'..='Z') => {
                char::from_u32(u32::from(b'A') + u32::from(b'Z') - u32::from(c))
            }
            // Lines are broken after the fact.
            (Self::Characters(_), '\n' | '\r') => Some(c),
            (Self::Characters(by), _) => {
                u32::from(c).checked_add_signed(by.checked_neg()?).and_then(char::from_u32)
            }
            _ => Some(c),
        }
    }
}

/// The start of an address.
const SCHEME: &str = "http";

/// Returns the shift of a text in which letters alone were replaced.
pub(super) fn of_letters(text: &str) -> Option<Shift> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', bytes).find_map(|colon| {
        bytes.get(colon..)?.starts_with(b"://").then_some(())?;
        let before = &bytes[..colon];
        [&b"https"[..], b"http"].into_iter().find_map(|scheme| {
            let start = before.len().checked_sub(scheme.len())?;
            let written = &before[start..];
            let written = std::str::from_utf8(written).ok()?.to_ascii_lowercase();
            let first = *written.as_bytes().first().filter(|b| b.is_ascii_lowercase())?;
            let by = (first + LETTERS - b'h') % LETTERS;
            let shifts = [Shift::Letters(by), Shift::Atbash];
            shifts
                .into_iter()
                .filter(|_| by > 0)
                .find(|shift| shift.undo(&written).is_some_and(|plain| plain.as_bytes() == scheme))
        })
    })
}

/// Returns the shift of a text in which all characters were replaced.
pub(super) fn of_characters(text: &str) -> Option<Shift> {
    let bytes = text.as_bytes();
    if bytes.is_ascii() && !may_have_scheme(bytes) {
        return None;
    }
    let mut chars = text.chars();
    loop {
        let rest = chars.as_str();
        let first = chars.next()?;
        // Of a long run, the scheme is at the beginning or behind a mark.
        let Some(by) = place(first) else { continue };
        if by == 0 {
            continue;
        }
        let shifts = [Some(Shift::Characters(by)), printable(by)];
        let found = shifts.into_iter().flatten().find(|shift| {
            let plain = |c| shift.original(c);
            let starts = |scheme: &str| {
                let mut written = rest.chars();
                scheme.chars().all(|c| written.next().and_then(plain) == Some(c))
            };
            rest.chars().take(SCHEME.len()).map(plain).eq(SCHEME.chars().map(Some))
                && (starts("https://") || starts("http://"))
                && shift.undo(text).is_some_and(|plain| {
                    !plain.contains(|c: char| c.is_control() && !c.is_ascii_whitespace())
                })
        });
        if found.is_some() {
            return found;
        }
    }
}

/// Returns the number of places from `h` to a character.
fn place(c: char) -> Option<i32> {
    i32::try_from(u32::from(c)).ok().map(|code| code - 0x68)
}

fn printable(by: i32) -> Option<Shift> {
    u8::try_from(by.rem_euclid(PRINTABLE.into())).ok().filter(|by| *by > 0).map(Shift::Printable)
}

/// Reports whether three bytes differ from each other as those of `htt` do, also around the end
/// of the printable characters. This is a fast filter, run on every text.
fn may_have_scheme(bytes: &[u8]) -> bool {
    const STEP: u8 = b't' - b'h';
    const AROUND: u8 = STEP.wrapping_sub(PRINTABLE);
    let (Some(second), Some(third)) = (bytes.get(1..), bytes.get(2..)) else {
        return false;
    };
    let threes = bytes.iter().zip(second).zip(third);
    // Without an early exit, so that the compiler vectorises the loop.
    threes.fold(false, |seen, ((h, t), u)| {
        let step = t.wrapping_sub(*h);
        // The plain scheme is everywhere.
        seen | (((step == STEP) | (step == AROUND)) & (t == u) & (*h != b'h'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\"u\":\"https://News.example.org/politics/story-42?q=a_b\",\"n\":7}";

    /// Applies a shift.
    fn shifted(shift: Shift, text: &str) -> String {
        let inverse = match shift {
            Shift::Letters(by) => Shift::Letters(LETTERS - by),
            Shift::LettersAndDigits(by, digits) => {
                Shift::LettersAndDigits(LETTERS - by, 10 - digits)
            }
            Shift::Printable(by) => Shift::Printable(PRINTABLE - by),
            Shift::Characters(by) => Shift::Characters(-by),
            Shift::Atbash => Shift::Atbash,
        };
        inverse.undo(text).unwrap()
    }

    #[test]
    fn the_scheme_reveals_every_shift() {
        for by in 1..LETTERS {
            let shift = Shift::Letters(by);
            let text = shifted(shift, TEXT);
            assert_eq!(of_letters(&text), Some(shift), "{text}");
            assert_eq!(shift.undo(&text).as_deref(), Some(TEXT));
        }
        let text = shifted(Shift::Atbash, TEXT);
        assert_eq!(of_letters(&text), Some(Shift::Atbash), "{text}");
        assert_eq!(Shift::Atbash.undo(&text).as_deref(), Some(TEXT));
        // The last one writes full-width characters.
        let moved = [1, -1, 3, 100, 0xfee0].map(Shift::Characters);
        for shift in (1..PRINTABLE).map(Shift::Printable).chain(moved) {
            let text = shifted(shift, TEXT);
            let found = of_characters(&text).unwrap();
            assert_eq!(found.undo(&text).as_deref(), Some(TEXT), "{found} {shift}: {text}");
        }
        assert_eq!(of_characters(&shifted(Shift::Printable(47), TEXT)), Some(Shift::Printable(47)));
    }

    #[test]
    fn other_text_has_no_shift() {
        for text in [
            TEXT,
            "ftp://news.example.org/",
            "chrome://settings",
            "about the weather: it is better",
            "HTTPS://NEWS.EXAMPLE.ORG/",
            "see http://a.test/ and https://b.test/",
            "日本語のテキスト",
        ] {
            assert_eq!(of_letters(text).or_else(|| of_characters(text)), None, "{text}");
        }
    }

    #[test]
    fn names_are_parsed() {
        for shift in [
            Shift::Letters(13),
            Shift::LettersAndDigits(13, 5),
            Shift::LettersAndDigits(3, 3),
            Shift::Printable(47),
            Shift::Printable(5),
            Shift::Characters(-1),
            Shift::Characters(0xfee0),
            Shift::Atbash,
        ] {
            assert_eq!(Shift::parse(&shift.to_string()), Some(shift));
        }
        for name in ["rot", "base64", "characters", "printable-3", "rotx"] {
            assert_eq!(Shift::parse(name), None, "{name}");
        }
    }
}
