//! Structure for flat inputs.

use super::mutate::Numbers;

/// Number of bytes at the end of an input that decide how it is split.
const CONTROL: usize = 2;

/// A part of a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes that were sent at once, and captured.
    Sent(&'a [u8]),
    /// Further bytes of the same send.
    More(&'a [u8]),
    /// Bytes that were not captured.
    Gap(Option<u64>),
}

/// Splits an input into sends and gaps. The last bytes decide how: with zeros, or if there are
/// none, the whole input is one send.
pub fn pieces(input: &[u8]) -> Vec<Piece<'_>> {
    let Some((mut rest, control)) = input.split_last_chunk::<CONTROL>() else {
        return vec![Piece::Sent(input)];
    };
    let seed = u16::from_le_bytes(*control);
    if seed == 0 {
        return vec![Piece::Sent(rest)];
    }
    let mut numbers = Numbers::new(seed.into());
    // Many short pieces, or a few long ones.
    let longest = [1, 8, 64, 512, 4096][numbers.below(5)];
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + numbers.below(longest)).min(rest.len()));
        rest = behind;
        pieces.push(match numbers.below(16) {
            0 if seed & 1 == 0 => Piece::Gap(Some(piece.len() as u64)),
            1 if seed & 3 == 0 => Piece::Gap(None),
            2..=5 => Piece::More(piece),
            _ => Piece::Sent(piece),
        });
    }
    pieces
}

/// Appends what makes [`pieces`] return one piece.
pub fn whole(mut input: Vec<u8>) -> Vec<u8> {
    input.extend([0; CONTROL]);
    input
}

/// Parts of an input, each with a number in front: [`join`] is the opposite.
///
/// ```text
/// number: u8, length: u16, bytes …
/// ```
pub fn parts(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[number, low, high], rest) = input.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (part, behind) = rest.split_at(len);
        input = behind;
        Some((number, part))
    })
}

/// Joins parts.
pub fn join<'a>(parts: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut joined = Vec::new();
    for (number, part) in parts {
        let [low, high] = u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes();
        joined.extend([number, low, high]);
        joined.extend(&part[..part.len().min(u16::MAX.into())]);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_input() {
        for seed in 0..500_u16 {
            let input = [&[7; 300][..], &seed.to_le_bytes()].concat();
            let lens = pieces(&input).into_iter().map(|piece| match piece {
                Piece::Sent(bytes) | Piece::More(bytes) => Some(bytes.len()),
                Piece::Gap(len) => len.map(|len| len as usize),
            });
            let lens: Vec<_> = lens.collect();
            if let Some(lens) = lens.into_iter().collect::<Option<Vec<_>>>() {
                assert_eq!(lens.into_iter().sum::<usize>(), 300);
            }
        }
        assert_eq!(pieces(&whole(b"abc".to_vec())), [Piece::Sent(b"abc")]);
        assert_eq!(pieces(b"a"), [Piece::Sent(b"a")]);
    }

    #[test]
    fn parts_are_the_opposite_of_join() {
        let joined = join([(1, &b"abc"[..]), (2, b""), (3, b"d")]);
        assert_eq!(parts(&joined).collect::<Vec<_>>(), [(1, &b"abc"[..]), (2, b""), (3, b"d")]);
        assert_eq!(parts(&joined[..5]).collect::<Vec<_>>(), [(1, &b"ab"[..])]);
        assert_eq!(parts(&[1, 0]).count(), 0);
    }
}
