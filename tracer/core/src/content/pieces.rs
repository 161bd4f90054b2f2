//! A text that was divided over several fields: `{"d0": "aHR0cH…", "d1": "M6Ly9u…"}`, or the
//! elements of an array.

/// The pieces of a text, collected value by value. All are of the same length, except the last
/// one, which may be shorter.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The name of the fields, without numbers.
    stem: String,
    text: String,
    /// Length of the first piece.
    len: usize,
    count: usize,
    /// Set after the last piece.
    ended: bool,
}

/// Length of a piece. Shorter ones are words, longer ones documents of their own.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=4096;

impl Pieces {
    /// Adds a value. Returns the preceding text if the value does not continue it.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) -> Option<String> {
        let is_piece = value.iter().all(u8::is_ascii_graphic);
        let Some(value) = std::str::from_utf8(value).ok().filter(|_| is_piece) else {
            return self.take();
        };
        let stem = name.chars().filter(|c| !c.is_ascii_digit());
        let continues = self.count > 0
            && !self.ended
            && value.len() <= self.len
            && self.stem.chars().eq(stem.clone());
        let done = if continues { None } else { self.take() };
        if !continues {
            if !LENGTHS.contains(&value.len()) {
                return done;
            }
            self.stem.extend(stem);
            self.len = value.len();
        }
        self.text.push_str(value);
        self.count += 1;
        self.ended = value.len() < self.len;
        done
    }

    /// Takes the text, if it has several pieces.
    pub(super) fn take(&mut self) -> Option<String> {
        let joined = (self.count > 1).then(|| std::mem::take(&mut self.text));
        // Mostly there is one piece, whose memory is used again.
        self.stem.clear();
        self.text.clear();
        (self.len, self.count, self.ended) = (0, 0, false);
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_the_same_length_are_joined() {
        let mut pieces = Pieces::default();
        for (name, value) in [("d0", "abcdefgh"), ("d1", "ijklmnop"), ("d2", "qrs")] {
            assert_eq!(pieces.add(name, value.as_bytes()), None);
        }
        assert_eq!(pieces.add("e", b"abcdefgh").as_deref(), Some("abcdefghijklmnopqrs"));
        assert_eq!(pieces.add("e", b"longer than the first"), None);
        assert_eq!(pieces.add("f", b"two words"), None);
        assert_eq!(pieces.take(), None);
    }
}
